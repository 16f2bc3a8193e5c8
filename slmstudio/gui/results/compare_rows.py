"""The answers of several runs to the same rows, beside each other; to look at: rows are changed in their evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QSplitter, QWidget

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import choose_file, csv_kinds, write_csv
from slmstudio.gui.common.tasks import Task, TaskSlot, run_task
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import IconButton
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import column_in, column_widget, row_of
from slmstudio.gui.common.widgets.progress import ProgressStrip
from slmstudio.gui.evaluation.answers.detail import RowDetail
from slmstudio.gui.evaluation.answers.filters import RowsFilters
from slmstudio.gui.evaluation.answers.rows_model import FIRST, GAINS, SECOND, RowsTable, View, arrange, rows_as_table

if TYPE_CHECKING:
    from slmstudio.core.evaluation.answer_rows import Row, Rows

SIZE, LIST_WIDTH = (1160, 640), 500
NAME_WIDTH = 110
"""Pixels of a column that is headed by the name of a run."""


class ComparedRows(QDialog):
    """A list of the rows, with the chosen one at its right.

    Args:
        rows: the "models" are runs.
        title: of the window.
    """

    def __init__(self, rows: Rows, title: str, parent: QWidget | None = None):
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(title)
        self.resize(*SIZE)
        self._rows: list[Row] = []
        self._task = TaskSlot()
        self.banner = ErrorBanner()
        self.table, self.detail, self.filters = RowsTable(), _Shown(), RowsFilters()
        self.table.setObjectName("compared_rows")
        header = self.table.horizontalHeader()
        header.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        for column in (FIRST, SECOND):
            header.resizeSection(column, NAME_WIDTH)
        self.strip = ProgressStrip(cancelled=self.reject)
        self.count = text_label("", "small", name="compared_count")
        self.save = IconButton("save", tr("Save the rows that are shown as CSV"), name="compared_csv",
                               clicked=lambda: choose_file(self, tr("Save the rows"), "answers.csv", csv_kinds(),
                                                           self.save_table))
        self.filters.begin(rows.names, GAINS)
        self.filters.changed.connect(self.apply)
        self.table.selectionModel().currentRowChanged.connect(lambda: self._show_row())
        add_key(self, "Ctrl+F", self.filters.search.setFocus, inside=True)
        self._lay_out()
        self.finished.connect(lambda: self._task.cancel())
        self.strip.start(tr("Scoring each row"))
        self._task.run(self, lambda task: _scored(rows, task), self._show, self._failed, self.strip.set_progress)

    def _lay_out(self) -> None:
        left = column_widget((self.table, 1), self.count, spacing=theme.SPACE_XS)
        halves = QSplitter()
        halves.setChildrenCollapsible(False)
        halves.setHandleWidth(theme.SPACE_M)
        for number, half in enumerate((left, self.detail)):
            halves.addWidget(half)
            halves.setStretchFactor(number, 1 + number)
        halves.setSizes([LIST_WIDTH, SIZE[0] - LIST_WIDTH])
        column_in(self, self.banner, self.strip, row_of((self.filters, 1), self.save, spacing=None), (halves, 1),
                  margins=None)

    def _failed(self, error: Exception) -> None:
        self.strip.end()
        self.banner.show_error(error)

    def _show(self, rows: list[Row]) -> None:
        self.strip.end()
        self._rows = rows
        self.filters.offer(sorted({row.category or "" for row in rows}), sorted({row.language or "" for row in rows}))
        self.apply()

    def apply(self) -> None:
        """Show the rows that the fields ask for, in their order."""
        if not self._rows:
            return
        rows, view = self._rows, self.filters.view()
        self._task.run(self, lambda task: arrange(rows, view, task.cancelled),
                       lambda shown: self._show_arranged(shown, view), self._failed)

    def _show_arranged(self, shown: list[int], view: View) -> None:
        self.table.rows.show_rows(self._rows, shown, view)
        every = len(self._rows)
        self.count.setText(
            ntr("{n:,} row", "{n:,} rows", every) if len(shown) == every else
            tr("{shown:,} of {all:,} rows", shown=len(shown), all=every))
        if shown:
            self.table.selectRow(0)
        self._show_row()

    def _show_row(self) -> None:
        index, view = self.table.currentIndex(), self.table.rows.view
        self.detail.show_row(self.table.rows.row_at(index.row()) if index.isValid() else None, view.first, view.second)

    def save_table(self, path: Path) -> None:
        """Write the rows that are shown, in their order, as CSV."""
        model = self.table.rows
        rows, names = [model.rows[index] for index in model.shown], self.filters.names()
        run_task(self, lambda task: write_csv(path, rows_as_table(rows, names)), lambda _: None,
                 self.banner.show_error)


class _Shown(RowDetail):
    """A row that can't be changed: it belongs to several evaluations."""

    def __init__(self) -> None:
        super().__init__()
        self.foot.hide()

    def show_row(self, row: Row | None, first: str, second: str) -> None:
        super().show_row(row, first, second)
        self.reference.edit.hide()


def _scored(rows: Rows, task: Task) -> list[Row]:
    def tell(done: int, total: int) -> None:
        if task.cancelled():
            raise UserError(tr("Scoring the rows was cancelled."))
        task.progress(done, total)

    return rows.scored(tell)
