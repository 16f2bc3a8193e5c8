"""Odd run folders hide no other, the wait for all of them can be ended, of many some are compared; energy and heat."""

from __future__ import annotations

import math
import os
import sys
import threading

import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QTextDocument
from PySide6.QtWidgets import QLabel, QMenu, QPushButton
from support import evaluated_runs
from support.report_run import ReportRun, finished
from support.results_window import compared, show
from support.window import press

from slmstudio.core import files, jobs
from slmstudio.core.jobs.job import EventReader
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run import folder, notes
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.curves import Smoother
from slmstudio.core.run.energy import energy_costs
from slmstudio.core.run.energy.energy_costs import tariff
from slmstudio.core.settings import Settings
from slmstudio.gui.common import tasks
from slmstudio.gui.common.tasks import is_busy
from slmstudio.gui.results import columns, run_facts
from slmstudio.gui.results import tab as results_tab
from slmstudio.gui.results.compare import MOST_COMPARED
from slmstudio.gui.results.run_details import RunOverview
from slmstudio.gui.results.run_facts import FactsReader, read_facts

# -- odd folders -------------------------------------------------------------------------------------------------


def test_one_odd_run_hides_no_other(qtbot, tab, make_run):
    fine, odd, deep, old = (make_run(name) for name in ("fine", "odd", "deep", "old"))
    (odd / jobs.EVENTS).unlink()
    (odd / jobs.EVENTS).mkdir()
    (deep / notes.FILE).write_text("[" * 100_000)  # more than Python's reader of JSON goes down
    record = files.read_json(old / jobs.RUN)
    files.write_atomically(old / jobs.RUN, files.dump_pretty({**record, "created": "2026-11-24T10:00"}))
    jobs.write_outcome(old, Outcome("finished", result={"eval_loss_after": ["x"], "train_loss_first": "high"}))
    show(qtbot, tab, 3)  # a note that can't be read hides no run
    assert {run.folder for run in tab.table.runs.runs} == {fine, old, deep}
    problems = {problem.field: problem.message for problem in tab.banner.error.problems}
    assert problems.keys() == {odd.name}
    assert "It is a folder" in problems[odd.name]
    tab.table.select({old})
    tab.table.chosen.emit(tab.table.selected())
    qtbot.waitUntil(lambda: tab.details.shows(old) and not is_busy(tab))


def test_a_list_that_was_cancelled_goes_on_where_it_was(make_run, monkeypatch):
    for name in ("a", "b", "c"):
        make_run(name)
    parent, reader, asked = make_run("d").parent, FactsReader(), []

    def after_two() -> bool:
        asked.append(len(asked))
        return len(asked) > 2

    assert reader.read(parent, cancelled=after_two) == []
    told, again, read = [], [], run_facts.read_facts
    monkeypatch.setattr(run_facts, "read_facts", lambda folder: again.append(folder) or read(folder))
    found = reader.read(parent, lambda *progress: told.append(progress))
    assert [facts.summary.config.name for facts in found] == ["d", "c", "b", "a"]
    assert len(again) == 2, "the others aren't read again"
    assert told[0] == (0, 4) and told[-1] == (4, 4)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no file that is never ready")
def test_reading_shows_its_progress_and_can_be_ended(qtbot, tab, make_run):
    events = make_run("slow") / jobs.EVENTS
    content = events.read_bytes()
    files.append_line(events, {"protocol": 1, "time": 1.0, "type": "log", "message": "m" * 200})
    line = events.read_bytes().splitlines(True)[-1]
    events.write_bytes(content + line * 400_000)  # takes seconds to read
    tab.show()
    assert not tab.reading.strip.isVisible(), "nothing flashes"
    qtbot.waitUntil(tab.reading.strip.isVisible)
    qtbot.mouseClick(tab.reading.strip.cancel, Qt.MouseButton.LeftButton)
    again = tab.findChild(QPushButton, "runs_read")
    assert again.isVisible() and not is_busy(tab)
    tab.refresh()
    assert not is_busy(tab), "it stays ended until the person wants it"
    events.write_bytes(content)
    press(qtbot, tab, "runs_read")
    qtbot.waitUntil(lambda: len(tab.table.runs.facts) == 1 and tab.table.isVisible() and not is_busy(tab))


def test_the_newest_runs_are_shown_while_the_others_are_read(qtbot, tab, make_run, monkeypatch):
    runs = [make_run(name) for name in "abcdef"]
    for age, run in enumerate(reversed(runs)):
        os.utime(run / jobs.RUN, (2e9 - age, 2e9 - age))
    monkeypatch.setattr(results_tab, "FEW", 2)
    monkeypatch.setattr(tasks, "REPORTS_A_SECOND", math.inf)
    go_on = threading.Event()

    def slow(folder):
        assert folder in runs[4:] or go_on.wait(60)
        return read_facts(folder)

    monkeypatch.setattr(run_facts, "read_facts", slow)
    tab.show()
    qtbot.waitUntil(lambda: tab.table.isVisible() and tab.curves.plots is not None and tab.curves.plots.isVisible())
    assert {run.folder for run in tab.table.runs.runs} == {*runs[4:]}
    assert tab.bar.note.text() == "2 of 6 runs have been read."
    tab.table.select({runs[4]})
    go_on.set()
    qtbot.waitUntil(lambda: len(tab.table.runs.facts) == 6 and not is_busy(tab))
    assert [run.folder for run in tab.table.selected()] == [runs[4]] and not tab.bar.note.isVisible()


def test_the_list_the_curves_and_the_verdicts_of_a_run_read_its_events_once(qtbot, tab, make_run, monkeypatch):
    run, read, honest = make_run("one"), [], EventReader.read
    evaluated_runs.write(run, train_run=str(run))

    def counting(self):
        for event in honest(self):
            read.extend([event] * (self.path == run / jobs.EVENTS))
            yield event

    def settled() -> bool:
        scores = tab.details.evaluation.scores
        return (not is_busy(tab) and not is_busy(scores)
                and not is_busy(tab.details))

    monkeypatch.setattr(EventReader, "read", counting)
    show(qtbot, tab, 1)
    said = tab.details.evaluation.scores.verdict.headline
    qtbot.waitUntil(lambda: settled() and said.text() != "")
    events = len((run / jobs.EVENTS).read_bytes().splitlines())
    assert len(read) == events
    files.append_line(run / jobs.EVENTS, {"protocol": 1, "time": 9.0, "type": "step", "global_step": 99})
    tab.refresh()
    qtbot.waitUntil(settled)
    assert len(read) == events + 1 and tab.table.runs.facts[0].summary.steps == 99


def test_losses_are_smoothed_off_the_ui_thread(qtbot, tab, make_run, monkeypatch):
    worked, honest = [], Smoother.extend

    def extend(self, values):
        if len(values) > len(self.values):
            worked.append(threading.current_thread())
        return honest(self, values)

    monkeypatch.setattr(Smoother, "extend", extend)
    for name in ("one", "two"):
        files.append_line(make_run(name) / jobs.EVENTS, {"protocol": 1, "type": "step", "global_step": 1,
                                                         "train_loss": 2.0})
    show(qtbot, tab, 2)
    tab.table.selectAll()
    qtbot.waitUntil(lambda: tab.curves.compare.isVisible() and not is_busy(tab))
    tab.curves.compare.curves.which.set_current(2)
    assert len(worked) == 2 and threading.main_thread() not in worked


# -- losses ------------------------------------------------------------------------------------------------------


def ended(losses: list[float | None], result: dict[str, object]) -> folder.RunSummary:
    job = folder.create(RunConfig(name="n", model="m", train_file="t"))
    for number, loss in enumerate(losses):
        files.append_line(job.folder / jobs.EVENTS, {"protocol": 1, "time": 1.0, "type": "eval",
                                                     "global_step": number, "eval_loss": loss})
    jobs.write_outcome(job.folder, Outcome("stopped", result=result))
    return folder.summarise(job.folder)


@pytest.mark.parametrize(("losses", "after"), [
    ([2.31], "not measured"), ([2.31, None], "not a number"), ([2.31, 1.31], "1.31"), ([], "—")])
def test_a_loss_that_was_not_measured_is_not_that_of_the_base(qtbot, session, losses, after):
    overview = RunOverview()
    qtbot.addWidget(overview)
    overview.show_run(ended(losses, {}), tariff(Settings(), "IN"))
    assert overview.scores.itemAtPosition(2, 1).widget().text() == after


def test_the_column_of_losses_is_empty_where_nothing_was_measured_again(qtbot, tab, studio_home):
    for losses in ([2.31], [2.31, math.nan], [2.31, 1.31]):
        ended(losses, {})
    show(qtbot, tab, 3)
    column = tab.table.runs.columns.index("eval_loss")
    for order in (Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder):
        tab.table.sortByColumn(column, order)
        assert [tab.table.runs.index(row, column).data() for row in range(3)] == ["1.31", "—", "—"]


# -- many runs, and names that look like HTML --------------------------------------------------------------------


def test_of_very_many_runs_the_first_are_compared(qtbot, tab, make_run):
    for number in range(MOST_COMPARED + 2):
        make_run(f"run {number}")
    show(qtbot, tab, MOST_COMPARED + 2)
    hint = tab.findChild(QLabel, "compare_limit")
    assert not hint.isVisible()
    tab.table.selectAll()
    qtbot.waitUntil(lambda: tab.curves.compare.isVisible() and not is_busy(tab))
    assert len(compared(tab)) == MOST_COMPARED
    assert hint.isVisible() and hint.text() == "The first 20 of the 22 selected runs are compared."
    tab.table.selectRow(0)
    assert not hint.isVisible()


def test_another_run_is_shown_from_its_top_with_why_it_stopped_early(qtbot, tab, make_run):
    first, second = make_run("first"), make_run("second")
    jobs.write_outcome(second, Outcome("finished", result={"stopped_early": True}))
    show(qtbot, tab, 2)
    tab.details.show_run(read_facts(first))
    bars = [area.verticalScrollBar() for area in (tab.details._area, tab.details._views.widget(0))]
    for bar in bars:
        bar.setRange(0, 100)
        bar.setValue(50)
    tab.details.show_run(read_facts(second))
    assert [bar.value() for bar in bars] == [0, 0]
    assert any(each.text().startswith("Stopped early at") for each in tab.details.overview.findChildren(QLabel))


def test_names_and_notes_are_shown_as_they_are(qtbot, tab, make_run):
    name = 'lr<1e-4 <img src="x.png">'
    run = make_run(name)
    notes.write(run, notes.Notes("a <b>bold</b> plan\n  and a line", ("Q&A",)))
    make_run("other")
    show(qtbot, tab, 2)
    row = next(row for row in range(2) if tab.table.runs.index(row, 0).data() == name)
    tip = QTextDocument()
    tip.setHtml(tab.table.runs.index(row, 0).data(Qt.ItemDataRole.ToolTipRole))
    assert tip.toPlainText() == f"{name}\n{run}\na <b>bold</b> plan\n  and a line"
    tab.table.selectAll()
    qtbot.waitUntil(lambda: tab.curves.compare.isVisible() and not is_busy(tab))
    plot = tab.curves.compare.curves.plot
    plot.read_at(QPointF(plot.canvas.rect().center()))
    said = QTextDocument()
    said.setHtml(plot.readout())
    assert f"{name}, eval 1.500" in said.toPlainText()
    press(qtbot, tab, "runs_tags")
    (menu,) = tab.bar.findChildren(QMenu)
    assert menu.actions()[0].text() == "Q&&A"
    menu.close()


def test_figures_of_a_file_have_their_unit_in_the_heading(qtbot, tab, make_run):
    make_run("one")
    show(qtbot, tab, 1)
    head, row = tab.table.runs.as_table()
    assert row[head.index("Time (s)")] == 2.0


@pytest.fixture
def overview(qtbot, qapp) -> RunOverview:
    made = RunOverview()
    qtbot.addWidget(made)
    return made


def lines(overview: RunOverview) -> list[str]:
    return [label.text() for label in overview.findChildren(QLabel) if not label.isHidden()]


def test_one_line_each(overview, tmp_path):
    run, india = folder.summarise(finished(tmp_path).folder), tariff(Settings(), "IN")
    overview.show_run(run, india)
    told = [energy_costs.energy(run.energy), *(say(run.energy.joules, india)
                                               for say in (energy_costs.cost, energy_costs.co2))]
    assert set(told) <= set(lines(overview))
    assert all(figure in line for figure, line in zip(("0.25 Wh", "₹0.0018", "0.18 g"), told, strict=True))


def test_no_price_says_where_it_is_set_and_no_reading_says_nothing(overview, tmp_path):
    run, nowhere = folder.summarise(finished(tmp_path).folder), tariff(Settings(), "")
    overview.show_run(run, nowhere)
    assert energy_costs.cost(run.energy.joules, nowhere) in lines(overview)
    bare = ReportRun(tmp_path / "bare")
    bare.start()
    bare.learn(1, 5)
    overview.show_run(folder.summarise(bare.folder), tariff(Settings(), "IN"))
    assert not [line for line in lines(overview) if "kWh" in line or " Wh" in line]


def test_the_table_of_runs_can_show_and_sort_it(qapp, tmp_path):
    value = run_facts.read_facts(finished(tmp_path).folder).values["joules"]
    assert value == pytest.approx(915.1, abs=0.5)
    assert (columns.title("joules"), columns.csv_title("joules"), columns.cell("joules", value)) == (
        "Energy", "Energy (J)", "0.25 Wh")
    assert "joules" in columns.known_columns([])


def test_what_the_guard_did_is_told_and_can_be_sorted_by(overview, qapp, tmp_path):
    run = ReportRun(tmp_path / "hot")
    run.start()
    run.learn(1, 5)
    run.tell("guard_rest", global_step=5, why="heat", message="Hot.")
    run.tell("guard_resume", global_step=5, why="heat", seconds=840.0, message="Cool.")
    run.tell("sensors", gpus=[{"temperature_c": 81}, {"temperature_c": 76}])
    summary = folder.summarise(run.folder)
    overview.show_run(summary, tariff(Settings(), "IN"))
    assert summary.heat in lines(overview)
    values = run_facts.read_facts(run.folder).values
    assert {key: columns.cell(key, values[key]) for key in ("rested", "peak_c")} == {
        "rested": "14 min", "peak_c": "81 °C"}
    assert {"rested", "peak_c"} <= set(columns.known_columns([]))
