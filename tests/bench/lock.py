"""What the network lock costs: steps a second and the start of a worker, with and without it, taking turns.

    python tests/bench/lock.py [--pairs 3] [--steps 40] [--json]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support import tiny_model  # noqa: E402

from slmstudio.core.run import folder  # noqa: E402
from slmstudio.core.run.config import RunConfig  # noqa: E402

UNLOCKED = """
import sys
from slmstudio.core.lock import worker_lock
from slmstudio.worker import __main__ as worker
worker_lock.install = lambda *_: worker_lock.LockState(reason="The benchmark wants it so.")
sys.exit(worker.main(sys.argv[1:]))
"""


def run(model: Path, rows: Path, place: Path, steps: int, locked: bool) -> dict[str, float]:
    """One training. {"steps_per_second": of the second half; and in seconds "start": from the start to the `plan`
    event, "processor": its time in all, "lock": what was done last before its event}."""
    os.environ.pop("SLMSTUDIO_WORKER", None)
    if not locked:
        os.environ["SLMSTUDIO_WORKER"] = json.dumps([sys.executable, "-P", "-c", UNLOCKED])
    config = RunConfig(name="lock", model=str(model), train_file=str(rows), max_steps=steps, eval_fraction=0.25,
                       eval_steps=10**6, save_steps=10**6, sample_max_tokens=0, device="cpu", threads=1)
    job = folder.create(config, place)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    job.start()
    outcome = job.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert outcome.state == "finished", outcome
    events = list(job.events())
    assert [event["enforced"] for event in events if event["type"] == "lock"] == [locked]
    started = next(event["time"] for event in events if event["type"] == "job_started")
    planned = next(event["time"] for event in events if event["type"] == "plan")
    times = [event["time"] for event in events if event["type"] == "step"]
    half = times[len(times) // 2:]
    return {"steps_per_second": (len(half) - 1) / (half[-1] - half[0]), "start": planned - started,
            "processor": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            "lock": next(b["time"] - a["time"] for a, b in itertools.pairwise(events)
                         if b["type"] == "lock")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.environ["SLMSTUDIO_HOME"] = str(place / "home")
        model = place / "model"
        tiny_model.build(model)
        rows = place / "rows.jsonl"
        rows.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in tiny_model.ROWS), "utf-8")
        found: dict[bool, list[dict[str, float]]] = {True: [], False: []}
        for turn in range(wanted.pairs):
            for locked in ((True, False) if turn % 2 == 0 else (False, True)):
                found[locked].append(run(model, rows, place / "runs", wanted.steps, locked))
    told = {name: {figure: round(statistics.median(each[figure] for each in found[locked]), 4)
                   for figure in ("steps_per_second", "start", "processor", "lock")}
            for name, locked in (("locked", True), ("unlocked", False))}
    told["speed_ratio"] = round(told["locked"]["steps_per_second"] / told["unlocked"]["steps_per_second"], 4)
    print(json.dumps(told) if wanted.json else json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
