"""Saves a run as a Python script."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core.i18n import tr
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.folder import slug
from slmstudio.gui.common.save import choose_file
from slmstudio.gui.common.tasks import Task, run_task


class ScriptSaver(QObject):
    """Asks where, and writes there.

    Signals:
        saving, saved(Path): it began, and it is done.
        failed(Exception): it couldn't be written.
    """

    saving = Signal()
    saved = Signal(object)
    failed = Signal(object)

    def __init__(self, parent: QWidget):
        super().__init__(parent)
        self._parent = parent

    def ask(self, run: Path | RunConfig, name: str) -> None:
        """Let the user choose a file for `run` (a run's folder, or a plan) and write it."""
        choose_file(self._parent.window(), tr("Save the code"), f"train-{slug(name)}.py", tr("Python scripts (*.py)"),
                    lambda out: self.save(run, out))

    def save(self, run: Path | RunConfig, out: Path) -> None:
        """Write the script, and the rows that it learns beside it."""
        def write(task: Task) -> Path:
            from slmstudio.core.run.script.script import write_script

            return write_script(run, out).path

        self.saving.emit()
        run_task(self, write, self.saved.emit, self.failed.emit)
