"""The check before the first step, as the processes of a run make it: who differs or is missing is the outcome."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.timeout(180), pytest.mark.full]


@pytest.mark.parametrize(("what", "sentence"), [
    ("check other torch", " has torch 1.0, and process 1, on "),
    ("check other model", " has a different model: the weights in ")])
def test_a_process_that_differs_is_named(shared_run, tmp_path, what, sentence):
    (tmp_path / "model").mkdir()
    job = shared_run({"0": "check", "1": what})
    job.start()
    outcome = job.wait()
    told = outcome.user_error().what
    assert outcome.state == "failed" and told.startswith("Process 2 of 2, on ") and sentence in told


def test_a_process_that_never_comes_is_named(shared_run, tmp_path, monkeypatch):
    monkeypatch.setenv("LAUNCH_PROBE_SECONDS", "2")
    (tmp_path / "model").mkdir()
    job = shared_run({"0": "check", "1": "late"})
    job.start()
    outcome = job.wait()
    assert (outcome.state, outcome.user_error().what) == ("failed", "Process 2 of 2 didn't report within 2 seconds.")
