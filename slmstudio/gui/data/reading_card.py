"""How a file was read: its format, what its columns hold, what isn't used. All of it can be changed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal

from slmstudio.core.data import layouts
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import Card, ScrolledIfNeeded
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.labels import ElidedLabel, text_label
from slmstudio.gui.common.widgets.layouts import column_widget, fill
from slmstudio.gui.data import mapping_words as words
from slmstudio.gui.data.mapping_panel import Columns, MappingPanel

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset

LEAST_HEIGHT = 165
"""The least height of the opened part when there is little room; it scrolls then."""


class ReadingCard(Card):
    """A line or two on how the shown file was read; opened, the fields to change it.

    Signals:
        reread(str): the file should be read as this says, "" by guess.
        opened(bool): the fields are shown from now on, or no longer.
    """

    reread = Signal(str)
    opened = Signal(bool)

    def __init__(self) -> None:
        super().__init__(tr("How this file was read"))
        self._dataset: Dataset | None = None
        self.facts = ElidedLabel("", "small", Qt.TextElideMode.ElideRight, name="reading_facts")
        self.header.insertWidget(1, self.facts)
        self.reset = SecondaryButton(tr("Reset"), tr("Discard your choices, and read the file by its column names."),
                                     "small", name="reading_reset", clicked=self._read_by_guess)
        self.change = SecondaryButton(tr("Change"),
                                      tr("Choose what the columns contain, which sheet to read, or how to split a "
                                         "text."),
                                      "small", name="reading_change")
        fill(self.header, self.reset, self.change)
        self.change.setCheckable(True)
        self.change.toggled.connect(lambda _: self._show_parts())
        self.change.toggled.connect(self.opened)
        self._make_body()

    def _make_body(self) -> None:
        self.body.setSpacing(theme.SPACE_S)
        self.summary = ElidedLabel("", "small", Qt.TextElideMode.ElideRight, name="reading_summary")
        self.words = ElidedLabel("", "small", Qt.TextElideMode.ElideRight, name="reading_words")
        self.panel = MappingPanel()
        self.panel.changed.connect(self._changed)
        self.hint = text_label("", "small", wrap=True, name="reading_hint", tone="warn")
        self.unused = text_label("", "small", wrap=True, name="reading_unused")
        self.notes = text_label("", "small", wrap=True, name="reading_notes")
        inner = column_widget(self.panel, self.unused, self.notes, margins=(0, 0, theme.SPACE_S, 0))
        self._opened = ScrolledIfNeeded(inner, LEAST_HEIGHT)
        self.error = ErrorBanner(name="reading_error")
        for part in (self.summary, self._opened, self.hint, self.words, self.error):
            self.body.addWidget(part)

    def show_dataset(self, dataset: Dataset, by_shape: bool = False) -> None:
        """Show how a dataset was read.

        Args:
            by_shape: its columns were read as a user chose for another file with the same ones.
        """
        before, self._dataset = self._dataset, dataset
        known = _columns(before) if before is not None and before.path == dataset.path else None
        self.error.clear()
        if known is None:
            self.change.setChecked(False)
        self.facts.setText(" · ".join(_facts(dataset)))
        if known != _columns(dataset) or not self.panel.missing():  # else the user is still choosing
            self._show_columns()
        with_words = dataset.unused_words
        self.words.setText(tr("Columns with words that aren't used: {columns}", columns=", ".join(with_words))
                           if with_words else "")
        rest = [name for name in dataset.unused if name not in with_words]
        self.unused.setText(tr("Not used: {names}", names=", ".join(rest)) if rest else "")
        said = dataset.line
        chosen = [tr("Read as you chose for files with these columns.") if by_shape else
                  tr("Read as you chose.")] if said else []
        notes = [*chosen, *dataset.notes]
        self.notes.setText("\n".join(notes))
        parts = [*chosen, layouts.sentence(dataset.layout), _mapping(dataset),
                 tr("Not used: {names}.", names=", ".join(rest)) if rest else "", *dataset.notes]
        self.summary.setText(" ".join(part for part in parts if part))
        self.reset.setVisible(bool(said))
        self.change.setVisible(self.panel.has_fields or bool(dataset.notes))
        self._show_parts()

    def show_error(self, error: Exception) -> None:
        """Say why the file couldn't be read as the user chose. What was read before stays."""
        self.change.setChecked(True)
        if isinstance(error, UserError):
            error = UserError(error.what, error.why,
                              tr("The rows below haven't changed yet. Choose something else, or press Reset."))
        self.error.show_error(error)
        self.reset.show()

    def show_again(self) -> None:
        """Nothing was read after all: show the current choices."""
        if self._dataset is not None:
            self._show_columns()
            self._show_parts()

    def save_state(self) -> Columns | None:
        """What is being chosen; None unless the fields are open."""
        return self.panel.chosen() if self.change.isChecked() else None

    def restore_state(self, columns: Columns | None) -> None:
        """Open the fields again, with columns that aren't read yet."""
        if columns is not None:
            self.change.setChecked(True)
            self.panel.show_columns(columns)
            self._show_missing()

    def _read_by_guess(self) -> None:
        self.show_again()
        self.reread.emit("")

    def _show_columns(self) -> None:
        assert self._dataset is not None
        self.panel.show_columns(_columns(self._dataset))
        self.hint.clear()

    def _show_missing(self) -> None:
        missing = self.panel.missing()
        self.hint.setText(tr("Choose a column for: {names}", names=", ".join(missing)) if missing else "")
        self._show_parts()

    def _changed(self) -> None:
        self._show_missing()
        if not self.panel.missing():
            self.error.clear()
            self.reread.emit(self.panel.said())

    def _show_parts(self) -> None:
        is_open = self.change.isChecked()
        self.change.setText(tr("Close") if is_open else tr("Change"))
        self.summary.setVisible(not is_open)
        self._opened.setVisible(is_open)
        for label in (self.hint, self.unused, self.notes, self.words):
            label.setVisible(bool(label.text()))


def _facts(dataset: Dataset) -> list[str]:
    """Format, encoding, and sheet or table."""
    encoding = dataset.encoding
    if encoding and dataset.assumed:
        encoding = tr("{encoding}, assumed", encoding=encoding)
    sheet = words.sheet_name(dataset.sheets, dataset.format)
    return [part for part in (words.format_name(dataset.format), encoding, sheet) if part]


def _columns(dataset: Dataset) -> Columns:
    return Columns.of(dataset, dataset.mapping if not dataset.given else {**dataset.mapping, **dataset.given},
                      dataset.options, dataset.candidates)


def _mapping(dataset: Dataset) -> str:
    """The columns of the targets, or how a text is cut, in a sentence."""
    if dataset.format in words.TEXTS:
        return tr("{parts}.", parts=words.cuts()[dataset.text_by]) if dataset.text_by in words.cuts() else ""
    names = words.targets()
    pairs = [f"{names[target]}: {column}" for target, column in dataset.mapping.items() if target in names]
    return tr("{parts}.", parts=" · ".join(pairs)) if pairs else ""  # a full stop, as the language writes it
