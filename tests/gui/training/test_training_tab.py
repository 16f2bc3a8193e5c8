"""The Training tab, driven as a person would, with a real child process as its worker."""

from __future__ import annotations

import json
import os
import signal

import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication, QLineEdit, QPushButton, QToolButton
from support import training_window
from support.tiers import first_fast
from support.training_window import ENDLESS, button, chip, unfold, wait_for_steps
from support.window import press, text, texts

from slmstudio.core import files, jobs, paths
from slmstudio.core.jobs.job import Job
from slmstudio.core.model import facts
from slmstudio.core.run.config import FIELDS, RunConfig
from slmstudio.gui.training.tab import TrainingTab

tab, planned, run = training_window.tab, training_window.planned, training_window.run


def test_empty_says_what_to_choose_first_and_leads_there(qtbot, tab, session, tiny_model, wanted_pages):
    assert button(tab, "to_data").isVisible() and button(tab, "to_model").isVisible()
    press(qtbot, tab, "to_data")
    session.set_model(facts.read_model(tiny_model))
    assert not button(tab, "to_model").isVisible() and "Choose the data" in texts(tab)
    assert [page for page, *_ in wanted_pages] == ["data"]


def test_the_plan_shows_every_field_with_its_help_and_its_reason(planned):
    config = planned.planning.config
    for name, row in planned.plan.rows.items():
        assert row.toolTip() == FIELDS[name].help
        assert row.editor.accessibleName()
    assert set(planned.plan.rows) == set(FIELDS), "a field of the configuration is missing in the form"
    assert planned.plan.rows["learning_rate"].reason.text() == config.reasons["learning_rate"]
    assert not planned.plan.rows["weight_decay"].isVisible()
    unfold(planned.plan)
    assert planned.plan.rows["weight_decay"].isVisible()


def test_an_edit_is_an_override_and_can_be_given_back(qtbot, planned):
    plan, before = planned.plan, planned.planning.config.learning_rate
    unfold(plan)
    editor = plan.findChild(QLineEdit, "field_learning_rate")
    editor.selectAll()
    qtbot.keyClicks(editor, "3e-5")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: planned.planning.config.learning_rate == 3e-5)
    assert button(planned, "reset_learning_rate").isVisible() and editor.text() == "3e-5"
    assert plan.rows["learning_rate"].reason.text() == "You set this."
    press(qtbot, planned, "reset_learning_rate")
    qtbot.waitUntil(lambda: planned.planning.config.learning_rate == before)
    assert not button(planned, "reset_learning_rate").isVisible()


def test_all_problems_are_shown_at_their_fields(qtbot, planned):
    plan = planned.plan
    planned.planning.decide("epochs", "many")
    planned.planning.decide("max_length", "0")
    qtbot.waitUntil(lambda: plan.rows["epochs"].problem.isVisible())
    assert "number" in plan.rows["epochs"].problem.text()
    assert plan.rows["max_length"].problem.isVisible(), "both at once"
    assert not planned.before.start.isEnabled() and not planned.banner.isVisible()
    planned.planning.refresh()  # as when the tab is shown again
    assert plan.rows["epochs"].problem.isVisible() and plan.rows["epochs"].editor.text() == "many"
    planned.planning.decide("epochs", "2")
    assert plan.rows["max_length"].problem.isVisible() and not plan.rows["epochs"].problem.isVisible()
    planned.planning.propose("epochs")
    planned.planning.propose("max_length")
    qtbot.waitUntil(planned.before.start.isEnabled)
    assert not plan.rows["max_length"].problem.isVisible()


def test_start_makes_a_run_folder_and_follows_it_to_the_end(qtbot, planned, session, play):
    play("start no_gpu load plan:40 steps:40 finish")
    started: list[Job] = []
    session.run_started.connect(started.append)
    plan = planned.planning.config
    press(qtbot, planned, "start")
    qtbot.waitUntil(lambda: chip(planned) == "finished")
    assert started[0].folder.parent == paths.runs_dir()
    assert RunConfig.from_dict(started[0].request()) == plan
    assert planned.run.end_row.note.text().startswith("Eval loss 1.96 → 1.66")
    assert button(planned, "export").isVisible() and button(planned, "chat").isEnabled()
    press(qtbot, planned, "plan_other")
    assert button(planned, "start").isVisible() and button(planned, "start").isEnabled(), "the next run can be planned"
    assert "training" in session.done and session.job is None


def test_phases_before_the_first_step(qtbot, tab, run, play):
    play("start no_gpu load wait:never")
    tab.followed.follow(run(), start_worker=True)
    qtbot.waitUntil(lambda: "Loading the base model" in text(tab, "run_waiting"))
    assert "✓ Reading the rows" in text(tab, "run_waiting") and chip(tab) == "starting"
    assert not button(tab, "pause").isEnabled() and button(tab, "stop").isEnabled()


def test_pause_go_on_checkpoint_stop(qtbot, tab, run, play, session):
    play(ENDLESS)
    tab.followed.follow(run("नागरिक सेवा"), start_worker=True)
    wait_for_steps(qtbot, tab)
    assert chip(tab) == "running" and session.job.name == "Training नागरिक सेवा"
    qtbot.waitUntil(lambda: tab.run.plots is not None and tab.run.plots.note.text().startswith(
        "This machine has no NVIDIA GPU"))
    press(qtbot, tab, "pause")
    qtbot.waitUntil(lambda: chip(tab) == "paused")
    assert button(tab, "pause").text() == "Resume" and session.job.text == "paused"
    press(qtbot, tab, "pause")
    qtbot.waitUntil(lambda: chip(tab) == "running")
    press(qtbot, tab, "checkpoint")
    qtbot.waitUntil(lambda: any("you asked for it" in str(tab.feed.feed.data(tab.feed.feed.index(row)))
                                for row in range(tab.feed.feed.rowCount())))
    press(qtbot, tab, "stop")
    assert chip(tab) == "stopping" and button(tab, "end_now").isVisible()
    qtbot.waitUntil(lambda: chip(tab) == "stopped, kept")
    assert button(tab, "resume_run").isVisible() and button(tab, "export").isVisible()


def test_a_killed_worker_is_named_and_resumes(qtbot, tab, run, play):
    play(ENDLESS)
    job = run()
    tab.followed.follow(job, start_worker=True)
    wait_for_steps(qtbot, tab, 60)
    os.kill(files.read_json(job.folder / jobs.PROCESS)["pid"], signal.SIGKILL)
    qtbot.waitUntil(lambda: chip(tab) == "crashed")
    assert tab.run.banner.isVisible() and "SIGKILL" in str(tab.run.banner.error)
    play("start no_gpu load plan:100 steps:100 finish")
    press(qtbot, tab, "resume_run")
    qtbot.waitUntil(lambda: chip(tab) == "finished")
    steps = list(tab.followed.history.series["train_loss"].x)
    assert steps == sorted(set(steps)) and not tab.run.banner.isVisible()


def test_a_failure_says_what_to_do(qtbot, tab, run, play):
    play("start load plan:40 steps:5 error")
    tab.followed.follow(run(), start_worker=True)
    qtbot.waitUntil(lambda: chip(tab) == "failed")
    assert tab.run.banner.error.what == "Memory ran out on the GPU."
    assert "micro-batch" in str(tab.run.banner.error)
    press(qtbot, tab, "copy_details")
    assert "Traceback" in QGuiApplication.clipboard().text()


def test_a_worker_that_cannot_start(qtbot, tab, run, monkeypatch):
    monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([str(paths.home() / "nowhere")]))
    tab.followed.follow(run(), start_worker=True)
    qtbot.waitUntil(lambda: chip(tab) == "failed")
    assert tab.banner.isVisible() and "couldn't be started" in tab.banner.error.what
    assert button(tab, "resume_run").isVisible()


def test_a_second_window_is_told_and_follows(qtbot, tab, run, play, session):
    play(ENDLESS)
    job = run()
    tab.followed.follow(job, start_worker=True)
    wait_for_steps(qtbot, tab)
    second = TrainingTab(session)
    qtbot.addWidget(second)
    second.show()
    second.followed.follow(Job(job.folder), start_worker=True)
    wait_for_steps(qtbot, second)
    qtbot.waitUntil(second.banner.isVisible)
    assert "already running" in second.banner.error.what
    press(qtbot, second, "stop")
    for each in (tab, second):
        qtbot.waitUntil(lambda each=each: chip(each) == "stopped, kept")


def test_attach_to_a_run_that_is_at_work(qtbot, tab, run, play, session):
    play(ENDLESS)
    job = run()
    job.start()
    session.start_run(job)
    wait_for_steps(qtbot, tab)
    assert session.run.folder == job.folder and next(iter(tab.followed.history.series["train_loss"].x)) == 1
    assert not tab.before.start.isVisible() and tab.plan.rows["name"].editor.isReadOnly()


@pytest.mark.parametrize("steps", first_fast([10_000, 100_000]))
def test_very_many_events_are_painted(qtbot, tab, run, steps):
    job = run()
    with open(job.folder / jobs.EVENTS, "wb") as file:
        for step in range(1, steps + 1):
            file.write(files.dump_line({"protocol": 1, "time": float(step), "type": "step", "global_step": step,
                                        "epoch": 0.1, "train_loss": 1 + 1 / step, "learning_rate": 1e-4,
                                        "grad_norm": 1.0, "tokens_per_second": 3e3, "seconds_left": 3.0}))
    jobs.write_process_file(job.folder, 2**22 + 1)
    jobs.write_outcome(job.folder, jobs.Outcome("finished"))
    tab.followed.follow(job)
    qtbot.waitUntil(lambda: tab.run.plots is not None and chip(tab) == "finished")
    tab.run.end_row.pages.set_current(1)
    qtbot.waitUntil(lambda: len(tab.run.plots.loss.curves["raw"].x) == steps)
    tab.grab()
    assert chip(tab) == "finished"


def answer_soon(name: str) -> None:
    """Press a button of the question that is about to open."""
    def press_it() -> None:
        box = QApplication.activeModalWidget()
        if box is None:
            QTimer.singleShot(10, press_it)
        else:
            box.findChild(QPushButton, name).click()

    QTimer.singleShot(0, press_it)


@pytest.mark.parametrize(("answer", "commands", "alive"), [
    ("keep", [], True), ("pause", ["free"], False), ("stop", ["stop"], False), ("cancel", [], True)])
def test_closing_while_it_trains(qtbot, tab, run, play, answer, commands, alive):
    play(ENDLESS)
    job = run()
    tab.followed.follow(job, start_worker=True)
    wait_for_steps(qtbot, tab)
    answer_soon(f"close_{answer}")
    assert tab.confirm_close() is (answer != "cancel")
    assert tab.followed.is_running() is (answer == "cancel")
    sent = [command["command"] for command in files.LineReader(job.folder / jobs.COMMANDS).read()]
    assert sent == commands
    if not alive:
        qtbot.waitUntil(lambda: not job.is_alive())
        assert Job(job.folder).outcome().state == {"stop": "stopped", "pause": "paused"}[answer]
    assert job.is_alive() == alive


def test_closing_without_a_run_asks_nothing(tab):
    assert tab.confirm_close()


def test_the_log_is_filtered_and_copied(qtbot, tab, run, play):
    play("start load plan:4 steps:4 finish")
    job = run()
    warning = {"type": "warning", "time": 5.0, "code": "hot", "message": "warm: ऊष्मा"}
    files.append_line(job.folder / jobs.EVENTS, warning)
    tab.followed.follow(job, start_worker=True)
    qtbot.waitUntil(lambda: chip(tab) == "finished")
    assert tab.feed.log.rowCount() == 2
    tab.feed.mode.set_current(1)
    tab.feed.warnings.click()
    assert tab.feed.log.rowCount() == 1
    qtbot.mouseClick(tab.feed.findChild(QToolButton, "copy_log"), Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text().endswith("warm: ऊष्मा")


def test_there_is_one_primary_button(qtbot, planned, session, play):
    def primary() -> set[str]:
        return {each.objectName() for each in planned.findChildren(QPushButton)
                if each.isVisible() and each.property("kind") == "primary"}

    assert primary() == {"start"}
    play("start no_gpu load plan:4 steps:4 finish")
    press(qtbot, planned, "start")
    qtbot.waitUntil(lambda: planned.followed.has_ended())
    qtbot.waitUntil(lambda: primary() == {"proposal_0"})
    press(qtbot, planned, "plan_other")
    assert primary() == {"start"}
    press(qtbot, planned, "plan_other")
    assert primary() == {"proposal_0"}
    session.set_dataset(session.dataset)
    assert primary() == {"start"}, "who chooses other rows has seen the result"
    press(qtbot, planned, "plan_other")
    session.field_wanted.emit("max_length", 128)
    qtbot.waitUntil(lambda: planned.planning.config.max_length == 128)
    assert primary() == {"start"}, "and so has who decides in another tab how the next run is trained"
