"""Real workers, a processor whose heat is planted, and nobody watching: what started them has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from itertools import cycle, pairwise
from pathlib import Path

import pytest
from support import starter
from support import tiny_model as small_model
from support.guard_events import of_events
from support.wait import event as wait_event
from support.wait import until

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


def kill(job: jobs.Job) -> None:
    os.kill(files.read_json(job.folder / jobs.PROCESS)["pid"], signal.SIGKILL)
    until(lambda: job.outcome() is not None, "a killed run is a crashed one")


def finish(job: jobs.Job) -> dict:
    outcome = job.wait()
    assert outcome.state == "finished", outcome
    return outcome.result


def weights(job: jobs.Job) -> bytes:
    return (job.folder / "adapter" / "adapter_model.safetensors").read_bytes()


def losses(job: jobs.Job) -> dict[int, float]:
    return {event["global_step"]: event["train_loss"] for event in job.events() if event["type"] == "step"}


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


@pytest.mark.full
def test_a_run_that_was_killed_in_a_rest_learns_what_an_untouched_one_does(make_run, tmp_path, heat):
    model = small_model.build(tmp_path / "model", layers=2, hidden=192)
    untouched = make_run(model=str(model), max_steps=200, heat_guard="off")
    start(untouched)
    finish(untouched)
    heat(91)
    job = make_run(model=str(model), max_steps=200)
    start(job)
    wait_event(job, "guard_rest")
    kill(job)
    heat(60)
    start(job)
    assert finish(job)["steps"] == 200
    assert losses(job) == losses(untouched) and weights(job) == weights(untouched)
    found = of_events(job.events())
    assert found.pauses == 1 and found.peak_c == 91


@pytest.mark.full
@pytest.mark.timeout(900)
def test_the_starter_model_is_trained_in_pauses(make_run, heat):
    """As a person runs it: the temperature oscillates at its threshold, and the run is held up a few times, never more
    often than its shortest pause allows."""
    results = []
    for guard in ("off", "pause"):
        heat(88)
        job = make_run(model=str(starter.shallow_model()), max_steps=24, heat_guard=guard, heat_rest_seconds=5,
                       lora_rank=4, save_steps=100, max_length=64)
        start(job)
        follow = cycle((90, 91, 90, 91, 89, 90, 91, 92, 84, 79, 79, 88))
        for event in job.follow():
            if event["type"] == "sensors":
                heat(next(follow))
        finish(job)
        results.append((losses(job), weights(job)))
    assert results[0] == results[1]
    began = [event["time"] for event in job.events() if event["type"] == "guard_rest"]
    assert began and all(later - earlier >= 5 for earlier, later in pairwise(began))
    assert "gpu_hot" not in [event.get("code") for event in job.events()]  # it acts instead


@pytest.mark.full
def test_on_battery_it_rests(make_run, sensors):
    supply = sensors / "class/power_supply"
    for name, values in {"BAT0": {"type": "Battery", "capacity": "71", "status": "Discharging"},
                         "AC": {"type": "Mains", "online": "0"}}.items():
        (supply / name).mkdir(parents=True)
        for key, value in values.items():
            (supply / name / key).write_text(value + "\n", "utf-8")
    job = make_run(max_steps=3, pause_on_battery=True)
    start(job)
    rest = wait_event(job, "guard_rest")
    assert rest["message"] == "The machine is running on battery (71%). Training rests until it's plugged in."
    assert wait_event(job, "phase")["phase"] == "waiting"
    (supply / "AC/online").write_text("1\n", "utf-8")
    (supply / "BAT0/status").write_text("Charging\n", "utf-8")
    finish(job)
    assert list(losses(job)) == [1, 2, 3]
