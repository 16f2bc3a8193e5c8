"""What the sensors cost a run: processor time of a look at the machine, and steps a second with and without them.

    python tests/bench/sensors.py [--looks 100] [--blocks 20] [--json]

A look is what a run makes once a second: read all of it, and write the event. It is timed in the thread's own processor
time, without a card and with 1 and 8 cards of the fake NVML, beside a planted /sys of a laptop with 16 cores; what the
fake itself takes in such a look is given too. The steps are those of one real run of a tiny model, in blocks that take
turns: without looks, and with a hundred a second, of which the cost of one a second is a hundredth.
Exit status 1 when a budget is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.fake_nvml import build  # noqa: E402

from slmstudio.core.hardware import linux_sensors, nvml, readings  # noqa: E402
from slmstudio.worker.runtime import sensors  # noqa: E402
from slmstudio.worker.runtime.context import JobContext  # noqa: E402

BUDGET_PERCENT = 1.0
OFTEN = 100
BLOCK = 25
"""Steps in a row that are made with looks, or without."""


def plant(folder: Path) -> None:
    """A laptop's /sys: 16 cores, an Intel processor, a disk's sensor, a battery."""
    files: dict[str, object] = {
        "class/hwmon/hwmon0/name": "nvme", "class/hwmon/hwmon0/temp1_input": 40_000,
        "class/hwmon/hwmon1/name": "coretemp", "class/hwmon/hwmon1/temp1_input": 70_000,
        "class/hwmon/hwmon1/temp1_label": "Package id 0", "class/hwmon/hwmon1/temp1_crit": 100_000,
        "class/power_supply/AC/type": "Mains", "class/power_supply/AC/online": 1,
        "class/power_supply/BAT0/type": "Battery", "class/power_supply/BAT0/capacity": 80,
        "class/power_supply/BAT0/status": "Full",
        **{f"devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq": 3_000_000 for core in range(16)}}
    for name, value in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{value}\n")


def cards(fake: build.FakeNvml, count: int) -> None:
    fake.set(count=count)
    for card in range(count):
        fake.set(card=card, uuid=f"GPU-{card:08d}-0f2b-4d7e-8a61-5c0d2e9b7f10")


def cost_of_a_look(fake: build.FakeNvml, count: int, looks: int) -> dict[str, float]:
    """Processor milliseconds of a look, of its parts, and bytes of its event."""
    cards(fake, count)
    with tempfile.TemporaryDirectory() as folder, paused_sensors(Path(folder)) as watched:
        watched._sample(0.0)
        size = (Path(folder) / "events.jsonl").stat().st_size
        whole = _milliseconds(lambda: watched._sample(0.0), looks)
        size = ((Path(folder) / "events.jsonl").stat().st_size - size) / looks
        machine = readings.MachineReader((), Path(folder))
        without_cards = _milliseconds(machine.read, looks)
        asked = _milliseconds(lambda: [monitor.read() for monitor in watched._reader.monitors], looks)
        answered = _milliseconds(lambda: [_only_answer() for _ in range(20 * count)], looks)
    return {"milliseconds": whole, "percent_of_a_core": whole / 10, "reading_the_rest": without_cards,
            "reading_cards": asked, "of_which_the_fake_about": answered, "event_bytes": size}


def _only_answer() -> None:
    """One call through pynvml's own door: what is left of a call when nobody reads an answer."""
    import pynvml

    with contextlib.suppress(pynvml.NVMLError):
        pynvml.nvmlDeviceGetCount()


@contextlib.contextmanager
def paused_sensors(folder: Path) -> Any:
    """Sensors whose own thread sleeps, so that the looks are made here."""
    before, sensors.PERIOD_SECONDS = sensors.PERIOD_SECONDS, 3600.0
    watched = sensors.Sensors(JobContext(folder, {"kind": "train"}))
    try:
        yield watched
    finally:
        sensors.PERIOD_SECONDS = before
        watched.close()


def _milliseconds(work: Any, times: int) -> float:
    took = []
    for _ in range(times):
        since = time.thread_time()
        work()
        took.append(1000 * (time.thread_time() - since))
    return statistics.fmean(took)


def steps_a_second(blocks: int) -> dict[str, float]:
    """Of one run of a tiny model, in blocks of steps without looks, and with OFTEN of them a second."""
    from support import tiny_model

    from slmstudio.core import files
    from slmstudio.core.run import folder
    from slmstudio.core.run.config import RunConfig
    from slmstudio.worker.training import train

    steps, look = itertools.count(), sensors.Sensors._sample
    made = [0]
    sensors.PERIOD_SECONDS = 1.0 / OFTEN
    sensors.Sensors.step_made = lambda self: made.__setitem__(0, next(steps))  # type: ignore[method-assign]
    sensors.Sensors._sample = (  # type: ignore[method-assign]
        lambda self, now: look(self, now) if made[0] // BLOCK % 2 else None)
    with tempfile.TemporaryDirectory() as place:
        os.environ["SLMSTUDIO_HOME"] = place
        model, rows = Path(place) / "tiny", Path(place) / "rows.jsonl"
        tiny_model.build(model)
        rows.write_text("".join(files.dump_line(row).decode() for row in tiny_model.ROWS * 8), encoding="utf-8")
        config = RunConfig(name="bench", model=str(model), train_file=str(rows), max_steps=BLOCK * (blocks + 2),
                           eval_fraction=0.0, save_steps=10**6, device="cpu", threads=1, sample_max_tokens=0)
        job = folder.create(config, Path(place) / "runs")
        train.run(JobContext(job.folder, job.request()))
        took = [event["step_seconds"] for event in job.events() if event["type"] == "step"]
        looks = sum(event["type"] == "sensors" for event in job.events())
    # Every other block, the first two aside, which warm up.
    each = [statistics.median(took[first:first + BLOCK]) for first in range(2 * BLOCK, len(took), BLOCK)]
    without, watched = each[::2], each[1::2]
    ratio = statistics.median(before / after for before, after in zip(without, watched, strict=False))
    return {"steps_a_second": 1 / statistics.median(without), "looks": looks, f"ratio_at_{OFTEN}_a_second": ratio,
            "ratio_at_1_a_second": 1 - (1 - ratio) / OFTEN}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--looks", type=int, default=100)
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        plant(Path(place) / "sys")
        os.environ[linux_sensors.SYS] = str(Path(place) / "sys")
        fake = build.FakeNvml(build.build(Path(place)), Path(place) / "nvml.txt")
        os.environ["FAKE_NVML_STATE"] = fake.env["FAKE_NVML_STATE"]
        found: dict[str, Any] = {f"{count} cards": cost_of_a_look(fake, count, options.looks) for count in (0, 1, 8)}
        cards(fake, 1)
        assert nvml.open_all()[0], "the fake NVML was not found"
        found["training"] = steps_a_second(options.blocks)
    worst = max(found[f"{count} cards"]["percent_of_a_core"] for count in (0, 1, 8))
    found |= {"budget_percent": BUDGET_PERCENT, "met": worst < BUDGET_PERCENT}
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        for name, figures in found.items():
            print(name, figures if not isinstance(figures, dict) else
                  " · ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in figures.items()))
    return 0 if found["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
