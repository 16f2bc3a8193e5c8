"""A row of a dataset as people read it: who said what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QRect, Qt, QTimer
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.labels import breakable, text_label

if TYPE_CHECKING:
    from slmstudio.core.data.record import Record

SHARE_OF_WIDTH = 0.92
SHOWN_CHARACTERS = 20_000
"""More than this of one message makes laying out slow; the rest is only counted."""


class Bubble(QFrame):
    """One message, as wide as its text, at most nine tenths of the room."""

    def __init__(self, role: str, text: str, caption: str = "", parent: QWidget | None = None):
        super().__init__(parent)
        self.setProperty("bubble", role)
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 8, 12, 8)
        column.setSpacing(2)
        self._caption = text_label(caption, "small")
        self.text = text_label(breakable(text), wrap=True)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse
                                          | Qt.TextInteractionFlag.TextSelectableByKeyboard)
        self.text.setAccessibleName(caption or role)
        column.addWidget(self._caption)
        self._caption.setVisible(bool(caption))
        column.addWidget(self.text)

    def fit(self, available: int) -> None:
        """Take the width that the text wants, at most its share of `available` pixels."""
        room = max(80, int(available * SHARE_OF_WIDTH) - 24)
        metrics = self.text.fontMetrics()
        flags = int(Qt.TextFlag.TextWordWrap | Qt.TextFlag.TextExpandTabs)
        wanted = metrics.boundingRect(QRect(0, 0, room, 1 << 22), flags, self.text.text()).width() + 2
        self.text.setFixedWidth(min(room, max(wanted, self._caption.sizeHint().width())))


class BubbleArea(QScrollArea):
    """A scrolled column with bubbles, which keep to its width.

    Args:
        margin: what lies beside them, in pixels.
    """

    def __init__(self, margin: int, parent: QWidget | None = None):
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._margin = margin
        self.bubbles: list[Bubble] = []
        # The width changes many times in one resize; laying out once at its end is enough.
        self._later = QTimer(self, interval=0, singleShot=True)
        self._later.timeout.connect(self._fit)

    def add(self, column: QVBoxLayout, role: str, text: str, caption: str) -> Bubble:
        """A bubble below the others of a column: the user's at the right, others at the left."""
        bubble = Bubble(role, text, caption)
        row = QHBoxLayout()
        if role == "user":
            row.addStretch(1)
        row.addWidget(bubble)
        if role != "user":
            row.addStretch(1)
        column.addLayout(row)
        self.bubbles.append(bubble)
        return bubble

    def show_page(self, page: QWidget) -> None:
        self.setWidget(page)
        self._fit()

    def _fit(self) -> None:
        for bubble in self.bubbles:
            bubble.fit(self.viewport().width() - self._margin)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._later.start()


class ConversationView(BubbleArea):
    """The messages of one row, top to bottom; or its text."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(2 * theme.CARD_PADDING, parent)
        self.setAccessibleName(self.tr("Conversation"))

    def show_record(self, record: Record | None) -> None:
        """Show this row, or nothing."""
        page = QWidget()
        page.setProperty("plain", True)
        column = QVBoxLayout(page)
        column.setContentsMargins(*[theme.CARD_PADDING] * 4)
        column.setSpacing(theme.SPACE_M)
        self.bubbles = []
        for role, caption, text in self._said(record) if record is not None else ():
            self.add(column, role, self._cut(text), caption)
        column.addStretch(1)
        self.show_page(page)

    def _said(self, record: Record) -> list[tuple[str, str, str]]:
        """What the row says: role, caption and text of each part."""
        if record.text is not None:
            return [("assistant", self.tr("text"), record.text)]
        names = {"user": self.tr("user"), "assistant": self.tr("assistant"), "system": self.tr("system")}
        said = [(message["role"], names[message["role"]], message["content"]) for message in record.messages]
        role, _, answer = said[-1]
        if record.rejected is not None:
            said[-1:] = [(role, self.tr("chosen answer"), answer), (role, self.tr("rejected answer"), record.rejected)]
        elif record.desirable is not None:
            mark = self.tr("assistant · a good answer") if record.desirable else self.tr("assistant · a bad answer")
            said[-1] = (role, mark, answer)
        return said

    def _cut(self, text: str) -> str:
        if len(text) <= SHOWN_CHARACTERS:
            return text
        more = self.tr("{count} more characters").format(count=f"{len(text) - SHOWN_CHARACTERS:,}")
        return f"{text[:SHOWN_CHARACTERS]}\n… {more}"
