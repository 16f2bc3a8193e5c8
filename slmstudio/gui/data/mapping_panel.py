"""Where a user says what the columns of a file hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QWidget

from slmstudio.core.data import layouts, read_options
from slmstudio.core.data.mapping.look import TARGETS, needed
from slmstudio.core.data.read_options import NO_OPTIONS, ReadOptions
from slmstudio.core.i18n import ptr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import IconButton
from slmstudio.gui.common.widgets.fields import ComboBox
from slmstudio.gui.common.widgets.labels import ElidedLabel, plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_of, grid_in, row_of
from slmstudio.gui.data import mapping_words as words

if TYPE_CHECKING:
    from slmstudio.core.data.candidates import Candidate
    from slmstudio.core.data.reader import Dataset, Preview

CELL_WIDTH = 190
"""The least width of a field with its name."""
MOST_CELLS = 4
"""Beside each other."""


TABLES = ("csv", "tsv", "xlsx", "xlsb", "xls", "ods")
"""Formats whose column names are in rows."""
OTHER_COLUMNS = frozenset({"sheet", "rows", "files", "header", "text_by"})
"""Options with which a file has other columns, or none."""
WITH_COLUMNS = ("join", "between")
"""Options that only some choices of columns need."""
JOINED = " + "


@dataclass(frozen=True)
class Columns:
    """What is known about a file's columns.

    Attributes:
        examples: a value of each.
        mapping: the column of each target; empty if nobody knows.
        known: of each option that may be chosen, the values that the file has.
        text_by: how a text is cut; "" of what isn't a text.
    """

    names: tuple[str, ...]
    examples: Mapping[str, str]
    mapping: Mapping[str, str] = field(default_factory=dict)
    known: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    text_by: str = ""
    choices: ReadOptions = NO_OPTIONS

    @classmethod
    def of(cls, found: Dataset | Preview, mapping: Mapping[str, str], choices: ReadOptions,
           candidates: Sequence[Candidate] = ()) -> Columns:
        """
        Args:
            candidates: ways to read the file, which name its lists and who speaks in it.
        """
        is_text = found.text_by != "" and set(found.columns) <= {"text", "question", "answer", "messages"}
        known: dict[str, tuple[str, ...]] = {"sheet": found.sheets} if len(found.sheets) > 1 else {}
        if found.format in words.CUT and found.text_by:
            known["text_by"] = ()
        if found.format in TABLES:
            known["header"] = ()
        for option in ("rows", "files", "user", "assistant", "header"):
            values = [getattr(each.options, option) for each in candidates]
            if there := tuple(dict.fromkeys(filter(None, (*values, getattr(choices, option))))):
                known[option] = there
        if {"user", "assistant"} & known.keys():  # who asks may answer
            known["user"] = known["assistant"] = tuple(dict.fromkeys(
                (*known.get("user", ()), *known.get("assistant", ()))))
        if "_task_hash" in found.columns or choices.marks:
            known["marks"] = ()
        known |= {option: (value,) for option in WITH_COLUMNS if (value := getattr(choices, option))}
        return cls(() if is_text else found.columns, found.examples, {} if is_text else mapping, known,
                   found.text_by, choices)


class _Cell(QWidget):
    """A field with its name above it, and an example of what it chose below.

    Signals:
        changed: the user chose something else.
    """

    changed = Signal()

    def __init__(self, name: str, tooltip: str, object_name: str, parent: QWidget | None = None):
        super().__init__(parent)
        self._title, self._tip, self._name = name, tooltip, object_name
        self.name = text_label(name, "small")
        self.box = self._box()
        self.name.setBuddy(self.box)
        self.example = ElidedLabel("", "small", Qt.TextElideMode.ElideRight)
        self.example.setProperty("tone", "faint")
        self.row = row_of((self.box, 1), spacing=theme.SPACE_XS)
        self.boxes = column_of(self.row, spacing=theme.SPACE_XS)
        column_in(self, self.name, self.boxes, self.example, STRETCH, spacing=theme.SPACE_XS)

    def _box(self) -> ComboBox:
        box = ComboBox()
        box.setObjectName(self._name)
        box.setAccessibleName(self._title)
        box.setToolTip(self._tip)
        box.setSizeAdjustPolicy(ComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(6)
        box.activated.connect(lambda: self.changed.emit())
        return box


class _Target(_Cell):
    """The column of a target, or the columns that are joined for it."""

    def __init__(self, target: str, shown: Columns, column: str, needed: bool, parent: QWidget):
        super().__init__(words.targets()[target], tr("The column that contains this. Each one shows a value from the "
                                                     "file."), f"mapping_{target}", parent)
        self._shown = shown
        self._more: list[ComboBox] = []
        parts = column.split(JOINED) if column and column not in shown.names else [column]
        whole = column if not set(parts) <= {*shown.names, ""} else ""  # choices in columns of their own
        self._offer(self.box, whole or parts[0], not needed, whole)
        self.add = IconButton("plus", tr("Join another column to it"), name=f"mapping_{target}_join",
                              clicked=lambda: self._join().setFocus(Qt.FocusReason.OtherFocusReason))
        self.row.addWidget(self.add)
        self.add.setVisible(words.joinable(target) and len(shown.names) > 2)
        for each in [] if whole else parts[1:]:
            self._join(each)
        self.changed.connect(self._show_example)
        self._show_example()

    def column(self) -> str:
        """What is chosen, as `read_options.parse` reads it; "" without any."""
        return JOINED.join(str(each.currentData()) for each in (self.box, *self._more) if each.currentData())

    @property
    def is_joined(self) -> bool:
        """Whether several columns are joined."""
        return any(each.currentData() for each in self._more)

    def _join(self, column: str = "") -> ComboBox:
        box = self._box()
        box.setObjectName(f"{self._name}_{len(self._more) + 2}")
        self._offer(box, column, True, "")
        self._more.append(box)
        self.boxes.addWidget(box)
        return box

    def _offer(self, box: ComboBox, column: str, may_be_none: bool, whole: str) -> None:
        if may_be_none:
            box.addItem(ptr("no column", "None"), "")
        for each in (*([whole] if whole else ()), *self._shown.names):
            box.addItem(words.listed(each.split(",")) if each == whole else each, each)
            box.setItemData(box.count() - 1, plain_tip(self._shown.examples.get(each, "")),
                            Qt.ItemDataRole.ToolTipRole)
        box.setPlaceholderText(tr("Choose a column"))
        box.setCurrentIndex(box.findData(column))

    def _show_example(self) -> None:
        columns = [each.currentData() for each in (self.box, *self._more) if each.currentData()]
        example = " · ".join(self._shown.examples.get(each, tr("(empty)")) for each in columns)
        self.example.setText(example)
        self.box.setAccessibleDescription(example)


class MappingPanel(QWidget):
    """Fields for the layout, the column of each target, and what else may be said about a file.

    Signals:
        changed: the user chose something else.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._shown = Columns((), {})
        self._choices = NO_OPTIONS
        self._columns_said = True
        self.targets: dict[str, _Target] = {}
        self.layout_cell = _Cell(tr("Type of rows"), tr("Decides which columns are needed, and what can be trained."),
                                 "mapping_layout", self)
        self.layout_cell.changed.connect(self._layout_chosen)
        self.options = {name: _Cell(called, tip, f"mapping_{name}", self)
                        for name, (called, tip) in words.options().items()}
        for name, cell in self.options.items():
            cell.example.hide()
            cell.changed.connect(lambda name=name: self._choose(name))
        self._grid = grid_in(self, theme.SPACE_L, theme.SPACE_S)
        self._beside = 0

    def show_columns(self, shown: Columns) -> None:
        """Show what is known about a file's columns."""
        self._shown, self._choices, self._columns_said = shown, shown.choices, True
        _fill(self.layout_cell.box, words.layouts(), words.layout_of(shown.mapping))
        for name, cell in self.options.items():
            chosen = getattr(shown.choices, name) or {"text_by": shown.text_by}.get(name) or ""
            known = shown.known.get(name, ())
            _fill(cell.box, words.choices(name, known), chosen or (known[0] if name == "sheet" and known else ""))
        self._make_targets(shown.mapping)

    def chosen(self) -> Columns:
        """The columns with what is chosen now, as `show_columns` takes them."""
        return replace(self._shown, mapping=self.mapping(), choices=self._choices)

    @property
    def layout_name(self) -> str:
        return str(self.layout_cell.box.currentData())

    def mapping(self) -> dict[str, str]:
        """The column of each target that has one."""
        return {target: column for target, cell in self.targets.items() if (column := cell.column())}

    @property
    def has_fields(self) -> bool:
        """Whether there is anything to choose."""
        return bool(self._shown.names or self._shown.known)

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
        """What is chosen, as `read_options.parse` reads it."""
        columns = self.mapping() if self._columns_said else {}
        return read_options.written(columns, self._choices) or ""

    def focus_first(self) -> None:
        """Let the keys act on the first column, or on how the text is cut."""
        cells = [*self.targets.values(), self.options["text_by"]]
        cells[0].box.setFocus(Qt.FocusReason.OtherFocusReason)

    def _choose(self, option: str) -> None:
        """Another sheet, which has columns of its own; another way to cut a text, which has none; or who speaks."""
        value = self.options[option].box.currentData()
        self._choices = replace(self._choices, **{option: value or None})
        self._columns_said = self._columns_said and option not in OTHER_COLUMNS
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
        focused = next((target for target, cell in self.targets.items() if cell.box.hasFocus()), "")
        for cell in self.targets.values():
            cell.hide()
            cell.deleteLater()
        self.layout_cell.example.setText(layouts.sentence(self.layout_name))
        layout, nested = self.layout_name, any(text[:1] in "[{" for text in self._shown.examples.values())
        must = needed(layout, mapping)
        order = sorted(TARGETS[layout], key=lambda target: target not in (*must, "prompt"))
        self.targets = {target: _Target(target, self._shown, mapping.get(target, ""), target in must, self)
                        for target in order if self._shown.names and (
                            mapping.get(target) or target not in words.RARE or (nested and target in words.NESTED))}
        for cell in self.targets.values():
            cell.changed.connect(self._column_chosen)
        self._arrange()
        if focused in self.targets:
            self.targets[focused].box.setFocus(Qt.FocusReason.OtherFocusReason)

    def _column_chosen(self) -> None:
        self._columns_said = True
        self._arrange()
        self.changed.emit()

    def _offered(self) -> list[_Cell]:
        shown, layout = self._shown, self.layout_name
        there = {**{option: values for option, values in shown.known.items() if option not in WITH_COLUMNS},
                 **({"between": ()} if "cell" in self.mapping() else {}),
                 **({"join": ()} if any(cell.is_joined for cell in self.targets.values()) else {}),
                 **({"unanswered": ()} if layout == "messages" and shown.names else {})}
        parts = OTHER_COLUMNS - {"header"}
        first = [cell for name, cell in self.options.items() if name in there and name in parts]
        rest = [cell for name, cell in self.options.items() if name in there and name not in parts]
        return [*first, *([self.layout_cell] if shown.names else []), *self.targets.values(), *rest]

    def _arrange(self) -> None:
        """The fields in as many columns as fit."""
        cells = self._offered()
        for cell in (self.layout_cell, *self.options.values()):
            cell.setVisible(cell in cells)
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
        return max(1, min(MOST_CELLS, self.width() // theme.scaled(CELL_WIDTH)))

    def minimumSizeHint(self) -> QSize:
        """With one field beside another as long as there is room, and never wider for it."""
        return QSize(theme.scaled(CELL_WIDTH), super().minimumSizeHint().height())

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
