"""A job's state in words."""

from __future__ import annotations

from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common.run_texts import work_text


def test_a_job_that_rests_for_heat_says_so_and_then_what_it_does_again():
    history = RunHistory()
    history.add({"type": "phase", "time": 1.0, "phase": "weighing", "detail": "which weights the rows use"})
    assert work_text(history, history.detail) == "Measuring · which weights the rows use"
    history.add({"type": "guard_rest", "time": 2.0, "why": "heat", "message": "Hot."})
    assert work_text(history, history.detail) == "Resting until the machine has cooled"
    history.add({"type": "guard_resume", "time": 62.0, "why": "heat", "seconds": 60.0})
    assert work_text(history) == "Measuring"
