"""What is chosen for an evaluation while something else is at work, or was chosen before."""

from __future__ import annotations

import threading

import pytest
from PySide6.QtCore import QThreadPool
from PySide6.QtWidgets import QPushButton
from support import evaluated_runs
from support.window import press

from slmstudio.core import files, jobs
from slmstudio.core.errors import Problem
from slmstudio.core.evaluation import ballots
from slmstudio.core.evaluation import request as requests
from slmstudio.core.evaluation.scoring import SCORES, row_scores
from slmstudio.core.votes.store import BEST
from slmstudio.gui.common.tasks import is_busy
from slmstudio.gui.evaluation.answers import votes
from slmstudio.gui.evaluation.choice import BENCHMARK, EvaluationChoice
from slmstudio.gui.evaluation.jobs import read_evaluation
from slmstudio.gui.evaluation.panel import make_job
from slmstudio.gui.evaluation.scores import ALL, CATEGORY, LANGUAGE, ScoresView
from slmstudio.gui.results.evaluation_section import EvaluationSection
from slmstudio.gui.results.run_facts import read_facts


@pytest.fixture
def runs(studio_home, tiny_model, write_rows):
    """Two runs that have ended, with a test file each."""
    rows = [{"instruction": f"Where is form {number}?", "output": f"At window {number}."} for number in range(6)]
    file = str(write_rows("rows.jsonl", rows))
    made = [evaluated_runs.ended_run(name, tiny_model, eval_file=file) for name in ("first", "second")]
    for run in made:
        (run / "adapter" / "adapter_config.json").write_text("{}")
    return made


@pytest.fixture
def section(qtbot, session, runs):
    """The evaluations of the first run, with the panel open."""
    made = EvaluationSection(session)
    qtbot.addWidget(made)
    made.show_run(read_facts(runs[0]))
    made.show()
    open_panel(qtbot, made)
    return made


def open_panel(qtbot, section):
    section.open_panel()
    qtbot.waitUntil(lambda: section.panel.button.isEnabled() and not is_busy(section.panel))


def test_a_start_compares_no_bad_row_with_another(runs, write_rows, monkeypatch):
    """With a hundred thousand of them it would never end."""
    bad = ["{broken"] * 50
    test = write_rows("tests.jsonl", [{"instruction": "What is 1 + 1?", "output": "It is 2."}, *bad])
    compared = []
    monkeypatch.setattr(Problem, "__eq__", lambda one, other: bool(compared.append(one)))
    job = make_job(runs[0], {**requests.propose(runs[0]), "test": str(test)})
    assert job.request()["test"] == str(test), "the panel has named the bad rows"
    assert not compared


@pytest.mark.parametrize("leave", ["not now", "another run"])
def test_nothing_starts_once_the_panel_was_left(qtbot, section, runs, monkeypatch, leave):
    checking, left, check = threading.Event(), threading.Event(), requests.check

    def late(*given):
        checking.set()
        assert left.wait(60)
        return check(given[0])

    monkeypatch.setattr(requests, "check", late)
    section.panel.button.click()
    qtbot.waitUntil(checking.is_set)
    assert not section.panel.button.isEnabled()
    if leave == "not now":
        section.panel.findChild(QPushButton, "evaluation_close").click()
    else:
        section.show_run(read_facts(runs[1]))
    left.set()
    assert QThreadPool.globalInstance().waitForDone(60_000)
    open_panel(qtbot, section)
    assert not section.running.is_running() and not list((runs[0] / "jobs").glob("evaluate*")), "it was not wanted"


def test_a_benchmark_can_be_downloaded_as_soon_as_its_name_is_typed(qtbot, session):
    choice = EvaluationChoice()
    qtbot.addWidget(choice)
    choice.source.set_current(BENCHMARK)
    choice.benchmark.setCurrentIndex(choice.benchmark.count() - 1)
    assert not choice.download.isEnabled(), "it has no name yet"
    qtbot.keyClicks(choice.task, "boolq")
    assert choice.download.isEnabled()
    choice.set_fetched("boolq", "boolq, fetched today")
    assert choice.download.isHidden()
    qtbot.keyClicks(choice.task, "_x")
    assert not choice.download.isHidden() and not choice.name.text(), "that was another one"


def test_a_model_that_was_added_stays_with_its_run(qtbot, section, runs, tiny_model):
    models = section.panel.choice.models
    models.picker.pick(tiny_model)
    qtbot.waitUntil(lambda: models.names() == ["base", "tuned", tiny_model.name])
    press(qtbot, section, "evaluation_close")
    open_panel(qtbot, section)
    assert models.names() == ["base", "tuned", tiny_model.name], "nobody wants to choose it twice"
    section.show_run(read_facts(runs[1]))
    open_panel(qtbot, section)
    assert models.names() == ["base", "tuned"] and not models.added


def test_scores_without_a_models_name_are_shown_as_far_as_they_go(qtbot, session, runs):
    job = evaluated_runs.write(runs[0], count=2, finished=False)
    files.write_atomically(job.folder / SCORES, files.dump_pretty(
        {"protocol": 1, "models": [{"rows": 2}], "comparisons": [], "remarks": ["Two rows tell little."]}))
    view = ScoresView()
    qtbot.addWidget(view)
    view.show_evaluations([read_evaluation(job.folder)])
    assert view.remarks.text() == "Two rows tell little."


def test_damaged_scores_are_shown_as_far_as_they_go(qtbot, session, runs):
    job = evaluated_runs.write(runs[0])
    scores = files.read_json(job.folder / SCORES)
    whole = next(model for model in scores["models"] if model["name"] == "tuned")
    scores |= {"models": [7, {**whole, "speed": 3}, {"name": "base", "scores": [], "speed": {}, "by_category": [1]}],
               "comparisons": [5, *scores["comparisons"]], "remarks": 3, "test": [1],
               "group_comparisons": {**scores["group_comparisons"], "language": 8}}
    files.write_atomically(job.folder / SCORES, files.dump_pretty(scores))
    view = ScoresView()
    qtbot.addWidget(view)
    view.show_evaluations([read_evaluation(job.folder)])
    for group in (ALL, CATEGORY, LANGUAGE):
        view.groups.set_current(group)
        assert view.table.figures.rows[0][1].text.removeprefix("▲ ")[0].isdigit()
    assert view.sentence.text().startswith("Better: ")


def test_a_test_set_and_a_benchmark_asked_for_together_are_both_told(qtbot, session, runs):
    job = evaluated_runs.write(runs[0])
    files.write_atomically(job.folder / jobs.REQUEST, files.dump_pretty(
        {**files.read_json(job.folder / jobs.REQUEST), "test": "tests.jsonl", "benchmark": {"name": "mmlu"}}))
    files.write_atomically(job.folder / SCORES, files.dump_pretty(
        {**files.read_json(job.folder / SCORES), "benchmarks": [
            {"name": "mmlu", "sentence": "General knowledge kept: MMLU −0.7 ± 1.1.",
             "models": [{"name": "tuned", "accuracy": {"value": 41.0, "low": 38.0, "high": 44.0, "rows": 900}}]}]}))
    evaluation = read_evaluation(job.folder)
    assert not evaluation.benchmark, "the scores are the test set's"
    assert evaluation.values()["mmlu.tuned.accuracy"] == 41.0 and "tuned.chrf" in evaluation.values()
    view = ScoresView()
    qtbot.addWidget(view)
    view.show_evaluations([evaluation])
    assert "General knowledge kept: MMLU −0.7 ± 1.1." in view.remarks.text().splitlines()


def test_votes_are_not_read_again_while_nothing_has_changed(qtbot, session, runs, monkeypatch):
    job = evaluated_runs.write(runs[0])
    read, sentences = [], votes.votes_sentences
    monkeypatch.setattr(votes, "votes_sentences", lambda *given: (read.append(given), sentences(*given))[1])
    view = ScoresView()
    qtbot.addWidget(view)

    def show() -> str:
        view.show_evaluations([read_evaluation(job.folder)])
        at_once = view.remarks.text()
        assert QThreadPool.globalInstance().waitForDone(60_000)
        qtbot.waitUntil(lambda: not is_busy(view))
        return at_once

    show()
    ballots.add(job.folder, row_scores(job.folder)[2], "tuned", "base", BEST, "tuned")
    show()
    assert len(read) == 2 and "Your 1 blind vote" in view.remarks.text()
    assert "Your 1 blind vote" in show() and len(read) == 2, "shown at once, and nothing read"


