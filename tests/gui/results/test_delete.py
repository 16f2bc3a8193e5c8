"""A run that something works on isn't deleted."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMessageBox, QWidget
from support import evaluated_runs

from slmstudio.core import paths
from slmstudio.core.errors import UserError
from slmstudio.core.jobs.job import Job
from slmstudio.core.run import folder
from slmstudio.core.run.store import RunStore
from slmstudio.gui.results import run_actions


@pytest.fixture
def run(studio_home, tiny_model):
    return folder.summarise(evaluated_runs.ended_run("<b>busy</b>", model=tiny_model))


@pytest.mark.parametrize(("kinds", "what", "remedy"), [
    (["evaluate"], "while an evaluation of it is running", "“Scores”"),
    (["export"], "while an export of it is running", "“Overview”"),
    (["export", "evaluate"], "while an evaluation and an export of it are running", "“Overview”"),
    (["something new"], "while a job of it is running", "Wait until it is done")])
def test_an_evaluation_or_an_export_at_work_keeps_the_run(run, play, kinds, what, remedy):
    play("start wait:cancel cancelled")
    jobs = [Job.create(run.folder / "jobs" / f"{kind}-1", kind) for kind in kinds]
    try:
        for job in jobs:
            job.start()
        with pytest.raises(UserError) as refused:
            run_actions.to_trash(run)
        assert what in refused.value.what and remedy in refused.value.remedy
    finally:
        for job in jobs:
            job.kill()
    assert run.folder.is_dir()
    run_actions.refuse_at_work(run)  # they are gone, and with them the reason


def test_the_question_takes_a_name_as_it_is(qtbot, run):
    window = QWidget()
    qtbot.addWidget(window)
    run_actions.ask_to_delete(window, run, lambda run: None)
    box = window.findChild(QMessageBox)
    assert "<b>busy</b>" in box.text() and box.textFormat() == Qt.TextFormat.PlainText
    box.reject()


def test_nothing_of_a_deleted_run_stays_in_the_cache(run, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "trash-home"))
    RunStore(worth_saving=0).history(run.folder)
    assert list((paths.cache_dir() / "runs").iterdir())
    run_actions.to_trash(run)
    assert not run.folder.exists() and not list((paths.cache_dir() / "runs").iterdir())
