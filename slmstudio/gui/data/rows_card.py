"""The rows of a dataset: as a table, as a conversation, and as the model sees them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QModelIndex, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QFrame, QLineEdit, QStackedLayout

from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import Task, run_task
from slmstudio.gui.common.widgets.areas import Card, NoteBar
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton, SegmentedControl
from slmstudio.gui.common.widgets.conversation import ConversationView
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import ElidedLabel, plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import column_of, row_of
from slmstudio.gui.data.rows_table import RowsTable, matching_rows
from slmstudio.gui.data.token_preview import TokenPreview

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.data.record import Record
    from slmstudio.core.model.facts import ModelFacts

TABLE, CONVERSATION, TOKENS = range(3)


Arrange = Callable[[Sequence["Record"], Sequence[int]], tuple[Sequence[int], Mapping[int, str]]]
"""Of rows and their indices: those to be shown, in their order, and by index what is beside them."""
TABLE_HEIGHT = 92
"""The heading and a row at least; where there is no room for them, the page scrolls."""


class RowsCard(Card):
    """Shows one dataset, a row at a time or all of them, and searches in it.

    Signals:
        model_wanted: the user wants to choose a model, to see rows as it sees them.
        edit_wanted(int), delete_wanted(list[int]): the user wants to change these rows, by their index.
        new_wanted: the user wants to add a row.

    Attributes:
        notes: the place above the rows for messages about them.
        only: the rows that are shown, by their index, before anything is searched; None shows all.
    """

    model_wanted = Signal()
    edit_wanted = Signal(int)
    delete_wanted = Signal(object)
    new_wanted = Signal()

    def __init__(self) -> None:
        super().__init__(" ")
        self._dataset: Dataset | None = None
        self._records: Sequence[Record] = ()
        self.only: Sequence[int] | None = None
        self._only_title, self._arrange = "", None
        self._matches: Sequence[int] = ()
        self._position, self._coming_back = 0, (0, 0)
        self._search_task: Task | None = None
        self._make_header()
        self._make_navigation()
        self._make_filter()
        self._make_views()
        self._later = QTimer(self, interval=200, singleShot=True)
        self._later.timeout.connect(self._search)

    def _make_header(self) -> None:
        self.title.setObjectName("dataset_name")
        self.facts = ElidedLabel("", "small", Qt.TextElideMode.ElideRight, name="dataset_facts")
        self.header.insertWidget(1, self.facts)
        self.mode = SegmentedControl(
            [tr("Table"), tr("Conversation"), tr("As the model sees it")],
            tooltips=[tr("All rows, one line each."), tr("One row, as people read it."),
                      tr("One row in the chat template, split into tokens. What the model learns is green.")],
            name="rows_mode")
        self.mode.changed.connect(self._set_mode)
        self.header.addWidget(self.mode)

    def _make_navigation(self) -> None:
        self.search = named(QLineEdit(placeholderText=tr("Search in any script")), "rows_search",
                            tr("Search in the rows"),
                            tr("Show only rows that contain this text, in any script (Ctrl+F)."))
        self.search.setAcceptDrops(False)  # a file that is let go here is for the tab
        self.search.textChanged.connect(self._search_typed)
        self._glass = QAction(self.search)
        self._empty = QAction(tr("Clear the search and show all rows"), self.search)
        self._empty.triggered.connect(self.search.clear)
        self._empty.setVisible(False)
        self.search.addAction(self._glass, QLineEdit.ActionPosition.LeadingPosition)
        self.search.addAction(self._empty, QLineEdit.ActionPosition.TrailingPosition)
        self._paint_icons()
        theme.THEME.changed.connect(self._paint_icons)
        self.place = text_label("", "small", name="rows_place")
        self.previous, self.next, self.edit, self.delete, self.new = buttons = [
            IconButton(icon, tip, name=name, clicked=slot) for icon, name, tip, slot in (
                ("chevron-left", "rows_previous", tr("Previous row (Alt+Left)"), lambda: self.go(self._position - 1)),
                ("chevron-right", "rows_next", tr("Next row (Alt+Right)"), lambda: self.go(self._position + 1)),
                ("edit", "rows_edit", tr("Edit this row (F2)"), self._edit),
                ("trash", "rows_delete", tr("Delete the selected rows (Delete)"), self._delete),
                ("plus", "rows_add", tr("Add a row (Ctrl+N)"), self.new_wanted.emit))]
        for button in buttons:
            button.setProperty("kind", "outlined")
        self.body.addLayout(row_of((self.search, 1), self.previous, self.place, *buttons[1:]))
        for keys, button in (("Alt+Left", self.previous), ("Alt+Right", self.next)):
            add_key(self, keys, button.click)
        add_key(self, QKeySequence.StandardKey.Find, self.search.setFocus)
        add_key(self, "F2", self._edit, inside=True)
        add_key(self, "Ctrl+N", self.new_wanted.emit, inside=True)

    def _edit(self) -> None:
        if self._matches:
            self.edit_wanted.emit(self._matches[self._position])

    def _delete(self) -> None:
        """In the table, delete all marked rows; in the other views, the one that is shown."""
        if not self._matches:
            return
        marked = {index.row() for index in self.table.selectionModel().selectedRows()} if (
            self.mode.current() == TABLE) else set()
        self.delete_wanted.emit([self._matches[place] for place in sorted(marked or {self._position})])

    def _make_filter(self) -> None:
        clear = SecondaryButton(tr("Clear"), tr("Show all rows again."), "small", name="rows_filter_clear",
                                clicked=self.clear_filter)
        self.filter = NoteBar("rows_filter", "warn", (clear,))
        self.notes = column_of(self.filter)
        self.body.addLayout(self.notes)

    def _paint_icons(self) -> None:
        self._glass.setIcon(theme.icon("search"))
        self._empty.setIcon(theme.icon("close"))

    def _search_typed(self, text: str) -> None:
        self._empty.setVisible(bool(text))
        self._later.start()

    def _make_views(self) -> None:
        self.table, self.conversation, self.tokens = RowsTable(), ConversationView(), TokenPreview()
        theme.grow(self.table, "setMinimumHeight", TABLE_HEIGHT)
        self.table.setObjectName("rows_table")
        self.table.selectionModel().currentRowChanged.connect(self._row_chosen)
        self.table.activated.connect(lambda: self.mode.set_current(CONVERSATION))
        add_key(self.table, QKeySequence.StandardKey.Delete, self._delete, inside=True)
        self.conversation.setObjectName("rows_conversation")
        self.tokens.model_wanted.connect(self.model_wanted)
        inset = QFrame()
        inset.setProperty("inset", True)
        self._views = QStackedLayout(inset)
        for view in (self.table, self.conversation, self.tokens):
            self._views.addWidget(view)
        self.body.addWidget(inset, 1)

    def show_dataset(self, dataset: Dataset, records: Sequence[Record] | None = None) -> None:
        """Show another dataset from its first row, or the same one, read again, from the row that is shown.

        Args:
            records: its rows with what was changed by hand.
        """
        where = self.where() if self._dataset is not None and self._dataset.path == dataset.path else None
        self._dataset = dataset
        self._records = dataset.records if records is None else records
        self.title.setText(dataset.name)
        layout = {"instruction": tr("instruction rows"), "messages": tr("conversations"),
                  "mixed": tr("instruction rows and conversations"), "preference": tr("preference pairs"),
                  "labelled": tr("good and bad answers"), "text": tr("plain text")}[dataset.layout]
        self.facts.setText(" · ".join(part for part in (layout, dataset.encoding) if part))
        self.clear_filter()
        if where is not None:
            self.come_back(*where)

    def where(self) -> tuple[str, int, int]:
        """What is searched for, which of the rows found is shown, and which one is the first in sight."""
        there = self._position, max(0, self.table.rowAt(0))
        return self.search.text(), *(self._coming_back if any(self._coming_back) else there)

    def come_back(self, text: str, position: int, top: int) -> None:
        """Show what `where` told."""
        self._coming_back = position, top
        self.search.setText(text)
        self._later.stop()
        self._search()

    def set_records(self, records: Sequence[Record], only: Sequence[int] | None = None) -> None:
        """Show the rows after a change by hand, at the same place. `only` are those shown before that are still there;
        None are all."""
        place = self._position
        self._records = records
        if only is None:
            # Behind a search the place among the matches isn't the one among all rows.
            place = self._matches[place] if self._matches else 0
            self.clear_filter()
        else:
            self.show_only(only, self._only_title, self._arrange)
        self.go(min(place, len(self._matches) - 1))

    def show_only(self, rows: Sequence[int], title: str, arrange: Arrange | None = None) -> None:
        """Show only these rows, given by their index, until the user wants to see all rows again, or none is left.

        Args:
            title: what they have in common.
            arrange: puts them into order and other answers beside them; asked again when rows were changed.
        """
        beside: Mapping[int, str] = {}
        if arrange is not None:
            rows, beside = arrange([self._records[row] for row in rows], rows)
            self.mode.set_current(TABLE)
        self.only, self._only_title, self._arrange = (rows or None), title, arrange
        self.filter.say(tr("{shown:,} of {count:,} rows: {title}", shown=len(rows), count=len(self._records),
                           title=title) if rows else "")
        self._show_all(beside)

    def clear_filter(self) -> None:
        """Show all rows."""
        self.show_only((), "")

    def _show_all(self, beside: Mapping[int, str]) -> None:
        """All rows, or all that aren't filtered out, whatever was searched for."""
        if self._dataset is not None:
            self.table.show_columns(self._dataset.layout, any(record.file for record in self._records[:1]), beside)
        self.search.clear()
        self._later.stop()
        self._show_matches(self._unfiltered())

    def _unfiltered(self) -> Sequence[int]:
        return range(len(self._records)) if self.only is None else self.only

    def set_model(self, model: ModelFacts | None, fallback: Path | None = None, chat_template: str = "") -> None:
        """Show rows as this model sees them, or as the one in `fallback` while none is chosen."""
        self.tokens.set_model(model, fallback, chat_template)

    def show_line(self, line: int) -> None:
        """Go to the row of this line of the file, or to the first one after it."""
        if self._records:
            self.clear_filter()
            self.go(min(bisect_left(self._records, line, key=lambda record: record.line), len(self._records) - 1))

    def go(self, position: int) -> None:
        """Show the row at this place of the rows found, counted from 0."""
        if not 0 <= position < len(self._matches):
            return
        self._position = position
        index = self.table.rows.index(position, 0)
        if self.table.currentIndex().row() != position:
            self.table.setCurrentIndex(index)
            self.table.scrollTo(index)
        self._show_row()

    def _set_mode(self, mode: int) -> None:
        self._views.setCurrentIndex(mode)
        self._show_row()

    def _row_chosen(self, current: QModelIndex) -> None:
        if current.isValid() and current.row() != self._position:
            self.go(current.row())

    def _search(self) -> None:
        if self._dataset is None:
            return
        if self._search_task is not None:
            self._search_task.cancel()
        needle, records, only = self.search.text().strip(), self._records, self.only
        if not needle:
            self._show_matches(self._unfiltered())
            return
        self._search_task = run_task(self, lambda task: matching_rows(records, needle, task.cancelled, only),
                                     self._show_matches)

    def _show_matches(self, matches: Sequence[int]) -> None:
        self._matches, self._position = matches, 0
        self.table.rows.show_rows(self._records, matches)
        (position, top), self._coming_back = self._coming_back, (0, 0)
        if matches:
            self.go(min(position, len(matches) - 1))
            first = self.table.rows.index(min(top, len(matches) - 1), 0)
            self.table.scrollTo(first, RowsTable.ScrollHint.PositionAtTop)
        else:
            self._show_row()

    def _show_row(self) -> None:
        """Bring the view that is open up to date; the others follow when they are opened."""
        count = len(self._matches)
        for button, ok in ((self.previous, self._position > 0), (self.next, self._position + 1 < count)):
            button.setEnabled(ok)
        for button in (self.edit, self.delete):
            button.setEnabled(count > 0)
        if not count:
            self.place.setText(tr("no row contains this text"))
            self.conversation.show_record(None)
            return
        record = self._records[self._matches[self._position]]
        row = self._position + 1
        self.place.setText(tr("match {row:,} of {count:,}", row=row, count=count) if self.search.text().strip() else
                           tr("row {row:,} of {count:,}", row=row, count=count))
        self.place.setToolTip(plain_tip(
            tr("line {line:,} of {file}", line=record.line, file=record.file) if record.file else
            tr("line {line:,} of the file", line=record.line)))
        if self.mode.current() == CONVERSATION:
            self.conversation.show_record(record)
        elif self.mode.current() == TOKENS:
            self.tokens.show_record(record)
