"""Runs that are killed while they learn and while they save; kill_trial.py beside this does it in larger numbers."""

from __future__ import annotations

import sys

import pytest
from support.tiers import first_fast

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and fork are of POSIX systems")


@pytest.mark.timeout(500)
@pytest.mark.parametrize(("training", "saving"), first_fast([(2, 1), (10, 10)]))
def test_kills_lose_nothing(tmp_path, studio_home, training, saving):
    from support import kill_trial

    report = kill_trial.run_trial(tmp_path, training=training, saving=saving, seed=1)
    assert report.faults == []
    assert report.identical and report.kills == {"training": training, "saving": saving}
    assert report.most_redone <= kill_trial.SAVE_STEPS


@pytest.mark.full
def test_a_stopped_process_goes_on_as_if_nothing_had_been(tmp_path, studio_home):
    from support import kill_trial

    found = kill_trial.suspend_trial(tmp_path, seconds=8.0)
    assert found["identical"]
    assert found["told_seconds"] >= 6.0
    # The pause counts for no step, and so not for the time that is left.
    assert found["longest_step_seconds"] < found["told_seconds"]


@pytest.mark.full
@pytest.mark.timeout(400)
def test_a_disk_that_is_full_at_any_write_costs_nothing(tmp_path, studio_home):
    from support import kill_trial

    try:
        found = kill_trial.full_disk_trial(tmp_path, levels=4)
    except PermissionError as error:
        pytest.skip(str(error))
    assert found["faults"] == []
