"""The Results tab on run folders that a real child process has written."""

from __future__ import annotations

import os
import shutil

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QApplication, QCheckBox, QLabel, QPushButton
from support.results_window import compared, show
from support.window import press, texts

from slmstudio.core import files, jobs, paths
from slmstudio.core.jobs.job import Job
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.common.tasks import is_busy
from slmstudio.gui.common.widgets.labels import ElidedLabel
from slmstudio.gui.export.exports_table import PROOF, TOKENS
from slmstudio.gui.results.columns import STANDARD
from slmstudio.gui.results.run_details import OVERVIEW
from slmstudio.gui.results.tab import ResultsTab


@pytest.fixture
def finished_run(studio_home, play, tiny_model):
    """`finished_run("name", "start ...")`: a run that has ended."""

    def make(name: str, words: str = "start gpu load plan:60 steps:60 finish", **fields) -> Job:
        play(words)
        job = folder.create(RunConfig(name=name, model=str(tiny_model), train_file="rows.jsonl", **fields))
        job.start()
        job.wait()
        return job

    return make


EVAL_LOSS, OUTCOME = (STANDARD.index(key) for key in ("eval_loss", "outcome"))


@pytest.fixture
def tab(qtbot, session, studio_home):
    made = ResultsTab(session)
    qtbot.addWidget(made)
    made.resize(1280, 640)
    yield made
    if made.details.export.followed.thread is not None:
        made.details.export.followed.thread.end_now()
        made.details.export.followed.thread.wait()


def choose(tab, *names: str) -> None:
    tab.table.select({run.folder for run in tab.table.runs.runs if run.config.name in names})
    tab.table.chosen.emit(tab.table.selected())


def open_export(qtbot, tab) -> None:
    """Open the panel of the export, and wait until the sizes are known and the proposal is marked."""
    press(qtbot, tab, "results_export")
    qtbot.waitUntil(tab.findChild(QPushButton, "export_start").isEnabled)


def test_a_run_of_a_newer_program_is_named_and_the_others_are_shown(qtbot, tab):
    own, newer = (folder.create(RunConfig(name=name, model="m", train_file="t.jsonl")) for name in ("own", "newer"))
    state = files.read_json(newer.folder / jobs.RUN)
    files.write_atomically(newer.folder / jobs.RUN, files.dump_pretty({**state, "format": 99}))
    show(qtbot, tab, 1)
    assert [run.folder for run in tab.table.runs.runs] == [own.folder]
    (problem,) = tab.banner.error.problems
    assert problem.field == newer.folder.name
    tab.banner.clear()
    tab.refresh()
    qtbot.waitUntil(lambda: not is_busy(tab))
    assert tab.banner.error is None  # said once


def test_no_runs_leads_to_training(qtbot, tab, session, wanted_pages):
    tab.show()
    qtbot.waitUntil(lambda: tab.findChild(QPushButton, "to_training").isVisible())
    press(qtbot, tab, "to_training")
    assert [page for page, *_ in wanted_pages] == ["training"]


def test_runs_with_their_losses_and_outcomes(qtbot, tab, finished_run):
    finished_run("old, crashed", "start load plan:60 steps:30 die")
    finished_run("हेल्पडेस्क")
    show(qtbot, tab, 2)
    model = tab.table.model()
    cells = {model.index(row, 0).data(): [model.index(row, c).data() for c in (EVAL_LOSS, OUTCOME)] for row in range(2)}
    assert cells == {"हेल्पडेस्क": ["1.55", "finished"], "old, crashed": ["1.80", "crashed"]}
    assert tab.details.title.text() == "हेल्पडेस्क", "the newest is selected"
    assert tab.findChild(QPushButton, "results_resume").isHidden()
    curves = tab.curves
    qtbot.waitUntil(lambda: curves.plots is not None and len(curves.plots.loss.curves["raw"].x) == 60)


def test_a_crashed_run_names_its_cause_and_resumes_in_training(qtbot, tab, finished_run, session, play, wanted_pages):
    job = finished_run("crashed", "start load plan:60 steps:55 die")
    show(qtbot, tab, 1)
    assert tab.details.banner.isVisible() and "unexpectedly" in tab.details.banner.error.what
    started = []
    session.run_started.connect(started.append)
    play("start load plan:60 steps:60 finish")
    press(qtbot, tab, "results_resume")
    qtbot.waitUntil(lambda: bool(started))
    assert [page for page, *_ in wanted_pages] == ["training"] and started[0].folder == job.folder
    started[0].wait()
    tab.refresh()
    qtbot.waitUntil(lambda: tab.table.runs.runs[0].state == "finished")


def test_a_finished_run_may_learn_more(qtbot, tab, finished_run, session, wanted_pages):
    job = finished_run("done", "start plan:20 steps:20 finish")
    show(qtbot, tab, 1)
    press(qtbot, tab, "results_more")
    assert wanted_pages == [("training", "next.go_on_from", (job.folder, {}))]


def test_sorting_by_loss(qtbot, tab, finished_run):
    finished_run("long", "start plan:100 steps:100 finish")
    finished_run("short", "start plan:20 steps:20 finish")
    show(qtbot, tab, 2)
    tab.table.sortByColumn(EVAL_LOSS, Qt.SortOrder.AscendingOrder)
    assert [tab.table.model().index(row, 0).data() for row in range(2)] == ["long", "short"]
    tab.table.sortByColumn(EVAL_LOSS, Qt.SortOrder.DescendingOrder)
    assert [tab.table.model().index(row, 0).data() for row in range(2)] == ["short", "long"]


def test_two_ticked_runs_are_compared(qtbot, tab, finished_run):
    finished_run("r4", lora_rank=4)
    finished_run("r16")
    show(qtbot, tab, 2)
    (chosen,), table = tab.table.selected(), tab.table
    assert chosen.config.name == "r16"
    other = next(row for row in range(2) if table.runs.shown[row].folder != chosen.folder)

    def tick() -> None:
        place = table.visualRect(table.runs.index(other, 0))
        qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton,
                         pos=QPoint(place.left() + 12, place.center().y()))

    tick()
    compare = tab.curves.compare
    qtbot.waitUntil(compare.isVisible)
    assert len(table.selected()) == 2 and "Rank: 16 (instead of 4)." in compare.hint.text()
    assert len(compare.curves.plot.curves) == 4, "train and eval of each"
    compare.tabs.set_current(1)
    ranks = [name.removeprefix("r") for name in compared(tab)]
    assert [[cell.text for cell in row] for row in compare.settings.figures.rows] == [["Rank", *ranks]], "nothing equal"
    tick()
    assert table.selected() == [chosen]
    qtbot.keyClick(table, Qt.Key.Key_Space)
    assert len(table.selected()) == 2, "the keys act on the row that was clicked last"


def test_the_comparison_tells_the_learning_rate_that_was_used(qtbot, tab, make_run):
    changed, _ = (make_run(name, learning_rate=1.4e-3) for name in ("changed", "kept"))
    files.append_line(changed / jobs.EVENTS, {
        "protocol": 1, "time": 200.0, "type": "changed", "global_step": 20, "learning_rate": 5e-4, "total_steps": 40,
        "asked": {"learning_rate": 5e-4}})
    show(qtbot, tab, 2)
    tab.table.selectAll()
    compare = tab.curves.compare
    qtbot.waitUntil(lambda: len(compared(tab)) == 2)
    (row,) = compare.settings.figures.rows
    told = {name: cell.raw for name, cell in zip(compared(tab), row[1:], strict=True)}
    assert told["kept"] == "0.0014" and told["changed"] == "0.0014, then 5e-4 from step 20"
    assert "then 5e-4 from step 20" in compare.hint.text() and "then 5e-4 from step 20" in [cell.detail for cell in row]
    tab.table.select({changed})
    tab.table.chosen.emit(tab.table.selected())
    tab.details.tabs.set_current(OVERVIEW)
    qtbot.waitUntil(lambda: "Learning rate 0.0014 → 5e-4 at step 20" in texts(tab.details))


def test_export_with_its_proof_and_chat(qtbot, tab, finished_run, session, play, monkeypatch, wanted_pages):
    job = finished_run("helpdesk")
    show(qtbot, tab, 1)
    press(qtbot, tab, "results_chat")
    assert wanted_pages == [("chat", "opening.open", (job.folder,))], "without a GGUF file the run itself is talked to"
    open_export(qtbot, tab)
    choice = tab.details.export.choice
    assert choice.names() == ["Q8_0"] and "·" in choice._figures["Q4_K_M"].text()
    assert choice.reason.text().startswith("Q8_0 needs about ")
    box = tab.findChild(QCheckBox, "type_Q4_K_M")
    qtbot.mouseClick(box, Qt.MouseButton.LeftButton)
    box.setChecked(True)
    play("start export")
    press(qtbot, tab, "export_start")
    qtbot.waitUntil(lambda: len(tab.details.exports.exports) == 2)
    model = tab.details.exports.model()
    assert [model.index(row, 0).data() for row in range(2)] == ["Q4_K_M", "Q8_0"]  # by size: the fake's
    assert model.index(0, TOKENS).data() == "all 60" and model.index(0, PROOF).data() == "proven"
    (made,) = (job.folder / "jobs").iterdir()
    assert Job(made).request()["types"] == ["Q8_0", "Q4_K_M"] and Job(made).request()["kind"] == "export"
    done = tab.details.export.made
    qtbot.waitUntil(done.isVisible)
    assert done.place.text() == str(job.folder / "exports") and not tab.details.buttons.isVisible()
    assert [label.text() for label in done.findChildren(ElidedLabel, "made_name")] == [
        f"{job.folder.name}-{kind}.gguf" for kind in ("Q4_K_M", "Q8_0")]
    assert [label.text() for label in done.findChildren(QLabel, "made_verdict")] == ["Answers as trained."] * 2
    for part in (done.chat, tab.findChild(QPushButton, "made_open"), done.title, done.place):
        assert part.visibleRegion().boundingRect() == part.rect(), "in view"
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    press(qtbot, tab, "made_open")
    assert opened == [done.place.text()]
    press(qtbot, tab, "made_chat")
    assert wanted_pages[1][2][0][0].name.endswith("Q8_0.gguf"), "the smallest proven one"
    press(qtbot, tab, "made_close")
    assert not tab.details.export.isVisible()
    press(qtbot, tab, "results_chat")
    assert wanted_pages[2][2][0][0].suffix == ".gguf" and session.job is None


def test_the_export_is_confirmed_without_scrolling_at_1280_by_720(qtbot, session, finished_run):
    finished_run("helpdesk")
    window = MainWindow(session)
    qtbot.addWidget(window)
    window.resize(1280, 720)
    window.show()
    window.go_to("results")
    tab = window.page("results")
    qtbot.waitUntil(lambda: tab.details.title.text() != " " and not is_busy(tab))
    press(qtbot, tab, "results_export")
    start, close = (tab.findChild(QPushButton, name) for name in ("export_start", "export_close"))
    qtbot.waitUntil(start.isEnabled)
    for _ in range(2):
        qtbot.waitUntil(lambda: not tab.details.export.choice.boxes["F16"].visibleRegion().isEmpty())
        for button in (start, close):
            assert button.visibleRegion().boundingRect() == button.rect(), button.text()
        assert tab.details._views.height() >= 120, "and some of the run is still seen"
        if not tab.details.export.choice.more.isChecked():
            press(qtbot, tab, "export_all_types")
        qtbot.waitUntil(lambda: tab.details.export.choice.boxes["LORA"].isVisible())
    for name, box in tab.details.export.choice.boxes.items():
        area = box.parentWidget().parentWidget().parentWidget()
        area.ensureWidgetVisible(box)
        assert box.visibleRegion().boundingRect() == box.rect(), name
    press(qtbot, tab, "export_close")
    assert tab.findChild(QPushButton, "results_export").isVisible() and not tab.details.export.isVisible()


def test_every_type_and_format_can_be_chosen(qtbot, tab, finished_run):
    """A few are shown at first; the adapter's formats only where there is one."""
    from slmstudio.core.export.types import OTHER_FORMATS, QUANT_TYPES

    run = finished_run("helpdesk").folder
    (run / "adapter").rename(run / "model")
    show(qtbot, tab, 1)
    open_export(qtbot, tab)
    choice = tab.details.export.choice
    shown = [name for name, box in choice.boxes.items() if not box.isHidden()]
    assert shown == ["F16", "Q8_0", "Q4_K_M"]
    press(qtbot, tab, "export_all_types")
    assert [name for name, box in choice.boxes.items() if not box.isHidden()] == [
        kind.name for kind in (*QUANT_TYPES, *OTHER_FORMATS)]
    assert choice.boxes["MERGED"].isEnabled() and not choice.boxes["LORA"].isEnabled()
    for index in range(choice.target.count()):
        choice.target.setCurrentIndex(index)
        assert [name for name, chip in choice._chips.items() if not chip.isHidden()] == ["Q8_0"]  # it is tiny


def test_an_export_is_cancelled_and_leaves_the_offer(qtbot, tab, finished_run, play):
    finished_run("helpdesk")
    show(qtbot, tab, 1)
    open_export(qtbot, tab)
    play("start wait:cancel cancelled")
    press(qtbot, tab, "export_start")
    panel = tab.details.export
    qtbot.waitUntil(panel.is_running)
    qtbot.waitUntil(lambda: panel.followed.history.phase == "starting")
    qtbot.mouseClick(panel.strip.cancel, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not panel.is_running())
    assert panel.isVisible() and tab.findChild(QPushButton, "export_start").isVisible()
    assert not panel.banner.isVisible()


def test_the_export_of_another_run_does_not_stay_in_the_pane(qtbot, tab, make_run, play):
    for name in ("helpdesk", "other"):
        make_run(name)
    show(qtbot, tab, 2)

    def choose_one(name: str) -> None:
        choose(tab, name)
        qtbot.waitUntil(lambda: tab.details.title.text() == name and not is_busy(tab))

    choose_one("helpdesk")
    open_export(qtbot, tab)
    play("start wait:cancel cancelled")
    press(qtbot, tab, "export_start")
    panel = tab.details.export
    qtbot.waitUntil(panel.is_running)
    choose_one("other")
    assert panel.isHidden() and panel.is_running()
    choose_one("helpdesk")
    assert panel.isVisible() and panel.strip.isVisible()
    choose_one("other")
    press(qtbot, tab, "results_export")
    panel.followed.thread.events.emit([{"type": "phase", "phase": "quantizing"}])
    assert panel.isVisible() and panel.strip.label.text().startswith("helpdesk: ")
    qtbot.mouseClick(panel.strip.cancel, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not panel.is_running())


def test_a_failed_export_says_why(qtbot, tab, finished_run, play):
    finished_run("helpdesk")
    show(qtbot, tab, 1)
    open_export(qtbot, tab)
    play("start error")
    press(qtbot, tab, "export_start")
    qtbot.waitUntil(tab.details.export.banner.isVisible)
    assert "Memory ran out" in tab.details.export.banner.error.what


def test_an_export_at_work_is_found_again(qtbot, tab, finished_run, play):
    job = finished_run("helpdesk")
    play("start wait:cancel cancelled")
    export = Job.create(job.folder / "jobs" / "export-1", "export", run=str(job.folder), types=["F16"])
    export.start()
    show(qtbot, tab, 1)
    qtbot.waitUntil(tab.details.export.is_running)
    assert tab.details.export.isVisible()


def test_a_missing_base_model_is_said_before_the_export(qtbot, tab, finished_run, tmp_path):
    job = finished_run("helpdesk")
    state = files.read_json(job.folder / jobs.RUN)
    files.write_atomically(job.folder / jobs.RUN, files.dump_pretty({**state, "model": str(tmp_path / "gone")}))
    show(qtbot, tab, 1)
    press(qtbot, tab, "results_export")
    qtbot.waitUntil(tab.details.export.banner.isVisible)
    assert "no longer where it was" in tab.details.export.banner.error.what


def test_delete_moves_to_the_trash(qtbot, tab, finished_run, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "trash-home"))
    kept, gone = finished_run("kept"), finished_run("gone")
    show(qtbot, tab, 2)
    press(qtbot, tab, "delete_run")
    box = QApplication.activeModalWidget()
    assert "gone" in box.text()
    box.findChild(QPushButton, "confirm_delete").click()
    qtbot.waitUntil(lambda: len(tab.table.runs.runs) == 1)
    assert kept.folder.exists() and not gone.folder.exists()
    qtbot.waitUntil(lambda: tab.details.title.text() == "kept")


def test_a_run_at_work_is_not_deleted(qtbot, tab, studio_home, play):
    play("start plan:100000 steps:100000@2")
    job = folder.create(RunConfig(name="busy", model="m", train_file="t"))
    job.start()
    try:
        show(qtbot, tab, 1)
        tab.delete(tab.table.runs.runs[0])
        qtbot.waitUntil(tab.banner.isVisible)
        assert "is running" in tab.banner.error.what and job.folder.exists()
    finally:
        job.kill()


def test_a_run_that_appears_on_the_disk_appears_here(qtbot, tab, finished_run, tmp_path):
    first = finished_run("first")
    show(qtbot, tab, 1)
    copy = tmp_path / "copied"
    shutil.copytree(first.folder, copy)
    os.replace(copy, paths.runs_dir() / "2026-01-01-copied-0000")
    qtbot.waitUntil(lambda: len(tab.table.runs.runs) == 2)
    assert tab.details.title.text() == "first", "the selection stays"


def test_the_proof_of_the_selected_export_is_a_table(qtbot, tab, finished_run):
    job = finished_run("proven", "start plan:20 steps:20 finish")
    exports = job.folder / folder.EXPORTS
    exports.mkdir()
    for kind, size, passed in (("F16", 2000, True), ("Q4_K_M", 1000, False)):
        path = exports / f"proven-{kind}.gguf"
        path.write_bytes(b"GGUF" + bytes(size))
        remedy = "" if passed else "The logits differ. Export it again."
        files.write_atomically(path.with_suffix(".parity.json"), files.dump_pretty(
            {"passed": passed, "type": kind, "checks": [
                {"name": "nmse", "passed": passed, "figure": kind, "limit": "under 0.0001", "remedy": remedy}]}))
    show(qtbot, tab, 1)
    tab.details.tabs.set_current(OVERVIEW)
    shown = tab.details.parity
    qtbot.waitUntil(lambda: shown.isVisible())
    assert [shown.table.model().index(0, column).data() for column in range(3)] == [
        "Error of the logits (NMSE)", "F16", "passed"], "the proven one is selected"
    tab.details.exports.selectRow(1)
    assert shown.table.model().index(0, 1).data() == "Q4_K_M"
    assert shown.remedy.text() == "The logits differ. Export it again."


def test_a_run_that_starts_while_the_runs_are_read_is_shown_once_it_is_among_them(qtbot, tab, finished_run, session):
    finished_run("first")
    show(qtbot, tab, 1)
    runs = tab.table.runs.facts
    second = finished_run("second")
    session.run = second
    tab._show_runs(list(runs))  # read before the second began
    tab.refresh()
    qtbot.waitUntil(lambda: tab.details.shows(second.folder))
