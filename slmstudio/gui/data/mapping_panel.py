"""Where a user says what the columns of a file hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QWidget

from slmstudio.core.data import given, layouts
from slmstudio.core.data.mapping.look import TARGETS, needed
from slmstudio.core.data.read_options import NO_OPTIONS, ReadOptions
from slmstudio.core.i18n import ptr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.fields import ComboBox
from slmstudio.gui.common.widgets.labels import ElidedLabel, plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, grid_in
from slmstudio.gui.data import mapping_words as words

if TYPE_CHECKING:
    from slmstudio.core.data.preview import Preview
    from slmstudio.core.data.reader import Dataset

CELL_WIDTH = 190
"""The least width of a field with its name."""
MOST_CELLS = 4
"""Beside each other."""


@dataclass(frozen=True)
class Columns:
    """What is known about a file's columns.

    Attributes:
        examples: a value of each.
        mapping: the column of each target; empty if nobody knows.
        sheets: of a workbook, the one that is read and then the others.
        text_by: how a text is cut; "" of what isn't a text, and where it can't be chosen.
    """

    names: tuple[str, ...]
    examples: Mapping[str, str]
    mapping: Mapping[str, str] = field(default_factory=dict)
    sheets: tuple[str, ...] = ()
    text_by: str = ""
    choices: ReadOptions = NO_OPTIONS

    @classmethod
    def of(cls, dataset: Dataset) -> Columns:
        is_text = dataset.text_by != "" and set(dataset.columns) <= {"text", "question", "answer"}
        return cls(() if is_text else dataset.columns, dataset.examples, dataset.mapping, dataset.sheets,
                   dataset.text_by if dataset.format in words.CUT else "", dataset.options)

    @classmethod
    def of_rows(cls, rows: Preview, examples: Mapping[str, str], choices: ReadOptions) -> Columns:
        return cls(rows.columns, examples, {}, rows.sheets, "", choices)


class _Cell(QWidget):
    """A field with its name above it, and an example of what it chose below."""

    def __init__(self, name: str, tooltip: str, parent: QWidget | None = None):
        super().__init__(parent)
        self.name = text_label(name, "small")
        self.box = ComboBox()
        self.box.setAccessibleName(name)
        self.box.setToolTip(tooltip)
        self.box.setSizeAdjustPolicy(ComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.setMinimumContentsLength(6)
        self.name.setBuddy(self.box)
        self.example = ElidedLabel("", "small", Qt.TextElideMode.ElideRight)
        self.example.setProperty("tone", "faint")
        column_in(self, self.name, self.box, self.example, STRETCH, spacing=theme.SPACE_XS)


class MappingPanel(QWidget):
    """Fields for the layout, the sheet, how a text is cut, and the column of each target.

    Signals:
        changed: the user chose something else.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._shown = Columns((), {})
        self._choices = NO_OPTIONS
        self._columns_said = True
        self.targets: dict[str, _Cell] = {}
        self.layout_cell = _Cell(tr("Type of rows"),
                                 tr("Decides which columns are needed, and what can be trained."), self)
        self.layout_cell.box.setObjectName("mapping_layout")
        self.sheet_cell = _Cell(tr("Sheet"), tr("The sheet of the workbook to read."), self)
        self.sheet_cell.box.setObjectName("mapping_sheet")
        self.cut_cell = _Cell(tr("How the text is split"), tr("How much of the text becomes one row."), self)
        self.cut_cell.box.setObjectName("mapping_cut")
        self.cut_cell.example.hide()
        self.layout_cell.box.activated.connect(lambda: self._layout_chosen())
        self.sheet_cell.box.activated.connect(lambda: self._choose(sheet=self.sheet_cell.box.currentData()))
        self.cut_cell.box.activated.connect(lambda: self._choose(text_by=self.cut_cell.box.currentData()))
        self._grid = grid_in(self, theme.SPACE_L, theme.SPACE_S)
        self._beside = 0

    def show_columns(self, shown: Columns) -> None:
        """Show what is known about a file's columns."""
        self._shown, self._choices, self._columns_said = shown, shown.choices, True
        _fill(self.layout_cell.box, words.layouts(), words.layout_of(shown.mapping))
        _fill(self.sheet_cell.box, {name: name for name in shown.sheets}, shown.sheets[0] if shown.sheets else "")
        _fill(self.cut_cell.box, words.cuts(), shown.text_by)
        self._make_targets(shown.mapping)

    def take_over(self, other: MappingPanel) -> None:
        """Show what was chosen in another panel for the same columns."""
        self._choices, self._columns_said = other._choices, other._columns_said
        self.layout_cell.box.setCurrentIndex(other.layout_cell.box.currentIndex())
        self._make_targets(other.mapping())

    @property
    def layout_name(self) -> str:
        return str(self.layout_cell.box.currentData())

    def mapping(self) -> dict[str, str]:
        """The column of each target that has one."""
        found = {target: cell.box.currentData() for target, cell in self.targets.items()}
        return {target: str(column) for target, column in found.items() if column}

    @property
    def has_fields(self) -> bool:
        """Whether there is anything to choose."""
        return bool(self._shown.names or self._shown.text_by) or len(self._shown.sheets) > 1

    @property
    def columns_count(self) -> bool:
        """Whether the columns that are shown are meant, and not those of another sheet."""
        return self._columns_said

    def missing(self) -> list[str]:
        """Names of what has no column yet, and needs one."""
        if not self.targets or not self._columns_said:
            return []
        mapping = self.mapping()
        return [words.targets()[target] for target in needed(self.layout_name, mapping) if target not in mapping]

    def said(self) -> str:
        """What is chosen, as `given.parse` reads it."""
        columns = self.mapping() if self._columns_said else {}
        return given.written(columns, self._choices) or ""

    def focus_first(self) -> None:
        """Let the keys act on the first column, or on how the text is cut."""
        cells = [*self.targets.values(), self.cut_cell]
        cells[0].box.setFocus(Qt.FocusReason.OtherFocusReason)

    def _choose(self, **choice: str) -> None:
        """Another sheet, which has columns of its own; or another way to cut a text, which has none."""
        self._choices = replace(self._choices, **choice)
        self._columns_said = False
        self.changed.emit()

    def _layout_chosen(self) -> None:
        before = self.mapping()
        kept = {target: words.partner(target, before) for target in TARGETS[self.layout_name]}
        if self.layout_name == "text" and len(self._shown.names) == 1:
            kept = {"text": self._shown.names[0]}
        self._make_targets(kept)
        self._columns_said = True
        self.changed.emit()

    def _make_targets(self, mapping: Mapping[str, str]) -> None:
        """A field for each target of the layout."""
        focused = next((target for target, cell in self.targets.items() if cell.box.hasFocus()), "")
        for cell in self.targets.values():
            cell.hide()
            cell.deleteLater()
        self.layout_cell.example.setText(layouts.sentence(self.layout_name))
        layout, nested = self.layout_name, any(text[:1] in "[{" for text in self._shown.examples.values())
        must = needed(layout, mapping)
        order = sorted(TARGETS[layout], key=lambda target: target not in (*must, "prompt"))
        names = words.targets()
        self.targets = {target: self._target(target, names[target], mapping.get(target, ""), target in must)
                        for target in order if self._shown.names and (
                            mapping.get(target) or target not in words.RARE or (nested and target in words.NESTED))}
        self._arrange()
        if focused in self.targets:
            self.targets[focused].box.setFocus(Qt.FocusReason.OtherFocusReason)

    def _target(self, target: str, name: str, column: str, needed: bool) -> _Cell:
        cell = _Cell(name, tr("The column that contains this. Each one shows a value from the file."), self)
        cell.box.setObjectName(f"mapping_{target}")
        if not needed:
            cell.box.addItem(ptr("no column", "None"), "")
        several = () if not column or column in self._shown.names else (column,)  # choices in columns of their own
        for each in (*several, *self._shown.names):
            cell.box.addItem(words.listed(each.split(",")) if each in several else each, each)
            cell.box.setItemData(cell.box.count() - 1, plain_tip(self._shown.examples.get(each, "")),
                                 Qt.ItemDataRole.ToolTipRole)
        cell.box.setPlaceholderText(tr("Choose a column"))
        cell.box.setCurrentIndex(cell.box.findData(column))
        cell.box.activated.connect(lambda: self._column_chosen(cell))
        self._show_example(cell)
        return cell

    def _column_chosen(self, cell: _Cell) -> None:
        self._columns_said = True
        self._show_example(cell)
        self.changed.emit()

    def _show_example(self, cell: _Cell) -> None:
        column = cell.box.currentData()
        example = self._shown.examples.get(column, tr("(empty)")) if column else ""
        cell.example.setText(example)
        cell.box.setAccessibleDescription(example)

    def _arrange(self) -> None:
        """The fields in as many columns as fit."""
        has_columns = bool(self._shown.names)
        there = {self.sheet_cell: len(self._shown.sheets) > 1, self.layout_cell: has_columns,
                 self.cut_cell: bool(self._shown.text_by)}
        for cell, is_there in there.items():
            cell.setVisible(is_there)
        cells = [*(cell for cell, is_there in there.items() if is_there), *self.targets.values()]
        while self._grid.count():
            self._grid.takeAt(0)
        self._beside = self._fitting()
        for place, cell in enumerate(cells):
            self._grid.addWidget(cell, place // self._beside, place % self._beside)
            cell.show()
        for column in range(MOST_CELLS):
            self._grid.setColumnStretch(column, 1 if column < self._beside else 0)
        previous: QWidget = self
        for cell in cells:
            QWidget.setTabOrder(previous, cell.box)
            previous = cell.box

    def _fitting(self) -> int:
        return max(1, min(MOST_CELLS, self.width() // CELL_WIDTH))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._fitting() != self._beside:
            self._arrange()


def _fill(box: ComboBox, items: Mapping[str, str], chosen: str) -> None:
    """Offer other items, and show the chosen one."""
    box.clear()
    for value, name in items.items():
        box.addItem(name, value)
    box.setCurrentIndex(box.findData(chosen))
