"""How near the estimates of time are: runs, evaluations and exports of two models, each estimated before it begins.

    python tests/bench/time_estimates.py FOLDER [--most N]

Everything is measured in FOLDER, which has to be empty or from this program: each estimate rests only on what was done
there before, so that the first of a kind are rough. Interrupted, it continues where it was; after N cells it stops.
Prints the table for docs, and how many were within a quarter. On a machine with two cores, nothing else running, a cell
takes 20 to 90 seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from slmstudio.core import files, starter
from slmstudio.core.data import reader
from slmstudio.core.evaluation import at_end
from slmstudio.core.evaluation import request as requests
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.jobs import new
from slmstudio.core.jobs.job import Job
from slmstudio.core.model.facts import read_model
from slmstudio.core.run import folder
from slmstudio.core.run.planning.plan_inputs import PlanInputs
from slmstudio.core.run.planning.planner import plan
from slmstudio.core.run.time_estimate import TimeEstimate, exporting

WORDS = ("the", "office", "opens", "at", "nine", "and", "answers", "every", "letter", "within", "five", "days")
RUNS: list[dict[str, Any]] = [
    {"model": "starter", "rows": 24, "words": 60}, {"model": "small", "rows": 100, "words": 80},
    {"model": "starter", "rows": 24, "words": 60}, {"model": "starter", "rows": 40, "words": 40},
    {"model": "small", "rows": 200, "words": 60}, {"model": "starter", "rows": 12, "words": 150},
    {"model": "starter", "rows": 20, "words": 60, "method": "full"},
    {"model": "small", "rows": 150, "words": 60, "method": "full"},
    {"model": "starter", "rows": 30, "words": 50, "epochs": 2}, {"model": "starter", "rows": 30, "words": 50,
                                                                 "gradient_checkpointing": True},
    {"model": "small", "rows": 100, "words": 80, "epochs": 4}, {"model": "starter", "rows": 60, "words": 30,
                                                                "lora_rank": 32}]
"""Runs; after the first four, and after each third, an evaluation and an export too."""
TYPES = (["Q8_0"], ["Q4_K_M"], ["Q8_0"], ["F16", "Q4_K_M"])
QUARTER = 0.25
"""An estimate is right that is off by no more than this share of what it took."""


def cells() -> list[tuple[str, int]]:
    """What is done, in order: (kind, number of the run it belongs to)."""
    found: list[tuple[str, int]] = []
    for number in range(len(RUNS)):
        found.append(("run", number))
        if number < 4 or number % 3 == 2:
            found += [("evaluation", number), ("export", number)]
    return found


def model(name: str, home: Path) -> Path:
    if name == "starter":
        return starter.prepare(lambda event: None).path
    place = home / "models" / "small"
    if not place.exists():
        from support import tiny_model

        tiny_model.build(place, layers=12, hidden=384)
    return place


def rows(about: dict[str, Any], number: int, home: Path) -> Path:
    """A file with rows of random words; the third run has those of the first."""
    path = home / f"rows-{about['rows']}-{about['words']}.jsonl"
    if not path.exists():
        chance = random.Random(number)
        texts = [" ".join(chance.choices(WORDS, k=about["words"] // 2)) for _ in range(2 * about["rows"])]
        path.write_bytes(b"".join(files.dump_line({"messages": [
            {"role": "user", "content": question}, {"role": "assistant", "content": answer}]})
            for question, answer in zip(texts[::2], texts[1::2], strict=True)))
    return path


def begin(kind: str, number: int, home: Path, runs: dict[str, str]) -> tuple[Job, TimeEstimate, str]:
    """The job, not started, how long it is to take, and what it is."""
    about = RUNS[number]
    if kind == "run":
        changed = {"epochs": 1} | {name: each for name, each in about.items() if name not in ("model", "rows", "words")}
        place = model(about["model"], home)
        made = plan(PlanInputs(reader.read_dataset(rows(about, number, home)), read_model(place), overrides=changed))
        assert made.outlook.time is not None
        job = folder.create(made.config)
        runs[str(number)] = str(job.folder)
        extra = ", ".join(f"{name} {value}" for name, value in changed.items())
        return job, made.outlook.time, f"{made.counts.learned} rows, {made.counts.tokens:,} tokens, {extra}"
    run = Path(runs[str(number)])
    if kind == "export":
        types = TYPES[number % len(TYPES)]
        config = Job(run).request()
        return new.export(run, types), exporting(read_model(config["model"]), read_machine(), types), ", ".join(types)
    request = requests.propose(run)
    request.pop("no_test")
    request |= {"test": str(rows(about, number, home)), "limit": 6 + 2 * number, "max_new_tokens": 64,
                "test_columns": None}
    names = [each["name"] for each in request["models"]]
    expected = at_end.total(at_end.paces(request["models"], run), names, request["limit"])
    assert expected is not None
    return requests.create(request, run), expected, f"{request['limit']} rows, {len(names)} models"


def measure(kind: str, number: int, home: Path, runs: dict[str, str]) -> dict[str, Any]:
    job, expected, what = begin(kind, number, home, runs)
    started = time.monotonic()
    job.start()
    outcome = job.wait()
    seconds = time.monotonic() - started
    if not outcome.was_successful():
        raise SystemExit(f"{kind} {number}: {outcome.state} {outcome.error}")
    return {"cell": [kind, number], "model": RUNS[number]["model"], "what": what, **expected.to_dict(),
            "likely": expected.likely, "seconds": seconds}


def table(done: list[dict[str, Any]]) -> str:
    lines = ["| | model | what | source | estimated | took | off by |",
             "| --- | --- | --- | --- | ---: | ---: | ---: |"]
    for each in done:
        lines.append(f"| {each['cell'][0]} | {each['model']} | {each['what']} | {each['time_source']} "
                     f"| {each['likely']:.0f} s | {each['seconds']:.0f} s "
                     f"| {100 * (each['likely'] / each['seconds'] - 1):+.0f}% |")
    measured = [each for each in done if each["time_source"] != "rough"]
    runs = [each for each in done if each["cell"][0] == "run"]
    for name, some in (("all", done), ("all but rough ones", measured), ("runs alone", runs)):
        right = sum(abs(each["likely"] / each["seconds"] - 1) <= QUARTER for each in some)
        lines.append(f"\nWithin a quarter, {name}: {right} of {len(some)} ({right / max(1, len(some)):.0%}).")
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("--most", type=int, default=1000)
    asked = options.parse_args()
    home = asked.folder.absolute()
    home.mkdir(parents=True, exist_ok=True)
    os.environ["SLMSTUDIO_HOME"] = str(home)
    kept = home / "time_estimates.json"
    state: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {"runs": {}, "done": []}
    left = [cell for cell in cells() if list(cell) not in [each["cell"] for each in state["done"]]]
    for kind, number in left[:asked.most]:
        state["done"].append(measure(kind, number, home, state["runs"]))
        files.write_atomically(kept, files.dump_pretty(state))
        print(f"{len(state['done'])} of {len(cells())}: {kind} {number}", file=sys.stderr, flush=True)
    print(table(state["done"]))


if __name__ == "__main__":
    main()
