"""The line below the list of answers: how many there are, what was done last, what is left to do, and Undo."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QWidget

from slmstudio.core.i18n import ntr, number_text, tr
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import row_in

NAMED = 3
"""Lines that are named."""


class RowsFoot(QWidget):
    def __init__(self) -> None:
        super().__init__()
        self._counted = self._begun = ""
        self._at_work = False
        self.count = text_label("", "small", wrap=True, name="rows_count")
        self.undo = SecondaryButton(tr("Undo"), tr("Undo the last change to a row (Ctrl+Z)"), "small", name="rows_undo")
        self.undo.hide()
        self.export = SecondaryButton(tr("Save as test set…"),
                                      tr("Save the questions with their current references and tags as a new test set. "
                                         "The evaluated file stays as it is."), "small", name="rows_export")
        row_in(self, (self.count, 1), self.undo, self.export)

    def show_count(self, shown: int, all_: int, said: str) -> None:
        """Say how many of the rows are shown, and what was done last."""
        text = (ntr("{n:,} row", "{n:,} rows", shown) if shown == all_ else
                tr("{shown:,} of {all:,} rows", shown=shown, all=all_))
        self._counted = " · ".join(filter(None, (text, said)))
        self._show()

    def show_begun(self, lines: Sequence[int]) -> None:
        """Say for which rows a reference was begun and not kept, by their lines."""
        named = ", ".join(number_text(line) for line in lines[:NAMED]) + (" …" if len(lines) > NAMED else "")
        self._begun = ntr("Unsaved correction: line {lines}", "Unsaved corrections: lines {lines}", len(lines),
                          lines=named) if lines else ""
        self._show()

    def show_at_work(self, on: bool) -> None:
        """Say that a row is being changed."""
        self._at_work = on
        self._show()

    def _show(self) -> None:
        self.count.setText(tr("Changing the row…") if self._at_work else
                           " · ".join(filter(None, (self._counted, self._begun))))
