"""A run with several evaluations: each is told, and the one that carries most decides."""

from __future__ import annotations

from typing import Any

import pytest
from support.report_run import BEGIN, scores

from slmstudio.core import files
from slmstudio.core.report import gather, summary


def other(path: str, rows: int, after: float, models: tuple[str, ...] = ("base", "tuned"), said: str = "x",
          **test: Any) -> dict[str, Any]:
    """scores.json of another test set, so many seconds after the usual one."""
    found = scores(said)
    found["models"] = [{**found["models"][0 if name == "base" else 1], "name": name} for name in models]
    found["comparisons"] = [{**found["comparisons"][0], "of": models[-1], "with": models[0]}] if len(models) > 1 else []
    return {**found, "created": BEGIN + 500 + after,
            "test": {"path": path, "sha256": path * 3, "rows": rows, "kinds": {"free": rows}, **test}}


def test_a_later_look_at_few_rows_does_not_take_the_verdicts_place(run, page):
    run.evaluate("evaluate-1", scores())
    run.evaluate("evaluate-2", other("questions.jsonl", 20, 9, ("base", "Q4_K_M"), "No difference, says Q4_K_M."))
    run.evaluate("evaluate-3", other("english.jsonl", 60, 10, said="Worse: what English says.", trained_on=4))
    text = page(run.folder).text
    begin, _, rest = text.partition("What wasn't checked")
    order = [begin.index(words) for words in (
        "questions.jsonl, tuned against base: better (52.4", "english.jsonl, tuned against base: Worse: what English",
        "questions.jsonl, Q4_K_M against base: No difference, says",
        "The run is judged by 101 rows of questions.jsonl: the newest of the evaluations with the most rows.")]
    assert order[0] < min(order[1:]) and "21.3 → 52.4" in begin
    assert "The model was trained on 4 of 60 test rows of english.jsonl." in begin
    for title in ("Test set: questions.jsonl", "Test set: english.jsonl"):
        assert title in rest
    assert "The rows can't be read" in rest and "Ranked by how much" not in rest


@pytest.mark.parametrize(("learned", "tone", "words"), [
    (0, "ok", "Its answers are clearly closer to yours than before training."), (101, "warn", "this shows memory, not "
                                                                                              "skill.")])
def test_the_colour_of_the_plain_sentence_is_its_own(run, learned, tone, words):
    found = scores()
    run.evaluate("evaluate-1", {**found, "test": {**found["test"], "trained_on": learned}})
    shown, said = summary.verdicts(gather.gather(run.folder))[0]
    assert words in said and shown == tone


def test_the_runs_own_held_out_rows_decide_whatever_was_asked_besides(run, page):
    held_out = run.record["eval_file"]
    run.evaluate("evaluate-1", other(held_out, 48, 0, said="Better: its own."))
    run.evaluate("evaluate-2", other("large.jsonl", 5000, 5, said="Worse: the large one."))
    begin = page(run.folder).text.partition("What wasn't checked")[0]
    assert begin.index("Better: its own.") < begin.index("Worse: the large one.")
    assert "judged by 48 rows of held_out.jsonl: the newest evaluation of its own held-out rows." in begin


def test_an_older_evaluation_of_the_same_rows_is_one_line(run, page):
    run.evaluate("evaluate-1", other("questions.jsonl", 101, -9, said="The older word.", sha256="98" * 32))
    run.evaluate("evaluate-2", scores())
    text = page(run.folder).text
    assert text.count("Test set: questions.jsonl") == 1 and text.count("The older word.") == 1
    assert text.index("Other evaluations") < text.index("questions.jsonl, tuned against base: The older")


def test_a_small_benchmark_does_not_take_the_place_of_a_whole_one(run, page):
    for number, (rows, limit, said) in enumerate(((14_042, None, "All of MMLU."), (285, 5, "A little of MMLU."))):
        accuracy = {"value": 59.8, "low": 57.8, "high": 61.8, "rows": rows}
        run.evaluate(f"evaluate-{number}", {"protocol": 1, "created": BEGIN + number, "test": None, "models": [],
                                            "comparisons": [], "judge": None, "benchmarks": [
            {"name": "mmlu", "title": "MMLU", "shots": 5, "limit": limit, "data": "/data", "sentence": said,
             "models": [{"name": "tuned", "accuracy": accuracy, "by_subject": {}}], "comparisons": []}]})
    text = page(run.folder).text
    assert "All of MMLU." in text.partition("What wasn't checked")[0]
    assert "A little" not in text.partition("What wasn't checked")[0]
    assert "MMLU, 5 questions per subject: A little of MMLU." in text


def test_each_group_has_its_verdict(run, page):
    found = scores()
    found["group_comparisons"] = {
        "category": {"tax": [{**found["comparisons"][0], "metric": "loss", "verdict": "worse", "p": 0.0499}]},
        "language": {"hi": [{**found["comparisons"][0], "of": name, "p": 0.0002} for name in ("tuned", "Q4_K_M")]}}
    run.evaluate(scores=found)
    text = page(run.folder).text
    assert "Category Score base tuned Rows Verdict tax Loss ↓" in text.replace("nats per token ↓", "Loss ↓")
    assert "worse, p = 0.0499" in text and "tuned: better, p < 0.001 Q4_K_M: better, p < 0.001" in text
    assert "corrected for the number of groups" in text


def test_remarks_are_told_of_a_single_model_too(run, page):
    run.evaluate(scores={**other("q.jsonl", 9, 0, ("tuned",)), "remarks": ["3 damaged lines were skipped."]})
    assert "3 damaged lines were skipped." in page(run.folder).text


@pytest.mark.parametrize("value", [None, "x", True])
def test_a_damaged_score_leaves_its_tile_out(run, page, value):
    place = run.evaluate(scores=scores())
    found = files.read_json(place / "scores.json")
    found["models"][0]["scores"]["chrf"] = {**found["models"][0]["scores"]["chrf"], "value": value}
    files.write_atomically(place / "scores.json", files.dump_pretty(found))
    shown = page(run.folder)
    assert "52.4" in shown.text and "base → tuned" not in shown.text


def test_a_tile_writes_a_loss_as_the_table_does(run, page):
    found = scores()
    found["comparisons"][0]["metric"] = "loss"
    run.evaluate(scores=found)
    assert "2.610 → 1.270" in page(run.folder).text
