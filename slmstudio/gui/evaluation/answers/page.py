"""All answers of an evaluation, row by row: what got better, what got worse, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QWidget

from slmstudio.core.files import objects
from slmstudio.core.i18n import ntr, number_text, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import choose_file, csv_kinds
from slmstudio.gui.common.run_texts import when
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import TaskSlot, run_task
from slmstudio.gui.common.widgets.areas import Card, EmptyState, Panes
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_widget, fill, pages_of, row_in
from slmstudio.gui.common.widgets.progress import ProgressStrip
from slmstudio.gui.corrections.panel import Answered, CorrectPanel
from slmstudio.gui.evaluation.answers.detail import RowDetail
from slmstudio.gui.evaluation.answers.edits import RowEdits
from slmstudio.gui.evaluation.answers.rows_model import (
    GAINS,
    ReadRows,
    RowsFilters,
    RowsTable,
    View,
    arrange,
    read_answers,
)
from slmstudio.gui.evaluation.answers.votes import VoteDialog
from slmstudio.gui.evaluation.jobs import Evaluation, read_evaluation
from slmstudio.gui.evaluation.tables import test_name

if TYPE_CHECKING:
    from slmstudio.core.evaluation.scoring import Row

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


LIST_WIDTH = 520
WORKING, EMPTY, ROWS = range(3)


class RowsPage(Card):
    """The list at the left, the chosen row at the right, and, below, the panel that makes a training row from it.

    Signals:
        closed: back to the runs.
        failed(Exception): what was asked for before the page was closed couldn't be done.
    """

    closed = Signal()
    failed = Signal(object)

    def __init__(self, session: Session):
        super().__init__(" ")
        self._session = session
        self._evaluation: Evaluation | None = None
        self._rows: list[Row] = []
        self._task = TaskSlot()
        self._reading = self._opening = self._closed = False
        self._keep_row: int | None = None
        self._said = ""
        self.banner = ErrorBanner(name="rows_banner")
        self.table, self.detail, self.correct = RowsTable(), RowDetail(), CorrectPanel(session)
        self.filters, self.edits, self.foot = RowsFilters(), RowEdits(self), RowsFoot()
        self.strip = ProgressStrip(cancelled=self.close_page)
        self.count, self.undo = self.foot.count, self.foot.undo
        self._make_buttons()
        self._lay_out(session)
        self._connect()

    def _make_buttons(self) -> None:
        self.back = SecondaryButton(tr("← Runs"), tr("Back to the runs (Esc)"), "small", name="rows_back",
                                    clicked=self.close_page)
        self.save = IconButton("save", tr("Save the rows shown here as CSV"), name="rows_csv", clicked=self._save)
        self.vote = SecondaryButton(tr("Vote blind…"), self._vote_tip(), "small", name="rows_vote", clicked=self._vote)
        fill(self.header, self.vote, self.save)

    def _lay_out(self, session: Session) -> None:
        self.header.insertWidget(0, self.back)
        left = column_widget((self.table, 1), self.foot, spacing=theme.SPACE_XS)
        halves = Panes(session, "answers", (left, self.detail), (1, 2))
        halves.restore((LIST_WIDTH, 710))
        working = column_widget(self.strip, STRETCH, spacing=None, margins=None)
        self._empty = EmptyState(tr("No row matches"),
                                 tr("Shorten the search, or choose all categories and languages."))
        self._empty.setAcceptDrops(False)
        self._pages = pages_of(working, EmptyState.centred(self._empty), halves)
        fill(self.body, self.banner, self.filters, (self._pages, 1), self.correct)

    def _connect(self) -> None:
        add_key(self, "Escape", self._escape, inside=True)
        add_key(self, "Ctrl+F", self.filters.search.setFocus, inside=True)
        self.filters.changed.connect(self.apply)
        self.table.selectionModel().currentRowChanged.connect(lambda: self._show_row())
        self.detail.correct_wanted.connect(self._make_row)
        for asked in (self.detail.tags_wanted, self.detail.references_wanted, self.detail.remove_wanted,
                      self.undo.clicked):
            asked.connect(self.banner.clear)
        self.detail.tags_wanted.connect(self.edits.set_tags)
        self.detail.references_wanted.connect(self.edits.set_references)
        self.detail.remove_wanted.connect(self.edits.remove)
        self.edits.busy.connect(self._show_busy)
        self.edits.kept.connect(self.detail.let_go)
        self.edits.done.connect(self._edited)
        self.edits.done_elsewhere.connect(self._session.report_runs_changed)
        self.edits.failed.connect(self._not_edited)
        self.undo.clicked.connect(self.edits.undo)
        add_key(self, QKeySequence.StandardKey.Undo, self.undo.click, inside=True)
        add_key(self, "F2", self.detail.reference.begin, inside=True)
        self.correct.failed.connect(self._show_error)
        self.correct.closed.connect(self.table.setFocus)
        self.correct.closed.connect(lambda: self.detail.set_narrow(False))
        self.foot.export.clicked.connect(self._export)

    # -- opening and closing ---------------------------------------------------------------------------------

    def open(self, evaluation: Evaluation, order: str = GAINS, run: str = "") -> None:
        """Read the answers of an evaluation of the run of that name, and show them in this order."""
        self.title.setText(tr("Answers · {run}", run=run))
        self.banner.clear()
        self.correct.hide()
        self.detail.set_narrow(False)
        again = self._evaluation is not None and self._evaluation.folder == evaluation.folder
        self.filters.begin([str(model.get("name")) for model in objects(evaluation.request["models"])], order,
                           again=again)
        self._evaluation, self._keep_row, self._rows, self._said = evaluation, None, [], ""
        self.detail.begin(evaluation.folder)
        self.vote.setToolTip(self._vote_tip())
        self.edits.begin(evaluation.folder,
                         f"{test_name(evaluation)} ({run}, {when(evaluation.created)})")
        self.undo.hide()
        self._opening, self._closed = True, False
        for button in (self.vote, self.save):
            button.setEnabled(False)  # the rows aren't there yet
        self._read()

    def _read(self) -> None:
        evaluation = self._evaluation
        if evaluation is None:
            return
        self._reading = True
        self.edits.hold(True)
        self._pages.setCurrentIndex(WORKING)
        self.strip.start(tr("Reading the answers"))
        folder, known = evaluation.folder, self._rows
        self._task.run(self, lambda task: read_answers(folder, known, task), self._show, self._not_read,
                       self.strip.set_progress)

    def _read_ended(self) -> None:
        self._reading = False
        self.edits.hold(False)

    def _escape(self) -> None:
        """Leave what the user is in: a reference that is being edited, the panel below, or the page."""
        if self.detail.reference.has_focus():
            self.detail.reference.leave()
        else:
            self.close_page()

    def close_page(self) -> None:
        """Go back to the runs. Rows are released, since there may be many."""
        if self.correct.isVisible():
            self.correct.close_panel()
            return
        self._task.cancel()
        self._closed = True
        self.edits.begin(Path(), "")  # what is still running belongs to an evaluation that isn't open
        self._read_ended()
        self._rows = []
        self.table.rows.show_rows((), [], self.filters.view())
        self.detail.show_row(None, "", "")
        self.closed.emit()

    def _not_read(self, error: Exception) -> None:
        self._read_ended()
        self._pages.setCurrentIndex(EMPTY)
        self._empty.title.setText(tr("No answers to show"))
        self._empty.text.setText(tr("The reason is shown above. You can choose other evaluations in Results."))
        self.banner.show_error(error)

    def _show(self, read: ReadRows) -> None:
        self._rows = read.rows
        self._reading = False
        self.filters.offer(read.categories, read.languages)
        self.apply()
        self._read_ended()

    # -- filter and order ------------------------------------------------------------------------------------

    def apply(self) -> None:
        """Show the rows that the fields ask for, in their order; with many rows this takes a moment."""
        if self._reading:
            return  # what the fields then ask for is shown once the rows have been read
        row = self.current()
        if row is not None and self.detail.reference.is_edited() and self._keep_row is None:
            self._keep_row = row.id  # the user is working on it
        rows, view = self._rows, self.filters.view()
        self._task.run(self, lambda task: arrange(rows, view, task.cancelled),
                       lambda shown: self._show_arranged(rows, shown, view), self._not_read)

    def _show_arranged(self, rows: list[Row], shown: list[int], view: View) -> None:
        kept = self._keep_row
        self._keep_row = None
        self.table.rows.show_rows(rows, shown, view)
        self.vote.setEnabled(view.first != view.second and not self.detail.fixed)
        self.save.setEnabled(True)
        self.foot.export.setVisible(not self.detail.fixed)
        self.foot.show_count(len(shown), len(rows), self._said)
        self._said = ""
        self._empty.title.setText(tr("No row matches"))
        self._pages.setCurrentIndex(ROWS if shown else EMPTY)
        if shown:
            place = next((at for at, index in enumerate(shown) if rows[index].id == kept), 0)
            self.table.selectRow(place)
            if self._opening and not self.filters.search.hasFocus():
                self.table.setFocus()  # so that the arrow keys move through the rows at once
            self._opening = False
        self._show_row()

    def current(self) -> Row | None:
        """The chosen row."""
        index = self.table.currentIndex()
        return self.table.rows.row_at(index.row()) if index.isValid() else None

    def _show_row(self) -> None:
        view = self.table.rows.view
        self.detail.show_row(self.current(), view.first, view.second)
        self._show_begun()

    def _show_begun(self) -> None:
        begun = self.detail.unfinished()
        self.foot.show_begun([row.line or row.id + 1 for row in self._rows if row.id in begun] if begun else [])

    # -- doing -----------------------------------------------------------------------------------------------

    def _make_row(self, row: Row, test: bool) -> None:
        """Open the panel that makes a row of an answer; the reference is the first guess at the right one."""
        if self._evaluation is None:
            return
        view = self.table.rows.view
        models = [Path(model["gguf"]) for model in objects(self._evaluation.request["models"])
                  if model.get("name") == view.second and model.get("gguf")]
        messages = tuple({"role": m["role"], "content": m["content"]} for m in row.messages)
        self.detail.set_narrow(True)
        self.correct.open(Answered(messages, row.answers.get(view.second, ""), tuple(models)), test=test)
        if row.references:
            self.correct.answer.setPlainText(row.references[0])
        self.correct.category.setText(row.category or "")
        self.correct.language.setText(row.language or "")

    def _show_busy(self, busy: bool) -> None:
        self.detail.set_busy(busy)
        for widget in (self.table, self.filters):
            widget.setEnabled(not busy)
        self.undo.setVisible(self.edits.can_undo())
        self.foot.show_at_work(busy)

    def _not_edited(self, error: Exception) -> None:
        """Say why; what was written stays in the field."""
        self._show_error(error)
        if not self._closed:
            self.detail.go_on()
            self._show_begun()

    def _show_error(self, error: Exception) -> None:
        """Here, or in the tab if the page has been closed."""
        if self._closed:
            self.failed.emit(error)
        else:
            self.banner.show_error(error)

    def _edited(self, said: str, row: int) -> None:
        """Read the evaluation again, and look at the row that was changed, or at that in the place of a removed one."""
        self._said, self._keep_row = said, row if row >= 0 else self._next_row()
        self._session.report_runs_changed()
        if self._evaluation is not None:
            self._evaluation = read_evaluation(self._evaluation.folder) or self._evaluation
        self._read()

    def _next_row(self) -> int | None:
        """The row below the chosen one, or the one above if it is the last."""
        model, place = self.table.rows, self.table.currentIndex().row()
        near = place + 1 if place + 1 < len(model.shown) else place - 1
        return model.row_at(near).id if 0 <= near < len(model.shown) else None

    def _vote_tip(self) -> str:
        return tr("Benchmark answers are right or wrong, so there is nothing to vote on.") if (
            self.detail.fixed) else tr("Choose the better answer for some rows, without seeing whose it is.")

    def _vote(self) -> None:
        view = self.filters.view()
        if self._evaluation is not None and view.first != view.second:
            dialog = VoteDialog(self._evaluation.folder, self._rows, view.second, view.first, self)
            dialog.voted.connect(self._session.report_runs_changed)
            dialog.open()

    def _save(self) -> None:
        choose_file(self, tr("Save the rows"), "answers.csv", csv_kinds(), self.save_table)

    def save_table(self, path: Path) -> None:
        """Write the rows that are shown, in their order, as CSV."""
        self.table.save(path, self.filters.names(), self.banner.show_error)

    def _export(self) -> None:
        choose_file(self, tr("Save the test set"), "test-set.jsonl", tr("Test sets") + " (*.jsonl)",
                    self.save_test_set)

    def save_test_set(self, path: Path) -> None:
        """Write all rows, as they are corrected, as a test set."""
        from slmstudio.core.evaluation import item_edits

        if self._evaluation is not None:
            folder = self._evaluation.folder
            run_task(self, lambda task: item_edits.export(folder, path), lambda count: self._exported(path, count),
                     self._show_error)

    def _exported(self, path: Path, count: int) -> None:
        if not self._closed:
            self.foot.show_count(len(self.table.rows.shown), len(self._rows),
                                 ntr("{n:,} row saved in {file}", "{n:,} rows saved in {file}", count, file=path.name))
