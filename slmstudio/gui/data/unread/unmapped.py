"""A file whose columns tell nothing: its first rows, and the fields in which a user says what they hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from slmstudio.core.data.sources.row import examples
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton
from slmstudio.gui.common.widgets.card import Card
from slmstudio.gui.common.widgets.labels import breakable, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, fill, row_of
from slmstudio.gui.data.mapping_panel import Columns, MappingPanel
from slmstudio.gui.data.reading import Unmapped, Wanted
from slmstudio.gui.data.unread.raw_rows import RawTable


class UnmappedPage(QWidget):
    """Asks what the columns of files hold, one file after another.

    Signals:
        said(Wanted): read the file so.
        left(Wanted): the user wants to leave it.
    """

    said = Signal(object)
    left = Signal(object)

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._asked: list[tuple[Wanted, Unmapped]] = []
        self._card = Card(" ")
        self._card.title.setObjectName("unmapped_title")
        why = text_label(tr("The column names don't say. Choose here; your choice is remembered for this file and "
                            "others with the same columns."), "muted", wrap=True)
        self.panel = MappingPanel()
        self.panel.changed.connect(self._changed)
        self.error = ErrorBanner(closable=False, name="unmapped_error")
        self.table = RawTable("unmapped_rows")
        fill(self._card.body, why, self.panel, self.error, text_label(tr("The first rows"), "section"), (self.table, 1),
             self._buttons())
        column_in(self, self._card, spacing=None)

    def _buttons(self) -> QHBoxLayout:
        self.leave = SecondaryButton(tr("Not now"), tr("Don't read this file."), name="unmapped_leave",
                                     clicked=self._leave)
        self.read = PrimaryButton(tr("Read the file"), tr("Read all its rows with these columns."),
                                  name="unmapped_read", clicked=self._say)
        self.hint = text_label("", "small", name="unmapped_hint")
        return row_of(self.leave, STRETCH, self.hint, self.read)

    @property
    def path(self) -> Path | None:
        """The file that is asked about; None without one."""
        return self._asked[0][0].path if self._asked else None

    def take_over(self, other: UnmappedPage) -> None:
        """Ask about the files that another page asks about, with what was chosen there for the first of them."""
        self._asked = list(other._asked)
        self.show_first()
        # While other files are being read, that page shows no file yet, or one that has its answer.
        if other.table.rows.found is self._asked[0][1].rows:
            self.panel.take_over(other.panel)
            self._show_missing()

    def add(self, wanted: Wanted, found: Unmapped) -> None:
        """Ask about this file too."""
        places = [place for place, each in enumerate(self._asked) if each[0].path == wanted.path]
        self._asked[slice(*(places[0], places[0] + 1) if places else (len(self._asked), None))] = [(wanted, found)]

    def drop(self, path: Path) -> None:
        """Ask about this file no longer."""
        self._asked = [each for each in self._asked if each[0].path != path]

    def show_first(self) -> None:
        """Show the first file that is asked about, unless it is shown."""
        wanted, unmapped = self._asked[0]
        found = unmapped.rows
        if self.table.rows.found is found:
            return
        self._card.title.setText(tr("What do the columns of {name} contain?", name=wanted.path.name))
        self.error.clear()
        self.table.show_rows(found)
        self.panel.show_columns(Columns.of_rows(found, examples(found.rows), unmapped.choices))
        self._show_missing()
        self.panel.focus_first()

    def show_error(self, error: Exception) -> None:
        """Say why the file couldn't be read so."""
        if isinstance(error, UserError):
            error = UserError(error.what, error.why, tr("Choose other columns, or another type of rows."))
        self.error.show_error(error)

    def _changed(self) -> None:
        self.error.clear()
        self._show_missing()
        if not self.panel.columns_count:  # another sheet has other columns
            self._say()

    def _say(self) -> None:
        self.said.emit(replace(self._asked[0][0], said=self.panel.said(), by_hand=True))

    def _leave(self) -> None:
        self.left.emit(self._asked.pop(0)[0])

    def _show_missing(self) -> None:
        missing = self.panel.missing()
        self.hint.setText(breakable(tr("Choose a column for: {names}", names=", ".join(missing)))
                          if missing else "")
        self.read.setEnabled(not missing)
