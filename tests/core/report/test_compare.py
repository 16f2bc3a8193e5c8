"""Runs side by side: what they answered alike is tested, what they were asked differently is said."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support import evaluated_runs

from slmstudio.cli import commands
from slmstudio.core import files
from slmstudio.core.report.compare import compare


@pytest.fixture
def make_run(studio_home, tiny_model):
    return partial(evaluated_runs.ended_run, model=tiny_model)


def benchmark(run: Path, limit: int | None, **asked: Any) -> None:
    """A result of MMLU."""
    request = {"name": "mmlu", "data": "/data/mmlu", "limit": limit, "shots": 5, **asked}
    job = evaluated_runs.write(run, "evaluate-mmlu", test=None, benchmark=request)
    accuracy = {"value": 50.0, "low": 45.0, "high": 55.0, "rows": 200}
    result = {"title": "MMLU", **request, "sentence": "", "comparisons": [],
              "models": [{"name": name, "accuracy": accuracy, "by_subject": {}} for name in ("base", "tuned")]}
    files.write_atomically(job.folder / "scores.json", files.dump_pretty(
        {"protocol": 1, "created": 1.79e9, "test": None, "models": [], "comparisons": [], "judge": None,
         "benchmarks": [result]}))


def test_runs_that_answered_the_same_rows_are_tested_in_pairs(make_run, capsys):
    one, two = make_run("one"), make_run("two", lora_rank=4)
    evaluated_runs.write(one, count=40)
    evaluated_runs.write(two, count=40)
    found = compare([one, two])
    assert found.warnings == [] and found.paired.sentences() == ["two against one: The answers are the same."]
    assert commands.main(["compare", str(one), str(two), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    first = told["runs"][0]
    assert (first["rows"], first["limit"], first["seed"]) == (40, None, 0)
    assert first["sha256"] == files.sha256_of(one / "tests.jsonl")
    assert [run["label"] for run in told["runs"]] == ["one", "two"]
    assert told["paired"]["rows"] == 40 and told["warnings"] == []
    main = next(each for each in told["paired"]["comparisons"] if each["main"])
    assert (main["of"], main["with"], main["metric"], main["p"]) == ("two", "one", "chrf", 1.0)
    assert commands.main(["compare", str(one), str(two)]) == 0
    shown = capsys.readouterr().out
    assert "two against one: The answers are the same." in shown and "Warning" not in shown


def test_scores_of_other_rows_are_not_compared_in_silence(make_run, capsys):
    """Though the file has the same path: it was edited between."""
    one, two = make_run("one"), make_run("two")
    tests = one / "tests.jsonl"
    evaluated_runs.write(one, count=30)
    evaluated_runs.write(two, count=40)
    scores = files.read_json(two / "jobs" / "evaluate-1" / "scores.json")
    scores["test"]["path"] = str(tests)
    files.write_atomically(two / "jobs" / "evaluate-1" / "scores.json", files.dump_pretty(scores))
    found = compare([one, two])
    assert found.warnings == ["The runs were tested on different rows, so their scores can't be compared."]
    assert found.paired.rows is not None and len(found.paired.rows) == 30
    assert "10 rows of two and 0 of one are left out." in found.paired.remarks[0]
    assert commands.main(["compare", str(one), str(two)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Warning: The runs were tested on different rows" in shown and "Rows tested" in shown


@pytest.mark.parametrize(("request_of_one", "words"), [
    ({"system": "Be brief."}, "a different answer length"), ({"max_new_tokens": 256}, "a different answer length"),
    ({"limit": 30, "seed": 7}, "different rows"), ({"limit": 99, "seed": 7}, ""), ({"seed": 7}, "")])
def test_the_same_rows_asked_otherwise_are_said(make_run, request_of_one, words):
    one, two = make_run("one"), make_run("two")
    evaluated_runs.write(one, count=30)
    evaluated_runs.write(two, count=30, **request_of_one)
    warnings = compare([one, two]).warnings
    assert (words in warnings[0]) if words else not warnings


def test_the_test_set_that_the_runs_share_is_compared(make_run):
    one, two = make_run("one"), make_run("two")
    evaluated_runs.write(one, "evaluate-1", count=40)
    evaluated_runs.write(one, "evaluate-2", count=20)
    evaluated_runs.write(two, "evaluate-1", count=20)
    found = compare([one, two])
    assert [run["rows"] for run in found.runs] == [20, 20] and not found.warnings
    assert found.paired.rows is not None and len(found.paired.rows) == 20


@pytest.mark.parametrize(("limit", "asked", "words"), [
    (5, {}, "questions per subject"), (None, {"shots": 0}, "examples before a question"),
    (None, {"data": "/other"}, "where the questions are from"), (None, {}, "")])
def test_benchmarks_with_other_questions_are_not_compared_in_silence(make_run, limit, asked, words):
    one, two = make_run("one"), make_run("two")
    benchmark(one, None)
    benchmark(two, limit, **asked)
    found = compare([one, two])
    assert found.runs[1]["benchmarks_asked"]["MMLU"]["limit"] == limit
    said = f"MMLU wasn't asked in the same way, so its accuracies can't be compared. Different: {words}."
    assert found.warnings == ([said] if words else [])


def test_runs_without_an_evaluation_are_compared_by_the_rest(make_run):
    one, two = make_run("one"), make_run("two", lora_rank=4)
    evaluated_runs.write(two)
    found = compare([one, two])
    assert found.paired.comparisons == [] and found.warnings == [] and found.runs[0]["rows"] is None
