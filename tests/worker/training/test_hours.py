"""A run trains in its hours and on mains, obeys while it waits, and its rests are counted."""

from __future__ import annotations

from datetime import datetime

import pytest
from support import heated_machine
from support.heated_machine import gpu, hot_after, rests_of, story
from support.small_runs import events

from slmstudio.core import jobs
from slmstudio.core.hardware.linux_sensors import Battery
from slmstudio.core.hardware.readings import MachineReading
from slmstudio.core.run import adjust
from slmstudio.worker.runtime.context import Cancelled, JobContext
from slmstudio.worker.training import heat, step_times, train

machine, make_job = heated_machine.machine, heated_machine.make_job


def test_on_battery_it_saves_and_rests(make_job, machine):
    job = make_job(pause_on_battery=True, heat_guard="off")
    machine(lambda step, look: None if step == 2 and look in (15, 16) else  # after a wake nothing is known for a while
            MachineReading(battery=Battery(64, not (step == 2 and look < 20))))
    train.run(job)
    rest, = events(job, "guard_rest")
    assert (rest["why"], rest["global_step"]) == ("battery", 2)
    assert story(job, "checkpoint_saved", "guard_rest", "guard_resume")[:3] == [
        ("checkpoint_saved", 2), ("guard_rest", 2), ("guard_resume", 2)]
    assert events(job, "checkpoint_saved")[0]["reason"] == "rest"


def test_before_its_hours_nothing_is_loaded(make_job, machine, monkeypatch):
    moments = iter([datetime(2026, 11, 27, 21, 50)] * 20)
    monkeypatch.setattr(heat, "local_time", lambda: next(moments, datetime(2026, 11, 27, 22, 1)))
    job = make_job(train_hours="22:00-06:00", max_steps=1)
    machine(hot_after())
    assert train.run(job)["state"] == "finished"
    told = [event.get("phase") or event["type"] for event in events(job, "phase", "guard_rest", "guard_resume")]
    assert told[:4] == ["guard_rest", "waiting", "guard_resume", "reading data"]
    assert events(job, "guard_rest")[0]["message"].startswith("Training rests until 22:00")


def test_a_run_that_waits_for_its_hours_obeys(make_job, machine, monkeypatch):
    monkeypatch.setattr(heat, "local_time", lambda: datetime(2026, 11, 27, 12))
    machine(hot_after())
    job = make_job(train_hours="22:00-06:00", max_steps=1)
    jobs.Job(job.folder).send("stop")
    with pytest.raises(Cancelled):
        train.run(job)
    job = make_job(train_hours="22:00-06:00", max_steps=1)
    jobs.Job(job.folder).send("free")
    assert train.run(job) == {"state": "paused", "steps": 0}
    job = make_job(train_hours="22:00-06:00", max_steps=1)
    for command, more in (("pause", {}), ("change", {}), ("resume", {}), ("guard", {"train_hours": ""})):
        jobs.Job(job.folder).send(command, **more)
    assert train.run(job)["state"] == "finished"
    assert [event["code"] for event in events(job, "warning")][:1] == ["change_refused"]
    assert events(job, "guard_changed")[0]["message"] == "Heat guard changed: Only between these hours: always."


def test_stopped_while_it_waits_a_run_keeps_its_checkpoints_and_can_be_resumed(make_job, machine, monkeypatch):
    job = make_job(heat_guard="off")

    def stop_after_two(step: int, look: int) -> MachineReading:
        if step == 2 and not (job.folder / jobs.COMMANDS).exists():
            jobs.Job(job.folder).send("stop")
        return gpu(60)

    machine(stop_after_two)
    assert train.run(job)["steps"] == 2
    (job.folder / jobs.COMMANDS).unlink()
    adjust.record(job.folder, {"train_hours": "22:00-06:00"})
    monkeypatch.setattr(heat, "local_time", lambda: datetime(2026, 11, 27, 12))
    again = JobContext(job.folder, job.request)
    jobs.Job(job.folder).send("stop")
    assert train.run(again) == {"state": "stopped", "steps": 2}
    assert story(job, "guard_rest", "guard_resume") == [("guard_rest", 2), ("guard_resume", 2)]


@pytest.mark.full
def test_its_hours_end_and_begin_in_the_middle(make_job, machine, monkeypatch):
    job = make_job(train_hours="22:00-06:00")
    looks = []

    def local_time() -> datetime:
        if len(events(job, "step")) == 2:
            looks.append(1)
        return datetime(2026, 11, 28, 7) if 0 < len(looks) < 40 else datetime(2026, 11, 28, 5, 59)

    monkeypatch.setattr(heat, "local_time", local_time)
    machine(hot_after())
    assert train.run(job)["state"] == "finished"
    assert story(job, "checkpoint_saved", "guard_rest", "guard_resume")[:3] == [
        ("checkpoint_saved", 2), ("guard_rest", 2), ("guard_resume", 2)]


@pytest.mark.full
def test_the_time_left_reckons_with_the_hours(make_job, machine, monkeypatch):
    monkeypatch.setattr(step_times, "local_time", lambda: datetime(2026, 11, 28, 5, 59, 59, 999_000))
    monkeypatch.setattr(heat, "local_time", lambda: datetime(2026, 11, 28, 5))
    job = make_job(train_hours="22:00-06:00", max_steps=8)
    machine(hot_after())
    train.run(job)
    left = [event["seconds_left"] for event in events(job, "step")]
    assert min(left[-3:]) > 16 * 3600


def test_the_machine_may_sleep_while_a_run_that_waits_is_paused_or_on_battery(make_job, machine, monkeypatch):
    """It stays awake only while it waits for its hours."""
    awake = []
    monkeypatch.setattr(heat.Awake, "on", lambda self: awake.append(True))
    monkeypatch.setattr(heat.Awake, "off", lambda self: awake.append(False))
    machine(hot_after())
    job, seen = make_job(), []

    def at(step: int, look: int) -> MachineReading:
        seen.append(awake[-1:])
        if look == 5:
            jobs.Job(job.folder).send("pause")
            jobs.Job(job.folder).send("free")
        return MachineReading(battery=Battery(50, False))

    assert rests_of(job, at, pause_on_battery=True).wait_to_begin(0) is False
    assert [True] not in seen and awake[-1] is False
    job = make_job()
    monkeypatch.setattr(heat, "local_time", lambda: datetime(2026, 11, 27, 12))
    rests = rests_of(job, hot_after(), train_hours="22:00-06:00")
    awake.clear()
    monkeypatch.setattr(rests, "rest", lambda seconds: jobs.Job(job.folder).send("pause"))
    monkeypatch.setattr(heat.time, "sleep", lambda seconds: (seen.append(awake[-1]), jobs.Job(job.folder).send("free")))
    assert rests.wait_to_begin(0) is False
    assert awake[0] is True and seen[-1] is False
