"""Small parts of the review: a button that shows its key, a list with counts, and marked text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QAbstractListModel, QRect, QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics, QPainter, QPaintEvent, QPalette, QResizeEvent, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import (
    QAbstractItemView,
    QListView,
    QPlainTextEdit,
    QPushButton,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionButton,
    QStyleOptionViewItem,
    QStylePainter,
    QTextEdit,
    QWidget,
)

from slmstudio.core.i18n import number_text, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import Slot
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import plain_tip
from slmstudio.gui.common.widgets.table_cells import CHIP_COLOURS, NO_PARENT, Index, follow_look, paint_chip, paint_text

QUIET = 0.72
"""Opacity of a key on its button: quieter than the words, and still read with ease."""


class KeyButton(QPushButton):
    """A button that shows the key which does the same. A click leaves the focus where it is, so that the keys keep
    working; the Tab key leads to it.

    Args:
        kind: as of `SecondaryButton`, or "primary".
    """

    def __init__(self, text: str, key: str, tip: str, *, kind: str = "plain", name: str = "",
                 clicked: Slot | None = None):
        super().__init__(text)
        self._key = key
        self.setProperty("kind", kind)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        named(self, name, tip=tr("{what} Key: {key}", what=tip, key=key))
        if clicked is not None:
            self.clicked.connect(clicked)

    def _key_width(self) -> int:
        return theme.SPACE_S + self.fontMetrics().horizontalAdvance(self._key)

    def sizeHint(self) -> QSize:
        return super().sizeHint() + QSize(self._key_width(), 0)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter, option = QStylePainter(self), QStyleOptionButton()
        self.initStyleOption(option)
        text, option.text = option.text, ""  # type: ignore[attr-defined]
        painter.drawControl(QStyle.ControlElement.CE_PushButton, option)
        painter.setPen(self.palette().color(QPalette.ColorRole.ButtonText))
        letters = painter.fontMetrics()
        width = letters.horizontalAdvance(text)
        left = (self.width() - width - self._key_width()) // 2
        middle = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft)
        painter.drawText(QRect(left, 0, width + 1, self.height()), middle, text)
        painter.setOpacity(QUIET)
        painter.drawText(QRect(left + width + theme.SPACE_S, 0, self.width(), self.height()), middle, self._key)


# -- A list of a few choices, each with how many there are.

COUNT, KIND, SMALL = (Qt.ItemDataRole.UserRole + number for number in range(3))


@dataclass(frozen=True)
class Counted:
    """A line of a `CountList`.

    Attributes:
        value: what it stands for.
        kind: of the chip, as of `Chip`.
        small: it is a sentence, which wraps.
    """

    text: str
    value: object
    count: int
    kind: str = "plain"
    small: bool = False


class _CountModel(QAbstractListModel):
    def __init__(self, parent: QListView):
        super().__init__(parent)
        self.lines: list[Counted] = []

    def show_lines(self, lines: Sequence[Counted]) -> None:
        same = [each.value for each in lines] == [each.value for each in self.lines]
        if same:  # the current one stays
            self.lines = list(lines)
            self.dataChanged.emit(self.index(0), self.index(len(lines) - 1))
            return
        self.beginResetModel()
        self.lines = list(lines)
        self.endResetModel()

    def rowCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self.lines)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        line = self.lines[index.row()]
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{line.text}, {number_text(line.count)}"
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip(line.text)
        return {Qt.ItemDataRole.DisplayRole: line.text, COUNT: number_text(line.count),
                KIND: line.kind, SMALL: line.small}.get(role)


class _CountDelegate(QStyledItemDelegate):
    """Paints a line, or a small sentence in several."""

    def _shares(self, rect: QRect, index: Index) -> tuple[QRect, QRect]:
        """The room of the text, and that of the chip with the count."""
        letters = QFontMetrics(theme.base_font(theme.SMALL_SIZE))
        wide = letters.horizontalAdvance(str(index.data(COUNT))) + 2 * theme.SPACE_S
        inner = rect.adjusted(theme.SPACE_S, theme.SPACE_XS, -theme.SPACE_XS,
                              -theme.SPACE_XS)
        return (inner.adjusted(0, 0, -wide - theme.SPACE_S, 0),
                QRect(inner.right() - wide + 1, inner.top(), wide, letters.height() + 2))

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        high = theme.line_height()
        if index.data(SMALL):
            view: QWidget = self.parent().viewport()  # type: ignore[attr-defined]
            room, _ = self._shares(QRect(0, 0, view.width(), 1000), index)
            high = QFontMetrics(theme.base_font(theme.SMALL_SIZE)).boundingRect(
                room, int(Qt.TextFlag.TextWordWrap), str(index.data())).height()
        return QSize(0, high + 2 * theme.SPACE_XS)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        rect: QRect = option.rect  # type: ignore[attr-defined]
        selected = bool(option.state & QStyle.StateFlag.State_Selected)  # type: ignore[attr-defined]
        if selected or option.state & QStyle.StateFlag.State_MouseOver:  # type: ignore[attr-defined]
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.colour("accent_ground" if selected else "hover"))
            painter.drawRoundedRect(rect, theme.RADIUS_SMALL, theme.RADIUS_SMALL)
        room, chip = self._shares(rect, index)
        painter.setFont(theme.base_font(theme.SMALL_SIZE))
        ground, ink = CHIP_COLOURS[str(index.data(KIND))]
        paint_chip(painter, chip, str(index.data(COUNT)), "card" if selected else ground, ink)
        if index.data(SMALL):
            painter.setPen(theme.colour("ink" if selected else "muted"))
            painter.drawText(room, int(Qt.TextFlag.TextWordWrap), str(index.data()))
        else:
            paint_text(painter, room, str(index.data()), theme.TEXT_SIZE, "ink", selected,
                       Qt.AlignmentFlag.AlignLeft, Qt.TextElideMode.ElideRight)
        theme.draw_item_focus(painter, option)
        painter.restore()


class CountList(QListView):
    """A few lines with counts, one of which is chosen, as high as they are. A click leaves the focus where it is.

    Signals:
        chosen(object): the user chose the line of this value.
    """

    chosen = Signal(object)

    def __init__(self, accessible: str, tip: str, name: str):
        super().__init__()
        named(self, name, accessible, tip)
        self.counts = _CountModel(self)
        self.setModel(self.counts)
        self.setItemDelegate(_CountDelegate(self))
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMouseTracking(True)
        for across in (self.setHorizontalScrollBarPolicy, self.setVerticalScrollBarPolicy):
            across(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.selectionModel().currentChanged.connect(lambda now, before: self._tell(now))
        self._quiet = False
        follow_look(self)
        theme.THEME.changed.connect(self._fit)

    def show_lines(self, lines: Sequence[Counted], value: object) -> None:
        """Show these, the one of this value, if it is among them, as the chosen one."""
        self._quiet = True
        self.counts.show_lines(lines)
        row = next((at for at, each in enumerate(lines) if each.value == value), -1)
        if self.currentIndex().row() != row:
            self.setCurrentIndex(self.counts.index(row))  # none, where there is no such line
        self._quiet = False
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self.scheduleDelayedItemsLayout()
            self._fit()

    def _fit(self) -> None:
        high = sum(self.sizeHintForRow(row) for row in range(self.counts.rowCount()))
        self.setFixedHeight(high + 2 * theme.FOCUS_RING)

    def _tell(self, index: Index) -> None:
        if index.isValid() and not self._quiet:
            self.chosen.emit(self.counts.lines[index.row()].value)


# -- Text with a ground of its own.


def mark(field: QTextEdit | QPlainTextEdit, begin: int, end: int, colour: str) -> None:
    """Give the characters from `begin` to `end` of a field's text a ground, and no others; nothing where both are the
    same.

    Args:
        begin, end: in characters, as Python counts them.
        colour: a token of the theme.
    """
    field.setExtraSelections([])
    if begin >= end:
        return
    text = field.toPlainText()
    selection = QTextEdit.ExtraSelection()
    selection.cursor = QTextCursor(field.document())  # type: ignore[attr-defined]
    selection.cursor.setPosition(_units(text[:begin]))  # type: ignore[attr-defined]
    selection.cursor.setPosition(_units(text[:end]), QTextCursor.MoveMode.KeepAnchor)  # type: ignore[attr-defined]
    form = QTextCharFormat()
    form.setBackground(theme.colour(colour))
    selection.format = form  # type: ignore[attr-defined]
    field.setExtraSelections([selection])


def _units(text: str) -> int:
    """How long Qt takes a text to be: it counts in UTF-16."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
