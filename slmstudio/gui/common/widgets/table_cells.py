"""Cells of a table: a name with a line below it, a number at the right, or a chip."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QFontMetrics, QHelpEvent, QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QToolTip,
)

from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.labels import plain_tip

DETAIL, CHIP = (Qt.ItemDataRole.UserRole + 16 + offset for offset in range(2))
"""Roles: the small line below the text, and the chip's kind."""
CHIP_COLOURS = {"plain": ("hover", "muted"), "accent": ("accent_ground", "accent"),
                **{kind: (f"{kind}_ground", kind) for kind in ("ok", "warn", "bad")}}
INSET = theme.SPACE_S + 3  # where the header's text begins
Index = QModelIndex | QPersistentModelIndex
NO_PARENT = QModelIndex()


class CellDelegate(QStyledItemDelegate):
    """Paints by the roles that a cell has.

    Args:
        sentences: text without room loses its end; else what looks like a path loses its middle.
    """

    def __init__(self, parent: QAbstractItemView, *, sentences: bool = False):
        super().__init__(parent)
        self._sentences = sentences

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        hint = super().sizeHint(option, index)
        return QSize(hint.width() + 2 * INSET, hint.height())

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        painter.save()
        inner = self._paint_ground(painter, option)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)  # from here on: it would blur the line
        text = str(index.data(Qt.ItemDataRole.DisplayRole) or "")
        chip, detail = index.data(CHIP), index.data(DETAIL)
        if chip and text:
            self._paint_chip(painter, inner, text, str(chip))
        elif detail:
            upper, lower = halves(inner)
            self._paint_text(painter, upper, text, theme.TEXT_SIZE, "ink", True)
            self._paint_text(painter, lower, str(detail), theme.SMALL_SIZE, "muted", False,
                             elide=Qt.TextElideMode.ElideRight)
        else:
            align = index.data(Qt.ItemDataRole.TextAlignmentRole) or Qt.AlignmentFlag.AlignLeft
            path = not self._sentences and ("/" in text or "\\" in text)
            elide = Qt.TextElideMode.ElideMiddle if path else Qt.TextElideMode.ElideRight
            self._paint_text(painter, inner, text, theme.TEXT_SIZE, "ink", False, Qt.AlignmentFlag(align), elide)
        theme.draw_item_focus(painter, option)
        painter.restore()

    def _paint_ground(self, painter: QPainter, option: QStyleOptionViewItem) -> QRect:
        """Whether it is selected, and the line below it. Returns what is left for the text."""
        rect: QRect = option.rect  # type: ignore[attr-defined]
        if option.state & QStyle.StateFlag.State_Selected:  # type: ignore[attr-defined]
            painter.fillRect(rect, theme.colour("accent_ground"))
        painter.setPen(theme.colour("line"))
        painter.drawLine(rect.bottomLeft(), rect.bottomRight())
        return rect.adjusted(INSET, theme.SPACE_XS, -INSET, -theme.SPACE_XS)

    def helpEvent(self, event: QHelpEvent, view: QAbstractItemView, option: QStyleOptionViewItem,
                  index: Index) -> bool:
        """A cell that has nothing else to say, and whose text has lost a part, tells the whole text."""
        text = str(index.data(Qt.ItemDataRole.DisplayRole) or "")
        room = view.visualRect(index).width() - 2 * INSET
        cut = QFontMetrics(theme.base_font(bold=bool(index.data(DETAIL)))).horizontalAdvance(text) > room
        if event.type() == QEvent.Type.ToolTip and cut and not index.data(Qt.ItemDataRole.ToolTipRole):
            QToolTip.showText(event.globalPos(), plain_tip(text), view)
            return True
        return super().helpEvent(event, view, option, index)

    def _paint_text(self, painter: QPainter, rect: QRect, text: str, size: int, colour: str, bold: bool,
                    align: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft,
                    elide: Qt.TextElideMode = Qt.TextElideMode.ElideMiddle) -> None:
        paint_text(painter, rect, text, size, colour, bold, align, elide)

    def _paint_chip(self, painter: QPainter, inner: QRect, text: str, kind: str) -> None:
        ground, ink = CHIP_COLOURS[kind]
        painter.setFont(theme.base_font(theme.SMALL_SIZE))
        metrics = painter.fontMetrics()
        width = min(inner.width(), metrics.horizontalAdvance(text) + 2 * theme.SPACE_S)
        height = metrics.height() + 2
        chip = QRect(inner.left(), inner.center().y() - height // 2, width, height)
        shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, width - theme.SPACE_S)
        paint_chip(painter, chip, shown, ground, ink)


def halves(rect: QRect) -> tuple[QRect, QRect]:
    """The upper and the lower half, for a line of text each."""
    half = rect.height() // 2
    return (QRect(rect.left(), rect.top(), rect.width(), half),
            QRect(rect.left(), rect.top() + half, rect.width(), rect.height() - half))


def paint_text(painter: QPainter, rect: QRect, text: str, size: int, colour: str, bold: bool, align: Qt.AlignmentFlag,
               elide: Qt.TextElideMode) -> None:
    """One line in a colour of the theme, which loses what has no room. Lines of all scripts have the same baseline."""
    painter.setFont(theme.base_font(size, bold))
    painter.setPen(theme.colour(colour))
    letters = painter.fontMetrics()
    shown = letters.elidedText(text, elide, rect.width())
    room = QSize(letters.horizontalAdvance(shown), letters.height())
    place = QStyle.alignedRect(painter.layoutDirection(), align | Qt.AlignmentFlag.AlignVCenter, room, rect)
    painter.drawText(place.left(), place.top() + letters.ascent(), shown)


def paint_chip(painter: QPainter, chip: QRect, text: str, ground: str, ink: str) -> None:
    """A few words on a rounded ground, in the font that is on."""
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(theme.colour(ground))
    painter.drawRoundedRect(chip, chip.height() / 2, chip.height() / 2)
    painter.setPen(theme.colour(ink))
    painter.drawText(chip, int(Qt.AlignmentFlag.AlignCenter), text)


def dress(table: QTableView, row_height: int, name: str) -> None:
    """Make a table look and behave like the others: rows are selected whole, the first column takes what is left."""
    table.setAccessibleName(name)
    table.setItemDelegate(CellDelegate(table))
    table.setShowGrid(False)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
    table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    table.setTabKeyNavigation(False)
    table.verticalHeader().hide()
    theme.grow(table.verticalHeader(), "setDefaultSectionSize", row_height)
    header = table.horizontalHeader()
    header.setHighlightSections(False)
    header.setTextElideMode(Qt.TextElideMode.ElideRight)
    header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
    theme.THEME.changed.connect(table.viewport().update)
