"""Saves a run as a Python script."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFileDialog, QWidget

from slmstudio.core.i18n import tr
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.folder import slug
from slmstudio.gui.common.tasks import Task, run_task


class ScriptSaver(QWidget):
    """Asks where, and writes there. It has no look of its own; the dialog is its child.

    Signals:
        saving, saved(Path): it began, and it is done.
        failed(Exception): it couldn't be written.
    """

    saving = Signal()
    saved = Signal(object)
    failed = Signal(object)

    def __init__(self, parent: QWidget):
        super().__init__(parent)
        self.hide()

    def ask(self, run: Path | RunConfig, name: str) -> None:
        """Let the user choose a file for `run` (a run's folder, or a plan) and write it."""
        dialog = QFileDialog(self.window(), tr("Save the code"), "", tr("Python scripts (*.py)"))
        dialog.setObjectName("script_dialog")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix("py")
        dialog.selectFile(f"train-{slug(name)}.py")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(lambda chosen: self.save(run, Path(chosen)))
        dialog.open()

    def save(self, run: Path | RunConfig, out: Path) -> None:
        """Write the script, and the rows that it learns beside it."""
        def write(task: Task) -> Path:
            from slmstudio.core.run.script.script import write_script

            return write_script(run, out).path

        self.saving.emit()
        run_task(self, write, self.saved.emit, self.failed.emit)
