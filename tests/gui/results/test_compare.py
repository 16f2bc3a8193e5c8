"""Scores of several runs beside each other in the Results tab, driven as a person would."""

from __future__ import annotations

import csv
import threading
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from support import evaluated_runs
from support.results_window import compared, show
from support.tiers import first_fast
from support.window import press

from slmstudio.core import files, jobs
from slmstudio.core.evaluation.paired import Paired
from slmstudio.gui.common.tasks import is_busy
from slmstudio.gui.evaluation.answers.rows_model import FIRST, SECOND
from slmstudio.gui.results import compare_scores
from slmstudio.gui.results.compare import LOSSES, SCORES
from slmstudio.gui.results.compare_scores import MOST_REMARKS, ComparedRows, ComparedScores


@pytest.fixture
def scores_of(qtbot, tab):
    """`scores_of(2)`: the page of scores, with so many runs selected."""

    def select(runs: int):
        show(qtbot, tab, runs)
        tab.table.selectAll()
        qtbot.waitUntil(lambda: len(compared(tab)) == runs)
        tab.curves.compare.tabs.set_current(SCORES)
        return tab.curves.compare.compared

    return select


def worse(job: Any) -> None:
    """The tuned model answers as the base does, in all rows but a few."""
    base = (job.folder / "answers-0.jsonl").read_bytes()
    (job.folder / "answers-1.jsonl").write_bytes(base)


def benchmark(run: Path, limit: int | None) -> None:
    request = {"name": "mmlu", "data": "/data/mmlu", "limit": limit, "shots": 5}
    job = evaluated_runs.write(run, "evaluate-mmlu", test=None, benchmark=request)
    accuracy = {"value": 50.0, "low": 45.0, "high": 55.0, "rows": 200}
    files.write_atomically(job.folder / "scores.json", files.dump_pretty(
        {"protocol": 1, "created": 1.79e9, "test": None, "models": [], "comparisons": [], "judge": None,
         "benchmarks": [{"title": "MMLU", **request, "sentence": "", "comparisons": [], "models": [
             {"name": name, "accuracy": accuracy, "by_subject": {}} for name in ("base", "tuned")]}]}))


def test_the_difference_between_two_runs_is_tested_and_its_rows_can_be_seen(qtbot, tab, make_run, scores_of, tmp_path):
    weak, strong = make_run("weak"), make_run("strong")
    worse(evaluated_runs.write(weak, count=60))
    evaluated_runs.write(strong, count=60)
    page = scores_of(2)
    qtbot.waitUntil(lambda: page.paired is not None)
    (said,) = page.verdicts.text().splitlines()
    first, second = page.paired.rows.names
    assert {first, second} == {"weak", "strong"}
    assert said.startswith(f"{second} against {first}: {'Better' if second == 'strong' else 'Worse'}: ")
    assert "p\xa0<\xa00.001" in said and page.rows.isVisible() and not page.again.isVisible()
    assert "All tested on the same rows" in tab.curves.compare.hint.text()
    press(qtbot, page, "compare_rows")
    (window,) = page.findChildren(ComparedRows)
    qtbot.waitUntil(lambda: len(window.table.rows.shown) == 60 and not is_busy(window))
    gains = [window.table.rows.row_at(place).gain(second, first) for place in range(60)]
    assert gains == sorted(gains, reverse=True)
    tips = [window.table.rows.headerData(section, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)
            for section in (FIRST, SECOND)]
    assert tips == [f"The score of {model} for this row" for model in (first, second)], "the heading may be elided"
    row = window.table.rows.row_at(0)
    assert row.answers[first] != row.answers[second] and row.references
    assert not window.detail.foot.isVisible() and not window.detail.reference.edit.isVisible()
    window.save_table(tmp_path / "rows.csv")
    qtbot.waitUntil((tmp_path / "rows.csv").exists)
    with open(tmp_path / "rows.csv", encoding="utf-8-sig", newline="") as file:
        head, *lines = list(csv.reader(file))
    assert f"{first} answer" in head and f"{second} answer" in head and len(lines) == 60
    window.close()


def test_runs_of_one_name_are_told_apart(tab, make_run, scores_of):
    for name in ("tests", "more"):
        run = make_run("help", eval_file=f"/data/office/desk/{name}.jsonl")
        record = files.read_json(run / jobs.RUN)
        files.write_atomically(run / jobs.RUN, files.dump_pretty({**record, "name": "help"}))  # as older versions did
        evaluated_runs.write(run)
    page = scores_of(2)
    assert page.table.figures.headers == ["", "help", "help (2)"] == tab.curves.compare.settings.figures.headers
    tab.curves.compare.tabs.set_current(LOSSES)
    assert "tests.jsonl" in tab.curves.compare.hint.text() and "/data/" not in tab.curves.compare.hint.text()


def test_the_paired_test_can_be_cancelled_and_begun_again(qtbot, tab, make_run, scores_of):
    for name in ("one", "two"):
        evaluated_runs.write(make_run(name), count=60)
    page = scores_of(2)
    page.strip.cancel.click()
    if page.paired is None:  # it may have been done before
        assert page.again.isVisible() and not page.verdicts.isVisible()
        page.show_runs(tab.table.selected_facts())
        page.start()
        assert not is_busy(page), "what was given up does not begin by itself"
        press(qtbot, page, "compare_again")
        qtbot.waitUntil(lambda: page.paired is not None)
    assert "The answers are the same." in page.verdicts.text()


def test_the_paired_test_ends_when_one_run_only_is_selected(qtbot, tab, make_run, scores_of, monkeypatch):
    go_on = threading.Event()
    compare = compare_scores.compare_runs

    def late(*given):
        assert go_on.wait(60)
        return compare(*given)

    for name in ("one", "two"):
        evaluated_runs.write(make_run(name), count=20)
    monkeypatch.setattr(compare_scores, "compare_runs", late)
    page = scores_of(2)
    tab.table.selectRow(0)
    assert not is_busy(page), "nobody sees what comes of it"
    go_on.set()
    tab.table.selectAll()
    qtbot.waitUntil(lambda: page.paired is not None)


def test_many_remarks_leave_room_for_the_table(qtbot, session):
    page = ComparedScores()
    qtbot.addWidget(page)
    told = [f"run {number} is not compared with run 0: none of its test rows is the same." for number in range(20)]
    page.show_paired(Paired(remarks=told))
    lines = page.remarks.text().splitlines()
    assert lines[:MOST_REMARKS] == told[:MOST_REMARKS] and lines[MOST_REMARKS:] == [f"And {20 - MOST_REMARKS} more."]
    assert all(line in page.remarks.toolTip() for line in told)
    page.show_paired(Paired(remarks=told[:2]))
    assert page.remarks.text().splitlines() == told[:2] and not page.remarks.toolTip()


@pytest.mark.parametrize(("limits", "words"), first_fast([
    ((None, 5), "MMLU wasn't asked in the same way"), ((None, None), "All tested on the same rows"),
    ((5, 5), "All tested on the same rows")], 2))
def test_benchmarks_alone_are_judged_by_what_they_asked(qtbot, tab, make_run, scores_of, limits, words):
    for name, limit in zip(("one", "two"), limits, strict=True):
        benchmark(make_run(name), limit)
    page = scores_of(2)
    hint = tab.curves.compare.hint.text()
    assert words in hint and "evaluated yet" not in hint
    assert ("number of questions" in hint) is ("wasn't asked" in hint) is (limits == (None, 5))
    qtbot.waitUntil(lambda: page.paired is not None)
    assert "answers of one can't be compared one by one" in page.remarks.text() and not page.again.isVisible()


def test_runs_that_were_evaluated_by_different_means_are_not_said_to_be_unevaluated(qtbot, tab, make_run, scores_of):
    benchmark(make_run("one"), None)
    evaluated_runs.write(make_run("two"), count=20)
    page = scores_of(2)
    assert "No two of these runs were tested on the same" in tab.curves.compare.hint.text()
    assert not page.again.isVisible()


@pytest.mark.parametrize("damage", first_fast([
    {"test": {"rows": "many", "sha256": [1]}}, {"comparisons": 3}, {"test": "x"}, {"test": None}, {"created": {}}], 2))
def test_damaged_scores_are_compared_as_far_as_they_go(qtbot, tab, make_run, scores_of, damage):
    evaluated_runs.write(make_run("whole"), count=20)
    job = evaluated_runs.write(make_run("damaged"), count=20)
    scores = files.read_json(job.folder / "scores.json")
    files.write_atomically(job.folder / "scores.json", files.dump_pretty({**scores, **damage}))
    page = scores_of(2)
    qtbot.waitUntil(lambda: page.paired is not None)
    assert page.table.figures.rows and "The answers are the same." in page.verdicts.text()
