"""The journey of a first user, in clicks: from an empty window to a conversation, and from a CSV file to a verdict."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import starter
from support.clicks import Person, leave

from slmstudio.core import paths
from slmstudio.core.model import library
from slmstudio.core.settings import Settings
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import Session

pytestmark = [pytest.mark.timeout(1800), pytest.mark.usefixtures("garbage_stays_here")]
MINUTES = 60_000
TO_TALK, TO_VERDICT = 5, 4
"""The most clicks of each journey."""


@pytest.fixture(params=["stand-in", pytest.param("real", marks=pytest.mark.full)])
def real(request: pytest.FixtureRequest) -> bool:
    """Whether the workers are real. The model is then the starter's first layers, with a few rows of its data: the
    whole would train for too long."""
    return bool(request.param == "real")


@pytest.fixture
def window(qtbot, qapp, studio_home: Path, tiny_model: Path, real: bool, monkeypatch, tmp_path: Path) -> MainWindow:
    """The window at its first start, with the starter model prepared; a tiny one stands in for it."""
    theme.apply(qapp, "light")
    paths.models_dir().mkdir(parents=True)
    shutil.copytree(starter.shallow_model() if real else tiny_model, library.starter_folder(), symlinks=False)
    if real:
        starter.use_few_rows(monkeypatch, tmp_path)
    made = MainWindow(Session(Settings()))
    qtbot.addWidget(made, before_close_func=_end)  # after a failure, too: with a run at work it would ask what to do
    made.resize(1280, 720)
    made.open_welcome()
    with qtbot.waitSignal(made.painted):
        made.show()
    return made


def _end(window: MainWindow) -> None:
    running = window.page("training").evaluation.followed.thread
    if running is not None:
        running.end_now()
        running.wait()
    leave(window)


@pytest.fixture
def act(play: Callable[[str], None], real: bool) -> Callable[[str], None]:
    """`act("start …")`: what the next worker does, where it is a stand-in."""
    return (lambda words: None) if real else play


@pytest.fixture
def person(qtbot, window: MainWindow, real: bool) -> Person:
    return Person(qtbot, window, (20 if real else 1) * MINUTES)


def train(person: Person, window: MainWindow, act: Callable[[str], None]) -> Any:
    """Use the data and the model that is proposed, and train to the end, and to the verdict that comes by itself.
    Returns the job."""
    person.click("data_use")
    person.click("model_use")
    act("start no_gpu load plan:10 steps:10 finish")
    person.click("start")
    training = window.page("training")
    person.wait(lambda: training.followed.job is not None and training.run.end_row.chat_button.isVisible())
    assert training.followed.job.outcome().state == "finished", training.followed.job.log_tail()
    person.wait(lambda: training.run.answers.all.isVisible() and not training.evaluation.followed.is_running())
    return training.followed.job


def test_from_an_empty_window_to_a_conversation(window: MainWindow, person: Person, act):
    person.click("welcome_sample")
    job = train(person, window, act)
    act("")
    person.click("chat")
    chat = window.page("chat")
    person.wait(lambda: chat.lanes.count == 2 and all(pane.state == "ready" for pane in chat.lanes.panes()))
    person.ask("How do I report a street light?")
    person.wait(lambda: all(len(pane.lane.turns) == 2 and "reason" in pane.lane.turns[1].figures
                            for pane in chat.lanes.panes()))
    assert [pane.lane.model for pane in chat.lanes.panes()] == [str(job.folder), str(library.starter_folder())]
    assert len(person.clicks) <= TO_TALK, person.clicks


def test_from_an_own_csv_to_a_verdict(window: MainWindow, person: Person, act, tmp_path: Path):
    file = tmp_path / "questions.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["question", "answer"])
        rows.writerows([f"Where do I get form {number}?", f"Form {number} is given out at window {number % 9}."]
                       for number in range(60))
    person.drop(window.welcome, file)
    train(person, window, act)
    view = window.page("training").run.answers
    assert view.headline.accessibleName() and view.buttons
    assert all(cell.isVisible() and cell.text() not in ("", "…") for row in view.cells for cell in row[1:3])
    assert len(person.clicks) <= TO_VERDICT, person.clicks
