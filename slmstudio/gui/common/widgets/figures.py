"""A table of figures: a value, the interval below it, a chip. Any of them can be saved as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QAbstractTableModel, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QStyleOptionViewItem, QTableView, QWidget

from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets import table_cells
from slmstudio.gui.common.widgets.labels import plain_tip
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
    """

    text: str
    detail: str = ""
    raw: object = None
    tip: str = ""
    chip: str = ""
    strong: bool = False


class FigureModel(QAbstractTableModel):
    """Rows of figures below headings. The first column takes names, the others take figures or text."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.headers: list[str] = []
        self.rows: list[list[Figure]] = []
        self.figures = True

    def show_rows(self, headers: Sequence[str], rows: Sequence[Sequence[Figure]], figures: bool = True) -> None:
        """
        Args:
            figures: all columns but the first are aligned to the right, as numbers are.
        """
        self.beginResetModel()
        self.headers, self.rows, self.figures = list(headers), [list(row) for row in rows], figures
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
            return plain_tip(self.headers[section])
        return self._alignment(section) if role == Qt.ItemDataRole.TextAlignmentRole else None

    def _alignment(self, column: int) -> int:
        side = Qt.AlignmentFlag.AlignRight if column and self.figures else Qt.AlignmentFlag.AlignLeft
        return int(side | Qt.AlignmentFlag.AlignVCenter)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        cell = self.rows[index.row()][index.column()]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return self._alignment(index.column())
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{cell.text} {cell.detail}".strip()
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
    """

    def __init__(self, name: str, *, grows: bool = False, most: int = 12):
        super().__init__()
        self.figures = FigureModel(self)
        self.setModel(self.figures)
        self._grows, self._most = grows, most
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
        return self._width_of_figures() + FIRST_WIDTH > self.viewport().width() > 0

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
            header.resizeSection(0, FIRST_WIDTH)

    def resizeEvent(self, event: object) -> None:
        super().resizeEvent(event)  # type: ignore[arg-type]
        self._share_room()
