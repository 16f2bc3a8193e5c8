"""Lists whose items are a name, a line about it, and a chip at the right."""

from __future__ import annotations

from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.labels import plain_tip
from slmstudio.gui.common.widgets.table_cells import CHIP_COLOURS, Index, paint_chip, paint_text

DETAIL, CHIP, CHIP_KIND, VALUE = (Qt.ItemDataRole.UserRole + offset for offset in range(4))


class TwoLineList(QListWidget):
    """A list of two-line items, each with the Python object it stands for.

    Args:
        elide: what is cut from a name that is too long: its middle, as with files, or its end, as with sentences.
    """

    def __init__(self, name: str, elide: Qt.TextElideMode = Qt.TextElideMode.ElideMiddle):
        super().__init__()
        self.setAccessibleName(name)
        self.setItemDelegate(_TwoLineDelegate(self, elide))
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QListWidget.ScrollMode.ScrollPerPixel)
        self.setSpacing(1)
        theme.THEME.changed.connect(self.viewport().update)

    def add(self, title: str, detail: str, value: object, *, chip: str = "", kind: str = "plain",
            tooltip: str = "") -> QListWidgetItem:
        """Append an item that stands for `value`."""
        item = QListWidgetItem(title)
        item.setData(VALUE, value)
        self.addItem(item)
        self.change(item, detail=detail, chip=chip, kind=kind)
        item.setToolTip(plain_tip(tooltip or title))
        return item

    @staticmethod
    def change(item: QListWidgetItem, *, detail: str | None = None, chip: str = "", kind: str = "plain") -> None:
        """Write the item's second line and its chip again."""
        if detail is not None:
            item.setData(DETAIL, detail)
        item.setData(CHIP, chip)
        item.setData(CHIP_KIND, kind)
        spoken = [item.text(), str(item.data(DETAIL) or ""), chip]
        item.setData(Qt.ItemDataRole.AccessibleTextRole, ", ".join(part for part in spoken if part))

    def value(self) -> object:
        """What the current item stands for; None without one."""
        item = self.currentItem()
        return item.data(VALUE) if item is not None else None

    def select_value(self, value: object) -> None:
        for row in range(self.count()):
            if self.item(row).data(VALUE) is value or self.item(row).data(VALUE) == value:
                self.setCurrentRow(row)


class _TwoLineDelegate(QStyledItemDelegate):
    PADDING = 8

    def __init__(self, parent: QWidget, elide: Qt.TextElideMode):
        super().__init__(parent)
        self._elide = elide

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        title = QFontMetrics(theme.base_font(bold=True)).height()
        detail = QFontMetrics(theme.base_font(theme.SMALL_SIZE)).height()
        return QSize(0, title + detail + 2 * self.PADDING)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        rect: QRect = option.rect
        state = option.state
        selected = bool(state & QStyle.StateFlag.State_Selected)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if selected or state & QStyle.StateFlag.State_MouseOver:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.colour("accent_ground" if selected else "hover"))
            painter.drawRoundedRect(rect, theme.RADIUS_SMALL, theme.RADIUS_SMALL)
        inner = rect.adjusted(self.PADDING, self.PADDING, -self.PADDING, -self.PADDING)
        chip_width = self._paint_chip(painter, inner, index, selected)
        upper = QRect(inner.left(), inner.top(), inner.width() - chip_width, inner.height() // 2)
        lower = inner.adjusted(0, inner.height() // 2, 0, 0)
        title = str(index.data(Qt.ItemDataRole.DisplayRole) or "")
        left = Qt.AlignmentFlag.AlignLeft
        paint_text(painter, upper, title, theme.TEXT_SIZE, "ink", selected, left, self._elide)
        paint_text(painter, lower, str(index.data(DETAIL) or ""), theme.SMALL_SIZE, "muted", False, left,
                   Qt.TextElideMode.ElideRight)
        theme.draw_item_focus(painter, option)
        painter.restore()

    def _paint_chip(self, painter: QPainter, inner: QRect, index: Index, selected: bool) -> int:
        """Paint the chip in the upper right corner. Returns the width it takes."""
        text = str(index.data(CHIP) or "")
        if not text:
            return 0
        ground, ink = CHIP_COLOURS[str(index.data(CHIP_KIND))]
        ground = "card" if selected and ground == "accent_ground" else ground
        painter.setFont(theme.base_font(theme.SMALL_SIZE))
        width = painter.fontMetrics().horizontalAdvance(text) + 2 * theme.SPACE_S
        height = painter.fontMetrics().height() + 2
        paint_chip(painter, QRect(inner.right() - width + 1, inner.top() - 1, width, height), text, ground, ink)
        return width + theme.SPACE_S
