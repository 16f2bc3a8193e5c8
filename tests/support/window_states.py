"""The whole window in its states, one after another, for what must hold in all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PySide6.QtWidgets import QApplication, QDialog, QWidget
from pytestqt.qtbot import QtBot
from support import evaluated_runs, training_window
from support.window import press, settle

from slmstudio.core.model import facts
from slmstudio.gui.app.doctor import DoctorDialog
from slmstudio.gui.app.help import HelpDialog
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.common import tasks
from slmstudio.gui.common.session import TABS
from slmstudio.gui.results.tab import ResultsTab

LIMIT = 60_000
"""Milliseconds."""


def open_sample(qtbot: QtBot, window: MainWindow) -> None:
    """The dataset that comes with the program is open in Data."""
    data = window.page("data")
    with qtbot.waitSignal(data.idle):
        data.open_sample()


def open_run(qtbot: QtBot, window: MainWindow, model: Path) -> ResultsTab:
    """An evaluated run is shown in Results."""
    run = evaluated_runs.ended_run("helpdesk", model)
    evaluated_runs.write(run)
    window.go_to("results")
    results = window.page("results")
    qtbot.waitUntil(lambda: results.details.shows(run) and not tasks.is_busy(results), timeout=LIMIT)
    return results


def dialogs(qtbot: QtBot, window: MainWindow) -> Iterator[tuple[str, QWidget]]:
    """Each dialog and each page of the help. The doctor is seen before its visit, which takes 20 s."""
    for name, begin in {"settings": window.open_settings, "help": window.open_help,
                        "doctor": lambda: DoctorDialog(window).open()}.items():
        begin()
        qtbot.waitUntil(lambda: isinstance(QApplication.activeModalWidget(), QDialog))
        dialog = QApplication.activeModalWidget()
        dialog.activateWindow()
        settle()
        yield name, dialog
        if isinstance(dialog, HelpDialog):
            for page in (1, 2):
                dialog.tabs.set_current(page)
                settle()
                yield f"help, {page}", dialog
        dialog.reject()
        settle()


def states(qtbot: QtBot, window: MainWindow, model: Path) -> Iterator[tuple[str, QWidget]]:
    """Each state by its name, with the page or the dialog that is new in it: the empty tabs first."""
    for tab in TABS:
        window.go_to(tab)
        settle()
        yield f"{tab}, empty", window.page(tab)
    yield "around the tabs", window
    yield from dialogs(qtbot, window)
    window.open_welcome()
    settle()
    yield "welcome", window
    window.go_to("data")
    open_sample(qtbot, window)
    data = window.page("data")
    for mode in range(3):
        data.workspace().rows.mode.set_current(mode)
        settle()
        yield f"data, {mode}", data
    window.session.set_model(facts.read_model(model))
    press(qtbot, data, "data_use")
    window.go_to("training")
    training = window.page("training")
    qtbot.waitUntil(lambda: training.planning.config is not None, timeout=LIMIT)
    for mode in range(2):
        if mode:
            training_window.unfold(training.plan)
        settle()
        yield f"training, {mode}", training
    results = open_run(qtbot, window, model)
    for page in range(2):
        results.details.tabs.set_current(page)
        settle()
        yield f"results, {page}", results
    for begin in (results.details.open_export, results.details.open_evaluation, results.details.open_serve):
        begin()
        settle()
        yield f"results, {begin.__name__}", results
