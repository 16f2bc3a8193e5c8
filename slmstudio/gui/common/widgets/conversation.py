"""A row of a dataset as people read it: who said what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from PySide6.QtCore import QEvent, QRect, Qt, QTimer
from PySide6.QtGui import QFontMetrics, QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from slmstudio.core.data.record import call_line
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import plain_page, rule
from slmstudio.gui.common.widgets.labels import ElidedLabel, breakable, text_label
from slmstudio.gui.common.widgets.layouts import column_in

if TYPE_CHECKING:
    from slmstudio.core.data.conversations import Message
    from slmstudio.core.data.record import Record

SHARE_OF_WIDTH = 0.92
LONGEST_LINE = 2 * "The quick brown fox jumps over the lazy dog. "
"""As wide as a line may be: 90 letters."""
SHOWN_CHARACTERS = 20_000
"""More than this of one message makes laying out slow; the rest is only counted."""


class Bubble(QFrame):
    """One message, as wide as its text, at most nine tenths of the room.

    Args:
        calls: what the message calls, each in a frame of its own below the text.
    """

    def __init__(self, role: str, text: str, caption: str = "", calls: Sequence[str] = ()):
        super().__init__()
        self.setProperty("bubble", role)
        column = column_in(self, spacing=2, margins=(12, 8, 12, 8))
        self._caption = text_label(caption, "small")
        self.text = _selectable(text, "body", caption or role)
        if calls and not text:
            self.text.hide()
        column.addWidget(self._caption)
        self._caption.setVisible(bool(caption))
        column.addWidget(self.text)
        self._calls = [_selectable(call, "mono", tr("call of a tool")) for call in calls]
        for label in self._calls:
            frame = QFrame()
            frame.setProperty("code", True)
            column_in(frame, label, spacing=None,
                      margins=(theme.SPACE_S, theme.SPACE_XS, theme.SPACE_S, theme.SPACE_XS))
            column.addWidget(frame, 0, Qt.AlignmentFlag.AlignLeft)

    def fit(self, available: int) -> None:
        """Take the width that the text wants, at most its share of `available` pixels."""
        room = text_room(available, 24)
        self.text.setFixedWidth(min(room, max(_wanted(self.text, room), self._caption.sizeHint().width())))
        for label in self._calls:
            inner = room - 2 * theme.SPACE_S - 2
            label.setFixedWidth(min(inner, _wanted(label, inner)))


def text_room(available: int, beside: int) -> int:
    """The width of the lines in a bubble: its share of `available` pixels, less what is beside them, and no longer than
    what is read without losing the line."""
    longest = QFontMetrics(theme.base_font()).horizontalAdvance(LONGEST_LINE)
    return max(80, min(int(available * SHARE_OF_WIDTH) - beside, longest))


def _selectable(text: str, role: str, name: str) -> QLabel:
    label = text_label(breakable(text), role, wrap=True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse
                                  | Qt.TextInteractionFlag.TextSelectableByKeyboard)
    label.setAccessibleName(name)
    return label


def _wanted(label: QLabel, room: int) -> int:
    """The width that a label's text takes, in lines of at most `room` pixels."""
    label.ensurePolished()  # the style sheet's font counts
    flags = int(Qt.TextFlag.TextWordWrap | Qt.TextFlag.TextExpandTabs)
    return label.fontMetrics().boundingRect(QRect(0, 0, room, 1 << 22), flags, label.text()).width() + 2


class BubbleArea(QScrollArea):
    """A scrolled column with bubbles, which keep to its width.

    Args:
        margin: what is beside them, in pixels.
    """

    def __init__(self, margin: int):
        super().__init__()
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._margin = margin
        self.bubbles: list[Bubble] = []
        # The width changes many times in one resize; laying out once at its end is enough.
        self._later = QTimer(self, interval=0, singleShot=True, timeout=self._fit)

    def add(self, column: QVBoxLayout, role: str, text: str, caption: str, calls: Sequence[str] = ()) -> Bubble:
        """A bubble below the others of a column: the user's at the right, others at the left."""
        bubble = Bubble(role, text, caption, calls)
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

    def room(self) -> int:
        """How wide a bubble and what is beside it may be together."""
        return self.viewport().width() - self._margin

    def _fit(self) -> None:
        for bubble in self.bubbles:
            bubble.fit(self.room())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._later.start()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.StyleChange, QEvent.Type.FontChange):
            self._later.start()  # letters may be wider now


class _Part(NamedTuple):
    """A message as it is shown; `calls` are lines."""

    role: str
    caption: str
    text: str
    calls: tuple[str, ...] = ()


class ConversationView(BubbleArea):
    """The messages of rows, top to bottom; or their texts.

    Args:
        shown: characters of a message that are shown.
        marks_learned: whether what is learned is on green ground.
    """

    def __init__(self, shown: int = SHOWN_CHARACTERS, marks_learned: bool = False) -> None:
        super().__init__(2 * theme.CARD_PADDING)
        self._shown, self._marks_learned = shown, marks_learned
        self.setAccessibleName(tr("Conversation"))

    def show_record(self, record: Record | None) -> None:
        """Show this row, or nothing."""
        self.show_records(() if record is None else (record,))

    def show_records(self, records: Sequence[Record]) -> None:
        """Show these rows, a line between them."""
        page = plain_page()
        column = column_in(page, spacing=theme.SPACE_M, margins=theme.CARD_PADDING)
        self.bubbles = []
        for number, record in enumerate(records):
            if number:
                column.addWidget(rule())
            if record.tools:
                column.addWidget(self._offered(record))
            parts = self._said(record)
            is_last_bad = record.rejected is not None or record.desirable is False
            for place, (role, caption, text, calls) in enumerate(parts, 1):
                bubble = self.add(column, role, self._cut(text), caption, list(map(self._cut, calls)))
                is_learned = role == "assistant" and not (is_last_bad and place == len(parts))
                bubble.setProperty("learned", self._marks_learned and is_learned)
        column.addStretch(1)
        self.show_page(page)

    def _offered(self, record: Record) -> ElidedLabel:
        """One line with the names of what may be called; all of them are its tooltip where there is no room."""
        names = ", ".join(tool["function"]["name"] for tool in record.tools)
        return ElidedLabel(tr("May call: {names}", names=names), "small", Qt.TextElideMode.ElideRight,
                           name="conversation_tools")

    def _said(self, record: Record) -> list[_Part]:
        """What the row says, part by part."""
        if record.text is not None:
            return [_Part("assistant", tr("text"), record.text)]
        said = [self._part(message) for message in record.messages]
        if record.rejected is not None:
            said[-1:] = [said[-1]._replace(caption=tr("chosen answer")),
                         _Part(said[-1].role, tr("rejected answer"), record.rejected)]
        elif record.desirable is not None:
            mark = tr("assistant · a good answer") if record.desirable else tr("assistant · a bad answer")
            said[-1] = said[-1]._replace(caption=mark)
        return said

    def _part(self, message: Message) -> _Part:
        role, name = message["role"], message.get("name")
        names = {"user": tr("user"), "assistant": tr("assistant"), "system": tr("system"),
                 "tool": tr("tool · {name}", name=name) if name else tr("tool")}
        return _Part(role, names[role], message.get("content") or "",
                     tuple(map(call_line, message.get("tool_calls") or ())))

    def _cut(self, text: str) -> str:
        if len(text) <= self._shown:
            return text
        more = ntr("{n:,} more character", "{n:,} more characters", len(text) - self._shown)
        return f"{text[:self._shown]}\n… {more}"
