"""Whether tuning is worth it: the case and the sentence that paired figures carry."""

from __future__ import annotations

import json

import pytest
from support import scored_jobs

from slmstudio.core.chat import assistant
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import rival_models, rivals
from slmstudio.core.evaluation.scoring import read_scores, score

TOKENS = {"base": 40, "prompt": 60, "examples": 900, "retrieval": 500, "tuned": 40, "tuned_retrieval": 500}


def folder_of(path, rows, good, trained_on=()):
    """A job whose models are right in so many of the rows, by name; more in the same rows."""
    items = [{"id": i, "line": i + 1, "kind": "exact", "messages": [{"role": "user", "content": f"Question {i}"}],
              "references": [f"answer {i}"], "trained_on": i in trained_on} for i in range(rows)]
    answers = [[{"id": i, "answer": f"answer {i}" if i * 7 % rows < share * rows else "no", "tokens": 4, "seconds": 0.5,
                 "read_seconds": 0.25, "finish": "stop", "skipped": None, "reference_nats": [1.0],
                 "reference_tokens": [4], "prompt_tokens": TOKENS[name], "memory_bytes": 1000 + i,
                 "context_rows": 8 if name == "examples" else 4, "context_same": i % 2} for i in range(rows)]
               for name, share in good.items()]
    return scored_jobs.write(path, items, *answers, models=[{"name": name} for name in good])


CASES = [
    # rows, share that each has right, case, best, how its sentence begins
    (101, {"base": .1, "tuned": .8, "prompt": .3}, "tuned_better", "tuned",
     "Tuning is worth it: 80.2 against 30.7 percent normalised matches for the best prompt."),
    (2003, {"base": .1, "tuned": .8, "prompt": .8, "examples": .79}, "prompt_as_good", "prompt",
     "A prompt is as good as tuning: 80.0 against 80.0 percent normalised matches. It costs 60 tokens per answer."),
    (2003, {"base": .1, "tuned": .8, "prompt": .3, "examples": .8}, "prompt_as_good", "examples",
     "A prompt with 8 examples is as good as tuning: 80.0 against 80.0 percent normalised matches. "
     "It costs 900 tokens per answer."),
    (2003, {"base": .8, "tuned": .8, "prompt": .8}, "prompt_as_good", "base",
     "The base model is as good without tuning: 80.0 against 80.0 percent normalised matches."),
    (101, {"base": .1, "tuned": .4, "prompt": .3, "retrieval": .9}, "retrieval_better", "retrieval",
     "Looking answers up in your rows is better than tuning: 90.1 against 40.6 percent normalised matches. "
     "It costs 500 tokens"),
    (101, {"base": .1, "tuned": .4, "examples": .9}, "rival_better", "examples",
     "A prompt with 8 examples is better than tuning"),
    (101, {"base": .1, "tuned": .4, "prompt": .2, "tuned_retrieval": .9}, "rival_better", "tuned_retrieval",
     "The tuned model is better still if it looks answers up: 90.1 against 40.6 percent normalised matches."),
    (41, {"base": .5, "tuned": .6, "prompt": .55}, "too_few_rows", "tuned",
     "41 rows are too few to say whether tuning is worth it: 61.0 against 56.1 percent normalised "
     "matches for the best prompt. About"),
    (11, {"base": .5, "tuned": .5, "prompt": .5}, "too_few_rows", "base",
     "11 rows are too few to say whether tuning is worth it"),
    (31, {"base": .2, "prompt": .4, "retrieval": .6}, "without_training", "retrieval",
     "The best score without training is 61.3 percent normalised matches ("),
]


@pytest.mark.parametrize(("rows", "good", "case", "best", "begins"), CASES)
def test_the_case_is_the_one_that_the_figures_carry(tmp_path, rows, good, case, best, begins):
    found = score(folder_of(tmp_path / "job", rows, good))["rivals"]
    assert (found["case"], found["best"]) == (case, best)
    assert found["sentence"].startswith(begins)
    assert rivals.sentence(read_scores(tmp_path / "job")) == found["sentence"]
    assert {each["tests"] for each in found["comparisons"]} == {len(good) - 1}


def test_how_many_rows_would_be_enough():
    """For a rival that seems equal, as many as make the interval as narrow as the margin; lower losses are better."""
    equal = {"difference": 0.0, "low": -10.0, "high": 10.0, "rows": 100, "rows_needed": None}
    assert rivals._rows_needed(equal, 3.0, higher=True) == pytest.approx(100 * (10 / 3 * 1.43) ** 2, rel=0.01)
    ahead = {"difference": -0.02, "low": -0.10, "high": 0.06, "rows": 100, "rows_needed": 300}
    assert rivals._rows_needed(ahead, 0.05, higher=False) == 300


def test_rows_that_were_learned_do_not_count_and_many_are_a_leak(tmp_path):
    good = {"base": .1, "tuned": .8, "prompt": .3}
    some = score(folder_of(tmp_path / "some", 101, good, trained_on=range(20)))["rivals"]
    assert (some["case"], some["rows"], some["seen"]) == ("tuned_better", 81, 20)
    most = score(folder_of(tmp_path / "most", 101, good, trained_on=range(60)))["rivals"]
    assert most["case"] == "leak"
    assert most["sentence"].startswith("60 of 101 test rows are among the training rows")


def test_what_an_answer_costs(tmp_path):
    found = score(folder_of(tmp_path / "job", 101, {"base": .1, "tuned": .8, "examples": .3}))["rivals"]
    line = found["table"][2]
    assert {key: line[key] for key in ("name", "rival", "prompt_tokens", "seconds", "memory_bytes",
                                       "left_out_of_context")} == {
        "name": "examples", "rival": "examples", "prompt_tokens": 900, "seconds": 0.75, "memory_bytes": 1100,
        "left_out_of_context": 50}
    head, lines = rivals.table(found)
    assert len(head) == 5 and lines[2][0] == "examples" and lines[2][2:] == ("900", "0.75 s", "1.1 KB")


def test_rivals_do_not_make_the_tuned_model_harder_to_prove(tmp_path):
    alone = score(folder_of(tmp_path / "alone", 41, {"base": .3, "tuned": .6}))
    beside = score(folder_of(tmp_path / "beside", 41, {"base": .3, "tuned": .6, "prompt": .4, "examples": .5}))
    assert beside["comparisons"] == alone["comparisons"]
    assert "rivals" not in alone


def test_the_rival_of_the_last_evaluation_is_kept_with_its_rows(tmp_path):
    run = tmp_path / "run"
    for name in ("evaluate-1", "evaluate-2"):
        folder = folder_of(run / "jobs" / name, 31, {"base": .1, "tuned": .8, "examples": .3})
        (folder / rival_models.ROWS).write_text(name)
        score(folder)
    models = rival_models.added([{"name": "base", "model": "/base"}, {"name": "tuned", "model": "/tuned"}],
                                ["examples", "tuned_retrieval"], "Be brief.")
    (folder / "request.json").write_text(json.dumps({"kind": "evaluate", "models": models}))
    assert rivals.newest(run, "examples") == folder
    with pytest.raises(UserError, match="No evaluation of run has asked “retrieval”"):
        rivals.newest(run, "retrieval")

    rivals.keep(run, folder, "examples")
    found = assistant.read(run)
    assert (found.rival, found.system, found.context["k"], found.model) == (
        "examples", "Be brief.", 8, {"model": "/base"})
    assert (run / assistant.ASSISTANT_ROWS).read_text() == "evaluate-2"
    rivals.keep(run, folder, "tuned_retrieval")
    assert assistant.read(run).model is None
    rivals.keep(run, None, "tuned")
    assert assistant.read(run) is None and not (run / assistant.ASSISTANT_ROWS).exists()
    with pytest.raises(UserError, match="no model called “magic”"):
        rivals.keep(run, folder, "magic")
