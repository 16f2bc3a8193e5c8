"""Giving a run another name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtWidgets import QDialog, QHBoxLayout, QLineEdit, QWidget

from slmstudio.core.i18n import tr
from slmstudio.core.run import folder
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, fill

WIDTH = 420


class RenameDialog(QDialog):
    """A field with the name, and what is wrong with it. A name that another run has is told apart by a number.

    Args:
        taken: the names of the other runs.
    """

    def __init__(self, name: str, taken: Sequence[str], parent: QWidget | None = None):
        super().__init__(parent)
        self._taken = taken
        self.setWindowTitle(tr("Rename the run"))
        self.setMinimumWidth(WIDTH)
        self.field = named(QLineEdit(name), "run_name", tr("Name of the run"),
                           tr("What the run is called in this window, in reports and in the terminal. Its folder and "
                              "its exported files keep their names."))
        self.field.setMaxLength(folder.LONGEST_NAME)
        self.field.selectAll()
        self.note = text_label("", "small", wrap=True, name="run_name_note")
        self.free = SecondaryButton("", tr("Take the next name that no other run has."), "small", name="run_name_free",
                                    clicked=lambda: self.field.setText(folder.free_name(self.name(), self._taken)))
        self.rename = PrimaryButton(tr("Rename"), tr("Give the run this name."), name="confirm_rename",
                                    clicked=self.accept)
        self.rename.setDefault(True)
        cancel = SecondaryButton(tr("Cancel"), tr("Leave the name as it is."), clicked=self.reject)
        cancel.setAutoDefault(False)
        self.free.setAutoDefault(False)
        told, buttons = QHBoxLayout(), QHBoxLayout()
        fill(told, (self.note, 1), self.free)
        fill(buttons, STRETCH, cancel, self.rename)
        column_in(self, text_label(tr("Name of the run"), "section"), self.field, told, buttons, spacing=theme.SPACE_M,
                  margins=theme.SPACE_L)
        self.field.textChanged.connect(lambda: self._check())
        self._check()

    def name(self) -> str:
        """The name as it would be kept."""
        return folder.cleaned_name(self.field.text())

    def _check(self) -> None:
        name = self.name()
        taken = folder.is_name_taken(name, self._taken)
        if not name:
            self.note.setText(tr("A run needs a name."))
        elif taken:
            self.note.setText(tr("Another run has this name."))
        else:
            self.note.setText(tr("The run's folder and its exported files keep their names."))
        self.free.setText(tr("Use “{name}”", name=folder.free_name(name, self._taken)).replace("&", "&&"))
        self.free.setVisible(taken)
        self.rename.setEnabled(bool(name) and not taken)


def ask(parent: QWidget, name: str, taken: Sequence[str], rename: Callable[[str], None]) -> None:
    """Ask for another name, and call `rename` with it when it is another one."""
    dialog = RenameDialog(name, taken, parent)
    dialog.accepted.connect(lambda: rename(dialog.name()) if dialog.name() != name else None)
    dialog.finished.connect(dialog.deleteLater)
    dialog.open()
