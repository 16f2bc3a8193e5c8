"""What is chosen for an evaluation while something else is at work, or was chosen before."""

from __future__ import annotations

import evaluated_runs
import pytest

from slmstudio.core.errors import Problem
from slmstudio.core.evaluation import request as requests
from slmstudio.gui.evaluation_panel import make_job


@pytest.fixture
def runs(studio_home, tiny_model, write_rows):
    """Two runs that have ended, with a test file each."""
    rows = [{"instruction": f"Where is form {number}?", "output": f"At window {number}."} for number in range(6)]
    file = str(write_rows("rows.jsonl", rows))
    made = [evaluated_runs.ended_run(name, tiny_model, eval_file=file) for name in ("first", "second")]
    for run in made:
        (run / "adapter" / "adapter_config.json").write_text("{}")
    return made


def test_a_start_compares_no_bad_row_with_another(runs, write_rows, monkeypatch):
    """With a hundred thousand of them it would never end."""
    bad = ["{broken"] * 50
    test = write_rows("tests.jsonl", [{"instruction": "What is 1 + 1?", "output": "It is 2."}, *bad])
    compared = []
    monkeypatch.setattr(Problem, "__eq__", lambda one, other: bool(compared.append(one)))
    job = make_job(runs[0], {**requests.propose(runs[0]), "test": str(test)})
    assert job.request()["test"] == str(test), "the panel has named the bad rows"
    assert not compared
