"""Cells of tables and lists: a name with a line below it, a number at the right, or a chip."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QModelIndex, QPersistentModelIndex, QRect, QSize, Qt, QTimer
from PySide6.QtGui import QFontMetrics, QHelpEvent, QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QListWidget,
    QListWidgetItem,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QToolTip,
    QWidget,
)

from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.labels import elided_apart, plain_tip

DETAIL, CHIP = (Qt.ItemDataRole.UserRole + 16 + offset for offset in range(2))
"""Roles: the small line below the text, and the chip's kind."""
CHIP_COLOURS = {"plain": ("hover", "muted"), "accent": ("accent_ground", "accent"),
                **{kind: (f"{kind}_ground", kind) for kind in ("ok", "warn", "bad")}}
INSET = theme.SPACE_S + 3  # where the header's text begins
LAID_OUT_MS = 100
"""After the look has changed, by then rows have their new heights."""
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
            others = (str(index.siblingAtRow(row).data()) for row in range(index.model().rowCount()))
            text = elided_apart(text, others, QFontMetrics(theme.base_font(theme.TEXT_SIZE, True)), upper.width())
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
    follow_look(table)


def follow_look(view: QAbstractItemView) -> None:
    """Paint a table or a list in new colours, and keep its current row in sight where text becomes larger."""
    theme.THEME.changed.connect(view.viewport().update)
    laid_out = QTimer(view, interval=LAID_OUT_MS, singleShot=True, timeout=lambda: view.scrollTo(view.currentIndex()))
    theme.THEME.changed.connect(laid_out.start)


# -- Lists whose items are a name, a line about it, and a chip at the right.

CHIP_TEXT, VALUE = (Qt.ItemDataRole.UserRole + 18 + offset for offset in range(2))
"""Roles: the words in the chip, and what the item stands for."""


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
        follow_look(self)

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
        item.setData(CHIP_TEXT, chip)
        item.setData(CHIP, kind)
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
        text = str(index.data(CHIP_TEXT) or "")
        if not text:
            return 0
        ground, ink = CHIP_COLOURS[str(index.data(CHIP))]
        ground = "card" if selected and ground == "accent_ground" else ground
        painter.setFont(theme.base_font(theme.SMALL_SIZE))
        width = painter.fontMetrics().horizontalAdvance(text) + 2 * theme.SPACE_S
        height = painter.fontMetrics().height() + 2
        paint_chip(painter, QRect(inner.right() - width + 1, inner.top() - 1, width, height), text, ground, ink)
        return width + theme.SPACE_S
