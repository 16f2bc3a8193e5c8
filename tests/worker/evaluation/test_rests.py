"""An evaluation rests while the machine is too hot, as training does, and is stopped in a rest."""

from __future__ import annotations

import threading

import pytest
from support import wait

from slmstudio.core import jobs
from slmstudio.core.hardware import heat_guard
from slmstudio.core.hardware.heat_guard import Settings
from slmstudio.worker.answering.control import EvaluationControl
from slmstudio.worker.runtime import cooling
from slmstudio.worker.runtime.context import Cancelled, JobContext


@pytest.fixture
def control(tmp_path, fake_nvml, monkeypatch):
    monkeypatch.setattr(heat_guard, "HOT_SECONDS", 0.0)
    monkeypatch.setattr(cooling, "PERIOD_SECONDS", 0.002)
    monkeypatch.setattr(cooling, "SETTINGS", Settings(rest_seconds=0.0))
    made = EvaluationControl(JobContext(tmp_path, {"kind": "evaluate"}), 10)
    yield made
    made.close()
    assert fake_nvml.users() == 0


def told(folder, kind):
    return [event for event in jobs.Job(folder).events() if event["type"] == kind]


def until_it_rests(control, folder, fake_nvml):
    """Let the card be hot, and work until that is noticed. Returns the thread that rests, and what it raised."""
    fake_nvml.set(temperature=97)
    raised = []

    def work():
        try:
            while not told(folder, "guard_resume"):
                control.gate(0.5, 1, 1.0, "answering")
        except Cancelled as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait.until(lambda: told(folder, "guard_rest"), "a rest")
    return thread, raised


def test_it_rests_until_the_card_has_cooled(control, tmp_path, fake_nvml):
    thread, raised = until_it_rests(control, tmp_path, fake_nvml)
    [rest] = told(tmp_path, "guard_rest")
    assert rest["why"] == "heat" and "The evaluation rests until it has cooled to" in rest["message"]
    fake_nvml.set(temperature=60)
    wait.until(lambda: not thread.is_alive(), "the work")
    assert told(tmp_path, "guard_resume")[0]["why"] == "heat" and not raised


def test_it_can_be_stopped_in_a_rest(control, tmp_path, fake_nvml):
    thread, raised = until_it_rests(control, tmp_path, fake_nvml)
    jobs.Job(tmp_path).send("cancel")
    wait.until(lambda: not thread.is_alive(), "the end")
    assert len(raised) == 1
