"""Real workers, a processor whose heat is planted, and nobody watching: what started them has ended."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from support.guard_events import of_events
from support.wait import event as wait_event

from slmstudio.core import files, jobs, paths

START = "import sys; from pathlib import Path; from slmstudio.core.jobs import Job; Job(Path(sys.argv[1])).start()"


@pytest.fixture
def make_run(new_run):
    return partial(new_run, micro_batch_size=2, gradient_accumulation_steps=1, max_length=128, eval_steps=10**6,
                   save_steps=20, sample_max_tokens=0, lora_dropout=0.1, heat_rest_seconds=2)


@pytest.fixture
def sensors(studio_home, monkeypatch) -> Path:
    """Stands for /sys, where a locked worker may read."""
    folder = paths.cache_dir() / "sys"
    monkeypatch.setenv("SLMSTUDIO_SYS", str(folder))
    return folder


@pytest.fixture
def heat(sensors):
    """Say how hot the processor is; it slows itself down at 95 °C."""
    chip = sensors / "class/hwmon/hwmon0"
    chip.mkdir(parents=True)
    for name, text in {"name": "k10temp", "temp1_label": "Tctl", "temp1_crit": "95000"}.items():
        (chip / name).write_text(text + "\n", "utf-8")

    def set_(celsius: int) -> None:
        files.write_atomically(chip / "temp1_input", f"{celsius * 1000}\n")

    return set_


def start(job: jobs.Job) -> None:
    """From a process that ends right after it, as a window does that is closed."""
    subprocess.run([sys.executable, "-c", START, str(job.folder)], check=True)


def test_heat_makes_it_rest_and_it_works_again_when_it_is_cool(told, make_run, heat):
    heat(91)
    job = make_run(max_steps=10**6, save_steps=10**6)
    start(job)
    rest = wait_event(job, "guard_rest")
    assert (rest["why"], rest["temperature_c"], rest["limit_c"], rest["gpu"]) == ("heat", 91, 90, None)
    heat(81)
    wait_event(job, "sensors", lambda event: event["cpu"]["temperature_c"] == 81)
    assert told("guard", job.folder, "--limit", 91)["heat_limit_c"] == 91
    resume = wait_event(job, "guard_resume")
    assert resume["temperature_c"] in (81, 91)  # with the new limit, the reading of before is cool enough, too
    wait_event(job, "guard_changed")
    job.send("stop")
    assert job.wait().state == "stopped"
    found = of_events(job.events())
    assert found.pauses == 1 and found.rested == resume["seconds"] > 0 and found.peak_c == 91
    assert found.sentence().endswith("in 1 pause. Peak: 91 °C.")
