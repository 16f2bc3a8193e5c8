"""A conversation that grows while it is read."""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QWidget

from slmstudio.core.chat import reply, sampling
from slmstudio.core.chat.conversation import Message
from slmstudio.core.i18n import tr
from slmstudio.gui.chat.bubble import Action, ChatBubble
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import Throttle
from slmstudio.gui.common.widgets.areas import plain_page
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.conversation import BubbleArea
from slmstudio.gui.common.widgets.labels import show_text, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_of, column_widget, row_of

REST = 4
"""Drawing an answer may take one part in this many of the window's time."""


class ChatBubbles(BubbleArea):
    """Messages, top to bottom; it stays at the end while the reader is there.

    Signals:
        acted(str, Message): a button below a message was pressed; see `Action`. Copying is done here.
    """

    acted = Signal(str, object)

    def __init__(self) -> None:
        super().__init__(theme.SPACE_S)
        self.setAccessibleName(tr("Conversation"))
        self.actions_below = [
            Action("copy", "copy", tr("Copy the whole message")),
            Action("edit", "edit", tr("Ask something else here; both versions are kept"), "user"),
            Action("again", "again", tr("Answer again; both answers are kept"), "assistant")]
        self._at_end = True
        self._writing: ChatBubble | None = None
        self._throttle = Throttle(self._draw_writing, self)
        page = plain_page()
        self._column = column_of(spacing=theme.SPACE_M)
        self.turn = text_label("", "muted", wrap=True, name="chat_turn")
        self.turn.hide()
        self.loop = self._loop_advice()
        column_in(page, self._column, self.turn, self.loop, STRETCH, spacing=theme.SPACE_M,
                  margins=(0, 0, theme.SPACE_S, 0))
        self.setWidget(page)
        self.dropped_line = text_label(tr("▲ no longer seen by the model"), "small", name="dropped_line", centred=True)
        self.dropped_line.setToolTip(tr("The context is full. If answers need what was said above, load the model with "
                                        "a longer context or start a new conversation."))
        self.dropped_line.setParent(page)
        self.dropped_line.hide()
        bar = self.verticalScrollBar()
        bar.valueChanged.connect(self._note_place)
        bar.rangeChanged.connect(self._keep_end)

    def _loop_advice(self) -> QWidget:
        """What to do about an answer that was stopped in a loop."""
        self.penalty = SecondaryButton(tr("Raise the repeat penalty"),
                                       tr("Answer again, with words that were just used less likely, in this chat. "
                                          "Both answers are kept."), "small", name="loop_penalty",
                                       clicked=lambda: self._act("penalty", self.bubbles[-1]))
        advice = text_label(tr(sampling.ADVICE), "small", wrap=True, tone="warn", name="loop_advice")
        found = column_widget(advice, row_of(self.penalty, STRETCH), spacing=theme.SPACE_XS)
        found.hide()
        return found

    def show_loop(self, on: bool, can_answer: bool) -> None:
        """Say that the last answer was stopped in a loop, and offer another one."""
        self.loop.setVisible(on)
        self.penalty.setVisible(can_answer)

    def show_turn(self, text: str) -> None:
        """Say below the messages what the next answer waits for; "" for nothing."""
        show_text(self.turn, text)

    def add_action(self, action: Action) -> None:
        """Put one more button below the messages that come from now on."""
        self.actions_below.append(action)

    def show_path(self, path: list[Message], versions: Callable[[Message], list[Message]],
                  figures: Callable[[Message], str]) -> None:
        """Show these messages; those that are already there stay as they are.

        Args:
            versions: all versions of a message, itself included.
            figures: what is below a message.
        """
        self._writing = None
        same = 0
        for bubble, message in zip(self.bubbles, path, strict=False):
            if bubble.message is not message:
                break
            same += 1
        while len(self.bubbles) > same:
            self._remove_last()
        for number, message in enumerate(path):
            bubble = self.bubbles[number] if number < same else self._add(message.role)
            all_versions = versions(message)
            bubble.show_message(message, all_versions.index(message) + 1, len(all_versions), figures(message))

    def _add(self, role: str) -> ChatBubble:
        bubble = ChatBubble(role, tr("You") if role == "user" else tr("Model"), self.actions_below)
        bubble.acted.connect(lambda name: self._act(name, bubble))
        self._column.addWidget(bubble)
        self.bubbles.append(bubble)
        bubble.fit(self.room())
        self._at_end = True
        return bubble

    def _act(self, name: str, bubble: ChatBubble) -> None:
        if name == "copy":
            QGuiApplication.clipboard().setText(reply.answer_of(bubble.content))
        elif bubble.message is not None:
            self.acted.emit(name, bubble.message)

    def begin_answer(self) -> None:
        """An answer that is being written."""
        self._writing = self._add("assistant")
        self._writing.draw_writing()

    def write(self, text: str) -> None:
        """More of the answer. Drawn at most twenty times a second."""
        if self._writing is not None:
            self._writing.write(text)
            self._throttle.request()

    def end_answer(self) -> str:
        """Nothing is written any more; the bubble goes, and `show_path` shows the message. Returns its text."""
        if self._writing is None:
            return ""
        bubble, self._writing = self._writing, None
        return bubble.content.strip()

    def show_found(self, message: Message, words: str) -> None:
        """Scroll to where a message has these words, and mark them."""
        bubble = next((each for each in self.bubbles if each.message is message), None)
        if bubble is not None:
            self._at_end = False
            place = bubble.mark(words)
            # Only when all is laid out it is known where that is.
            QTimer.singleShot(0, place, lambda: self.ensureWidgetVisible(place, 0, 2 * theme.SPACE_L))

    def keep_writing_as(self, message: Message) -> None:
        """The bubble that was written is this message now."""
        bubble = self.bubbles[-1]
        if bubble.message is None:
            bubble.message = message

    def set_dropped(self, count: int) -> None:
        """Mark the first `count` messages as no longer seen by the model."""
        for number, bubble in enumerate(self.bubbles):
            bubble.set_dropped(number < count)
        self._column.removeWidget(self.dropped_line)
        if 0 < count < len(self.bubbles):
            self._column.insertWidget(count, self.dropped_line)
        self.dropped_line.setVisible(0 < count < len(self.bubbles))

    def _remove_last(self) -> None:
        bubble = self.bubbles.pop()
        self._column.removeWidget(bubble)
        bubble.hide()
        bubble.deleteLater()

    def clear(self) -> None:
        self._writing = None
        while self.bubbles:
            self._remove_last()
        self.set_dropped(0)

    def _draw_writing(self) -> None:
        if self._writing is not None:
            begun = time.monotonic()
            self._writing.draw_writing()
            self._throttle.rest((REST - 1) * (time.monotonic() - begun))

    def _note_place(self, value: int) -> None:
        self._at_end = value >= self.verticalScrollBar().maximum() - theme.SPACE_L

    def _keep_end(self, _: int, maximum: int) -> None:
        if self._at_end:
            self.verticalScrollBar().setValue(maximum)
