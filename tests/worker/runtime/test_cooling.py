"""Work that isn't training rests for heat wherever it asks whether it was cancelled, and so do its children."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from support import wait

from slmstudio.core import files, jobs
from slmstudio.core.hardware import heat_guard
from slmstudio.core.hardware.heat_guard import Settings
from slmstudio.worker.runtime import child, cooling
from slmstudio.worker.runtime.context import Cancelled, JobContext

SUPPORT = Path(__file__).resolve().parents[2] / "support"


@pytest.fixture
def heat(tmp_path, monkeypatch):
    """Say how hot the processor is: it slows itself down at 95 °C, and work rests from 90 °C on."""
    monkeypatch.setattr(heat_guard, "HOT_SECONDS", 0.0)
    monkeypatch.setattr(cooling, "PERIOD_SECONDS", 0.002)
    monkeypatch.setattr(cooling, "SETTINGS", Settings(rest_seconds=0.0))
    monkeypatch.setenv("SLMSTUDIO_SYS", str(tmp_path / "sys"))
    chip = tmp_path / "sys/class/hwmon/hwmon0"
    chip.mkdir(parents=True)
    for name, text in {"name": "k10temp", "temp1_label": "Tctl", "temp1_crit": "95000"}.items():
        (chip / name).write_text(text + "\n", "utf-8")

    def set_(celsius: int) -> None:
        files.write_atomically(chip / "temp1_input", f"{celsius * 1000}\n")

    set_(60)
    return set_


@pytest.fixture
def job(tmp_path):
    (tmp_path / "job").mkdir()
    return JobContext(tmp_path / "job", {"kind": "export"})


def told(job, kind):
    return [event for event in jobs.Job(job.folder).events() if event["type"] == kind]


def at_work(job, until, raised):
    """A thread that works piece after piece."""

    def work():
        try:
            with cooling.cooled(job, "export", on_cpu=True):
                while not until():
                    job.check_cancelled()
        except Cancelled as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_cooled_work_rests_until_the_processor_has_cooled(job, heat):
    raised = []
    thread = at_work(job, lambda: told(job, "guard_resume"), raised)
    heat(91)
    wait.until(lambda: told(job, "guard_rest"), "a rest")
    [rest] = told(job, "guard_rest")
    assert rest["message"].startswith("The processor is at 91 °C; the limit is 90 °C. The export rests until")
    heat(70)
    wait.until(lambda: not thread.is_alive(), "the work")
    assert not raised and not job.must_rest()


def test_it_can_be_cancelled_in_a_rest(job, heat):
    raised = []
    heat(91)
    thread = at_work(job, lambda: False, raised)
    wait.until(lambda: told(job, "guard_rest"), "a rest")
    jobs.Job(job.folder).send("cancel")
    wait.until(lambda: not thread.is_alive(), "the end")
    assert len(raised) == 1


def test_rests_that_do_not_help_end_for_good(job, heat, monkeypatch):
    """As with a sensor that is broken: this guard can't be turned off."""
    monkeypatch.setattr(cooling, "GIVE_UP_SECONDS", 0.2)
    monkeypatch.setattr(heat_guard, "GIVE_UP_SECONDS", 0.2)
    heat(128)
    thread = at_work(job, lambda: told(job, "guard_resume"), [])
    wait.until(lambda: not thread.is_alive(), "the work")
    [warning] = told(job, "warning")
    assert warning["code"] == "heat_limit_low" and "still at 128 °C" in warning["message"]
    assert len(told(job, "guard_rest")) == 1


def test_a_child_rests_while_its_parent_must(job, tmp_path):
    done, last, resting = tmp_path / "done", tmp_path / "last", threading.Event()
    job.must_rest = resting.is_set
    thread = threading.Thread(target=child.run, args=(
        job, "counting_child", {"done": str(done), "last": str(last)}, [SUPPORT, SUPPORT.parents[1]],
        lambda report: None))
    thread.start()

    def size() -> int:
        return done.stat().st_size if done.exists() else 0

    def stands_still() -> bool:
        before = size()
        threading.Event().wait(0.2)
        return size() == before

    wait.until(lambda: size() > 3, "some work")
    resting.set()
    wait.until((job.folder / "counting_child.request.rest").exists, "the word to rest")
    wait.until(stands_still, "a rest")
    before = size()
    resting.clear()
    wait.until(lambda: size() > before, "more work")
    last.touch()
    thread.join(60)
    assert not thread.is_alive()

