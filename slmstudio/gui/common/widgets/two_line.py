"""Lists whose items are a name, a line about it, and a chip at the right."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.labels import plain_tip

DETAIL, CHIP, CHIP_KIND, VALUE = (Qt.ItemDataRole.UserRole + offset for offset in range(4))
_CHIP_COLOURS = {"plain": ("hover", "muted"), "accent": ("accent_ground", "accent"),
                 **{kind: (f"{kind}_ground", kind) for kind in ("ok", "warn", "bad")}}


class TwoLineList(QListWidget):
    """A list of two-line items, each with the Python object it stands for.

    Args:
        elide: what a name loses that is too long: its middle, as with files, or its end, as with sentences.
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

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        title = QFontMetrics(theme.base_font(bold=True)).height()
        detail = QFontMetrics(theme.base_font(theme.SMALL_SIZE)).height()
        return QSize(0, title + detail + 2 * self.PADDING)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem,
              index: QModelIndex | QPersistentModelIndex) -> None:
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
        self._paint_text(painter, upper, title, theme.TEXT_SIZE, selected, "ink", self._elide)
        self._paint_text(painter, lower, str(index.data(DETAIL) or ""), theme.SMALL_SIZE, False, "muted",
                         Qt.TextElideMode.ElideRight)
        theme.draw_item_focus(painter, option)
        painter.restore()

    def _paint_text(self, painter: QPainter, rect: QRect, text: str, size: int, bold: bool, colour: str,
                    elide: Qt.TextElideMode) -> None:
        painter.setFont(theme.base_font(size, bold))
        painter.setPen(theme.colour(colour))
        shown = painter.fontMetrics().elidedText(text, elide, rect.width())
        painter.drawText(rect, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), shown)

    def _paint_chip(self, painter: QPainter, inner: QRect, index: QModelIndex | QPersistentModelIndex,
                    selected: bool) -> int:
        """Paint the chip in the upper right corner. Returns the width it takes."""
        text = str(index.data(CHIP) or "")
        if not text:
            return 0
        ground, ink = _CHIP_COLOURS[str(index.data(CHIP_KIND))]
        ground = "card" if selected and ground == "accent_ground" else ground
        painter.setFont(theme.base_font(theme.SMALL_SIZE))
        width = painter.fontMetrics().horizontalAdvance(text) + 2 * theme.SPACE_S
        height = painter.fontMetrics().height() + 2
        chip = QRect(inner.right() - width + 1, inner.top() - 1, width, height)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour(ground))
        painter.drawRoundedRect(chip, height / 2, height / 2)
        painter.setPen(theme.colour(ink))
        painter.drawText(chip, int(Qt.AlignmentFlag.AlignCenter), text)
        return width + theme.SPACE_S
