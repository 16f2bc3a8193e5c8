"""Figures: a table of them (a value, the interval below it, a chip), which can be saved as CSV; a few that line up; and
the question mark that tells what one means."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QAbstractTableModel, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QHeaderView,
    QStyleOptionViewItem,
    QTableView,
    QVBoxLayout,
    QWhatsThis,
    QWidget,
)

from slmstudio.core import i18n, terms
from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets import table_cells
from slmstudio.gui.common.widgets.banner import announce
from slmstudio.gui.common.widgets.buttons import IconButton
from slmstudio.gui.common.widgets.labels import ElidedLabel, plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import clear, column_in, fill, row_in
from slmstudio.gui.common.widgets.table_cells import CHIP, DETAIL, INSET, NO_PARENT, CellDelegate, Index

STRONG = Qt.ItemDataRole.UserRole + 32
ONE_LINE, TWO_LINES = 30, 44
FIRST_WIDTH, WIDEST = 150, 190


@dataclass(frozen=True)
class Figure:
    """One cell.

    Attributes:
        detail: small, below the text, as an interval.
        raw: what a CSV gets; None takes the text, and the detail in brackets. Values by their names get a column each;
            that without a name is below the heading itself.
        chip: the kind of a chip around the text, or "".
        spoken: what a screen reader says in place of the text and the detail.
    """

    text: str
    detail: str = ""
    raw: object = None
    tip: str = ""
    chip: str = ""
    strong: bool = False
    spoken: str = ""


class FigureModel(QAbstractTableModel):
    """Rows of figures below headings. The first column takes names, the others take figures or text."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.headers: list[str] = []
        self.rows: list[list[Figure]] = []
        self.tips: Sequence[str] = ()
        self._figures: Container[int] = ()

    def show_rows(self, headers: Sequence[str], rows: Sequence[Sequence[Figure]],
                  figures: bool | Container[int] = True, tips: Sequence[str] = ()) -> None:
        """
        Args:
            figures: the columns that are aligned to the right, as numbers are; True for all but the first.
            tips: tooltips of the headings, in place of what is written there.
        """
        columns = (range(1, len(headers)) if figures else ()) if isinstance(figures, bool) else figures
        shown = list(headers), [list(row) for row in rows], tips or headers, columns
        if shown == (self.headers, self.rows, self.tips, self._figures):
            return  # read again and the same: the current row stays
        self.beginResetModel()
        self.headers, self.rows, self.tips, self._figures = shown
        self.endResetModel()

    def rowCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self.headers)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self.headers[section]
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip(self.tips[section])
        return self._alignment(section) if role == Qt.ItemDataRole.TextAlignmentRole else None

    def _alignment(self, column: int) -> int:
        side = Qt.AlignmentFlag.AlignRight if column in self._figures else Qt.AlignmentFlag.AlignLeft
        return int(side | Qt.AlignmentFlag.AlignVCenter)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        cell = self.rows[index.row()][index.column()]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return self._alignment(index.column())
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return cell.spoken or f"{cell.text} {cell.detail}".strip()
        return {Qt.ItemDataRole.DisplayRole: cell.text, DETAIL: cell.detail or None, CHIP: cell.chip or None,
                STRONG: cell.strong, Qt.ItemDataRole.ToolTipRole: plain_tip(cell.tip) or None}.get(role)

    def as_table(self) -> list[list[object]]:
        """Headings and rows, for a CSV."""
        parts = [_names([row[column] for row in self.rows]) for column in range(len(self.headers))]
        heads = zip(self.headers, parts, strict=True)
        table: list[list[object]] = [[f"{head} {name}".strip() for head, names in heads for name in names]]
        for row in self.rows:
            table.append([value for cell, names in zip(row, parts, strict=True) for value in _values(cell, names)])
        return table


def _names(cells: Sequence[Figure]) -> list[str]:
    """What each of a column's values is called in a CSV."""
    return list(dict.fromkeys(["", *(name for cell in cells if isinstance(cell.raw, Mapping) for name in cell.raw)]))


def _values(cell: Figure, names: Sequence[str]) -> list[object]:
    """What a CSV gets of a cell, for each of its columns."""
    if isinstance(cell.raw, Mapping):
        return [cell.raw.get(name, "") for name in names]
    text = f"{cell.text} ({cell.detail})" if cell.detail else cell.text
    return [cell.raw if cell.raw is not None else text, *[""] * (len(names) - 1)]


class TightDelegate(CellDelegate):
    """Asks for the room that a cell's text needs, and no more, so that many columns find place."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        text, detail = str(index.data() or ""), str(index.data(DETAIL) or "")
        bold = bool(index.data(STRONG))
        width = max(QFontMetrics(theme.base_font(bold=bold)).horizontalAdvance(text),
                    QFontMetrics(theme.base_font(theme.SMALL_SIZE)).horizontalAdvance(detail))
        room = 2 * theme.SPACE_S if index.data(CHIP) else 2
        return QSize(width + 2 * INSET + room, theme.scaled(TWO_LINES if detail else ONE_LINE))


class FigureDelegate(TightDelegate):
    """A figure with its interval below it, aligned like the column's other figures."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        if index.data(CHIP):
            super().paint(painter, option, index)
            return
        painter.save()
        inner = self._paint_ground(painter, option)
        align = Qt.AlignmentFlag(index.data(Qt.ItemDataRole.TextAlignmentRole))
        text, detail, strong = str(index.data() or ""), index.data(DETAIL), bool(index.data(STRONG))
        if detail:
            inner, below = table_cells.halves(inner)
            self._paint_text(painter, below, str(detail), theme.SMALL_SIZE, "muted", False, align,
                             Qt.TextElideMode.ElideRight)
        self._paint_text(painter, inner, text, theme.TEXT_SIZE, "ink", strong, align)
        theme.draw_item_focus(painter, option)
        painter.restore()


class FigureTable(QTableView):
    """Shows a FigureModel.

    Args:
        name: for a screen reader.
        grows: the table is as high as its rows, up to `most`; otherwise it takes the room it is given, and scrolls.
        first: pixels that the names in the first column get at least.
    """

    def __init__(self, name: str, *, grows: bool = False, most: int = 12, first: int = FIRST_WIDTH):
        super().__init__()
        self.figures = FigureModel(self)
        self.setModel(self.figures)
        self._grows, self._most, self._first = grows, most, first
        table_cells.dress(self, ONE_LINE, name)
        self.setItemDelegate(FigureDelegate(self))
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.horizontalHeader().setMaximumSectionSize(WIDEST)
        self.horizontalHeader().setMinimumSectionSize(50)
        self.horizontalHeader().setTextElideMode(Qt.TextElideMode.ElideMiddle)

    def show_rows(self, headers: Sequence[str], rows: Sequence[Sequence[Figure]], figures: bool = True) -> None:
        self.figures.show_rows(headers, rows, figures)
        tall = any(cell.detail for row in rows for cell in row)
        height = theme.scaled(TWO_LINES if tall else ONE_LINE)
        self.verticalHeader().setDefaultSectionSize(height)
        self._share_room()
        if self._grows:
            header = self.horizontalHeader().sizeHint().height()
            bar = self.horizontalScrollBar().sizeHint().height() if self._too_wide() else 0
            self.setFixedHeight(header + height * min(self._most, max(1, len(rows))) + bar + 2 * theme.FOCUS_RING)

    def _too_wide(self) -> bool:
        return self._width_of_figures() + self._first > self.viewport().width() > 0

    def _width_of_figures(self) -> int:
        header = self.horizontalHeader()
        return sum(header.sectionSize(column) for column in range(1, len(self.figures.headers)))

    def _share_room(self) -> None:
        """The first column takes what the figures leave, but never so little that its names can't be read."""
        if not self.figures.headers:
            return
        header = self.horizontalHeader()
        mode = QHeaderView.ResizeMode.Interactive if self._too_wide() else QHeaderView.ResizeMode.Stretch
        if header.sectionResizeMode(0) != mode:
            header.setSectionResizeMode(0, mode)
        if mode == QHeaderView.ResizeMode.Interactive:
            header.resizeSection(0, self._first)

    def resizeEvent(self, event: object) -> None:
        super().resizeEvent(event)  # type: ignore[arg-type]
        self._share_room()


# -- A small question mark that tells what a figure means, in two sentences.


class MeaningButton(IconButton):
    """Beside a figure. It shows the meaning until the user clicks anywhere or presses Esc.

    Args:
        keys: of `TERMS`; several for a table of figures.
    """

    def __init__(self, *keys: str):
        super().__init__("question", "", size=13, name=f"meaning_{keys[0] if keys else ''}", clicked=self._show)
        self.setProperty("kind", "meaning")
        self.set_terms(keys)

    def set_terms(self, keys: Sequence[str]) -> None:
        """Tell of other words."""
        self.keys = tuple(keys)
        words = ", ".join(map(terms.name, keys))
        self.setToolTip(tr("What does this mean? {words}", words=words))
        self.setAccessibleName(tr("What does this mean: {words}", words=words))
        if self.parent() is not None or not keys:  # else it would be shown as a window of its own
            self.setVisible(bool(keys))

    def text_shown(self) -> str:
        """What it tells."""
        told = ((terms.name(key), *terms.sentences(key)) for key in self.keys)
        return "\n\n".join(tr("{name}: {what} {so}", name=name, what=what, so=so)
                           for name, what, so in told)

    def _show(self) -> None:
        QWhatsThis.showText(self.mapToGlobal(self.rect().bottomLeft()), self.text_shown(), self)
        announce(self, self.text_shown())


# -- What the page of a run is laid out with: a column, and figures that line up.


def page_and_column() -> tuple[QWidget, QVBoxLayout]:
    """A page that is scrolled, and its column."""
    page = QWidget()
    column = column_in(page, spacing=theme.SPACE_M, margins=(0, 0, theme.SPACE_S, 0))
    return page, column


class Grid(QGridLayout):
    """A few rows of figures or sentences that line up.

    Args:
        columns: beside the first; one column takes text, several take figures.
    """

    def __init__(self, columns: int):
        super().__init__()
        self._columns = columns
        self.setHorizontalSpacing(theme.SPACE_L)
        self.setVerticalSpacing(theme.SPACE_XS)
        for column in range(1, columns + 1):
            self.setColumnStretch(column, 1)

    def set_rows(self, rows: list[tuple[str, ...]], strong_row: int = -1,
                 terms: Mapping[str, str] | None = None) -> None:
        """Show other rows.

        Args:
            terms: key of what a text at the head of a row or a column means.
        """
        clear(self)
        for number, row in enumerate(rows):
            for column, text in enumerate(row):
                figures = self._columns > 1
                head = column == 0 or (figures and number == 0)
                role = "small" if head and number != strong_row else "strong" if number == strong_row else "body"
                sentence = text.endswith((".", "।", "۔"))  # is read to its end; a path is known by both of its ends
                label = text_label(text, role, wrap=sentence) if head or figures or sentence else ElidedLabel(
                    text, role)
                if head and not figures:
                    label.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
                if figures and column:
                    label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                term = (terms or {}).get(text) if head else None
                if term is None:
                    self.addWidget(label, number, column)
                    continue
                pair = QWidget()
                line = row_in(pair, spacing=2)
                if figures:
                    line.addStretch(1)
                fill(line, label, MeaningButton(term))
                if not figures:
                    line.addStretch(1)
                # Beside a sentence of several lines, both stay on the first.
                self.addWidget(pair, number, column,
                               Qt.AlignmentFlag.AlignTop if not figures else Qt.AlignmentFlag(0))


def number_text(value: float | None) -> str:
    if value is None:
        return "—"
    return f"{value:.2f}" if math.isfinite(value) else tr("not a number")


def perplexity_text(loss: float | None) -> str:
    """exp(loss): among how many equally likely tokens the model would have to choose."""
    return "—" if loss is None or not loss < 50 else i18n.number_text(math.exp(loss), ",.1f")
