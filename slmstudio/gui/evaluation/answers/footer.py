"""The line below the list of answers: how many there are, what was done last, what is left to do, and Undo."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QHBoxLayout, QWidget

from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.labels import text_label

NAMED = 3
"""Lines that are named."""


class RowsFoot(QWidget):
    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._counted = self._begun = ""
        self._at_work = False
        self.count = text_label("", "small", wrap=True)
        self.count.setObjectName("rows_count")
        self.undo = SecondaryButton(tr("Undo"), tr("Take the last change of a row back (Ctrl+Z)"), "small")
        self.undo.setObjectName("rows_undo")
        self.undo.hide()
        self.export = SecondaryButton(tr("Save as test set…"),
                                      tr("Write the questions with their references and tags as they are now to a test "
                                         "set of its own. The file that was evaluated stays as it is."), "small")
        self.export.setObjectName("rows_export")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(theme.SPACE_S)
        row.addWidget(self.count, 1)
        row.addWidget(self.undo)
        row.addWidget(self.export)

    def show_count(self, shown: int, all_: int, said: str) -> None:
        """Say how many of the rows are shown, and what was done last."""
        text = tr("1 row") if shown == all_ == 1 else tr("{count:,} rows", count=shown)
        if shown != all_:
            text = tr("{shown:,} of {all:,} rows", shown=shown, all=all_)
        self._counted = " · ".join(filter(None, (text, said)))
        self._show()

    def show_begun(self, lines: Sequence[int]) -> None:
        """Say for which rows a reference was begun and not kept, by their lines."""
        named = ", ".join(f"{line:,}" for line in lines[:NAMED]) + (" …" if len(lines) > NAMED else "")
        self._begun = tr("Correction begun and not kept: line {lines}", lines=named) if lines else ""
        self._show()

    def show_at_work(self, on: bool) -> None:
        """Say that a row is being changed."""
        self._at_work = on
        self._show()

    def _show(self) -> None:
        self.count.setText(tr("Changing the row …") if self._at_work else
                           " · ".join(filter(None, (self._counted, self._begun))))
