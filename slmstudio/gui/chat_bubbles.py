"""A conversation that grows while it is read."""

from __future__ import annotations

from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from slmstudio.gui import theme
from slmstudio.gui.throttle import Throttle
from slmstudio.gui.widgets import breakable, text_label

SHARE_OF_WIDTH = 0.92
CURSOR = "▍"
PADDING = 12


class ChatBubble(QFrame):
    """One message. Questions are shown as typed, answers as Markdown."""

    def __init__(self, role: str, text: str, who: str, parent: QWidget | None = None):
        super().__init__(parent)
        self.setProperty("bubble", role)
        self.role, self.content = role, text
        self.writing = False
        self._room = 0
        self.label = text_label(wrap=True)
        self.label.setTextFormat(Qt.TextFormat.PlainText if role == "user" else Qt.TextFormat.MarkdownText)
        self.label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse
                                           | Qt.TextInteractionFlag.TextSelectableByKeyboard)
        self.label.setAccessibleName(who)
        column = QVBoxLayout(self)
        column.setContentsMargins(PADDING, theme.SPACE_S, PADDING, theme.SPACE_S)
        column.addWidget(self.label)
        self.show_text()

    def show_text(self) -> None:
        """Draw the message as it is now."""
        text = breakable(self.content + CURSOR if self.writing else self.content)
        self.label.setText(text if self.role == "user" else _hard_breaks(text))
        self._fit()

    def fit(self, available: int) -> None:
        """Be as wide as the text wants, at most nine tenths of `available` pixels."""
        self._room = max(80, int(available * SHARE_OF_WIDTH) - 2 * PADDING)
        self._fit()

    def _fit(self) -> None:
        if not self._room:
            return
        bounds = self.label.fontMetrics().boundingRect(
            QRect(0, 0, self._room, 1 << 22), int(Qt.TextFlag.TextWordWrap), self.label.text())
        wide = bounds.width() + 2 * theme.SPACE_S >= self._room or "\n" in self.content.strip()
        self.label.setFixedWidth(self._room if wide and self.role != "user" else min(self._room, bounds.width() + 4))


class ChatBubbles(QScrollArea):
    """Messages, top to bottom; it stays at the end while the reader is there."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName(self.tr("Conversation"))
        self.bubbles: list[ChatBubble] = []
        self._at_end = True
        self._writing: ChatBubble | None = None
        self._throttle = Throttle(self._draw_writing, self)
        page = QWidget()
        page.setProperty("plain", True)
        self._column = QVBoxLayout(page)
        self._column.setContentsMargins(0, 0, theme.SPACE_S, 0)
        self._column.setSpacing(theme.SPACE_M)
        self._column.addStretch(1)
        self.setWidget(page)
        bar = self.verticalScrollBar()
        bar.valueChanged.connect(self._note_place)
        bar.rangeChanged.connect(self._keep_end)

    def add(self, role: str, text: str) -> ChatBubble:
        """Append a message."""
        bubble = ChatBubble(role, text, self.tr("You") if role == "user" else self.tr("Model"))
        row = QHBoxLayout()
        if role == "user":
            row.addStretch(1)
        row.addWidget(bubble, 0, Qt.AlignmentFlag.AlignTop)
        if role != "user":
            row.addStretch(1)
        self._column.insertLayout(self._column.count() - 1, row)
        self.bubbles.append(bubble)
        bubble.fit(self._available())
        self._at_end = True
        return bubble

    def begin_answer(self) -> None:
        """An answer that is being written."""
        self._writing = self.add("assistant", "")
        self._writing.writing = True
        self._writing.show_text()

    def write(self, text: str) -> None:
        """More of the answer. Drawn at most twenty times a second."""
        if self._writing is not None:
            self._writing.content += text
            self._throttle.request()

    def end_answer(self) -> str:
        """The answer is complete. Returns its text."""
        if self._writing is None:
            return ""
        bubble, self._writing = self._writing, None
        bubble.writing = False
        bubble.content = bubble.content.strip()
        bubble.show_text()
        return bubble.content

    def remove_last(self) -> None:
        """Take the last message away."""
        bubble = self.bubbles.pop()
        row = self._column.takeAt(len(self.bubbles))
        bubble.hide()
        bubble.deleteLater()
        if row is not None and row.layout() is not None:
            row.layout().deleteLater()

    def clear(self) -> None:
        self._writing = None
        while self.bubbles:
            self.remove_last()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        for bubble in self.bubbles:
            bubble.fit(self._available())

    def _available(self) -> int:
        return self.viewport().width() - theme.SPACE_S

    def _draw_writing(self) -> None:
        if self._writing is not None:
            self._writing.show_text()

    def _note_place(self, value: int) -> None:
        self._at_end = value >= self.verticalScrollBar().maximum() - theme.SPACE_L

    def _keep_end(self, _: int, maximum: int) -> None:
        if self._at_end:
            self.verticalScrollBar().setValue(maximum)


def _hard_breaks(text: str) -> str:
    """Markdown joins lines; people's answers mean their line ends. Code between fences stays as it is."""
    lines, fenced = [], False
    for line in text.split("\n"):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        lines.append(line if fenced or not line.strip() else line + "  ")
    return "\n".join(lines)
