"""The evaluation that follows a training: when it is wanted, what it asks, and what is shown of its first answers."""

from __future__ import annotations

import pytest
from support import evaluated_runs, tiny_model

from slmstudio.core import files, jobs
from slmstudio.core.evaluation import at_end
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig


@pytest.fixture
def rows(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"".join(files.dump_line({**row, "instruction": f"{row['instruction']} {number}"})
                              for number in range(10) for row in tiny_model.ROWS))
    return file


def ended(rows, model, state="finished", evaluate=True, **values):
    run = folder.create(RunConfig(**{"name": "a", "model": str(model), "train_file": str(rows), "eval_fraction": 0.5,
                                     **values}), evaluate=evaluate).folder
    (run / "adapter").mkdir()
    jobs.write_outcome(run, Outcome(state))
    return run


def test_a_run_that_ended_well_wants_one_evaluation(rows, tiny_model, studio_home):
    assert not folder.wants_evaluation(ended(rows, tiny_model, "stopped"))
    assert not folder.wants_evaluation(ended(rows, tiny_model, evaluate=False))
    old = ended(rows, tiny_model)
    record = files.read_json(old / jobs.RUN)
    del record["evaluate_at_end"]
    files.write_atomically(old / jobs.RUN, files.dump_pretty(record))
    assert not folder.wants_evaluation(old), "older than this"
    run = ended(rows, tiny_model)
    assert folder.wants_evaluation(run)
    assert folder.wanting_attention() is None and folder.wanting_attention(evaluates=True).folder == run
    folder.skip_evaluation(other := ended(rows, tiny_model))
    assert not folder.wants_evaluation(other)
    job = at_end.create(run)
    asked = job.request()
    assert (asked["limit"], asked["first"], asked["train_run"]) == (15, 3, str(run))
    assert [each["name"] for each in asked["models"]] == ["base", "tuned"] and "no_test" not in asked
    assert asked["max_new_tokens"] == 64, "as long as the references need"
    assert not folder.wants_evaluation(run) and folder.wanting_attention(evaluates=True) is None


def test_where_nothing_can_be_answered_there_is_none(rows, tiny_model, studio_home):
    assert at_end.create(ended(rows, tiny_model, objective="text")) is None
    assert at_end.create(ended(rows, tiny_model, eval_fraction=0.0)) is None


def test_the_first_answers_are_judged_by_the_figures_that_there_are(tiny_model, studio_home):
    job = evaluated_runs.write(evaluated_runs.ended_run("a", tiny_model), count=12)
    path = job.folder / "answers-1.jsonl"
    lines = list(files.LineReader(path).read())
    reference = evaluated_runs.items(12)[2]["references"][0]
    lines[1]["finish"], lines[2]["answer"] = "repeat", reference
    path.write_bytes(b"".join(map(files.dump_line, lines)))
    found = at_end.read(job.folder, 4)
    assert [each.verdict for each in found] == ["other", "repeats", "same", "close"]
    assert found[2].tuned == found[2].reference == reference and found[0].question and found[1].before
