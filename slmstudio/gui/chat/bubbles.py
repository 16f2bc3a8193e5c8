"""A conversation that grows while it is read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QBoxLayout, QFrame, QLabel, QWidget

from slmstudio.core.chat import conversation, reply, sampling
from slmstudio.core.chat.conversation import Message
from slmstudio.core.chat.markdown import Piece
from slmstudio.core.chat.reply import Reply
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.chat.blocks import MarkdownView, document_of
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import Throttle
from slmstudio.gui.common.widgets.areas import plain_page
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton
from slmstudio.gui.common.widgets.conversation import BubbleArea, text_room
from slmstudio.gui.common.widgets.labels import ElidedLabel, breakable, show_text, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_of, column_widget, fill, row_of

# -- One message of a conversation, its figures in words, and what can be done to it.

CURSOR = "▍"
PADDING = 12
NARROW = 260
"""Below this width, an answer's figures are below its buttons."""


@dataclass(frozen=True)
class Action:
    """A button below messages.

    Attributes:
        name: what `ChatBubbles.acted` says when it is pressed.
        role: below whose messages it is, "user" or "assistant"; "" for both.
    """

    name: str
    icon: str
    tooltip: str
    role: str = ""


class ChatBubble(QWidget):
    """One message with what can be done to it. Questions are shown as typed, answers as Markdown.

    Signals:
        acted(str): the name of the button that was pressed, or "previous" or "next" for another branch.

    Attributes:
        message: what is shown; None while it is being written.
        content: its text.
    """

    acted = Signal(str)

    def __init__(self, role: str, who: str, actions: list[Action]):
        super().__init__()
        self.role, self.content = role, ""
        self.message: Message | None = None
        self._writing = False
        self._actions = actions
        self._room = 0
        self._reply = Reply(breakable)
        self.frame = QFrame()
        self.frame.setProperty("bubble", role)
        self.frame.setAccessibleName(who)
        self.view = MarkdownView()
        column_in(self.frame, self.view, spacing=None, margins=(PADDING, theme.SPACE_S, PADDING, theme.SPACE_S))
        side = Qt.AlignmentFlag.AlignRight if role == "user" else Qt.AlignmentFlag.AlignLeft
        column_in(self, (self.frame, 0, side), self._make_foot(), spacing=2)

    def _make_foot(self) -> QBoxLayout:
        self.figures = ElidedLabel("", "small", Qt.TextElideMode.ElideRight, name="answer_figures")
        self.branch = text_label("", "small", name="branch")
        self.steps = [IconButton("chevron-left", tr("Show the earlier version")),
                      IconButton("chevron-right", tr("Show the later version"))]
        for step, name in zip(self.steps, ("previous", "next"), strict=True):
            step.setObjectName(f"{name}_branch")
            step.clicked.connect(partial(self.acted.emit, name))
        self.buttons = [self._make_button(action) for action in self._actions if action.role in ("", self.role)]
        row = row_of(spacing=2)
        if self.role == "user":
            row.addStretch(1)
        for widget in (self.steps[0], self.branch, self.steps[1], *self.buttons):
            row.addWidget(widget)
        if self.role != "user":
            row.addStretch(1)
        foot = self._foot = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        foot.setSpacing(2)
        fill(foot, (row, int(self.role == "user")), (self.figures, int(self.role != "user")))
        self.set_branches(1, 1)
        self._show_buttons(False)
        return foot

    def _make_button(self, action: Action) -> IconButton:
        return IconButton(action.icon, action.tooltip, name=f"{action.name}_message",
                          clicked=partial(self.acted.emit, action.name))

    def show_message(self, message: Message, number: int, count: int, figures: str) -> None:
        """Show a message, which is version `number` of `count` in its place."""
        self.message = message
        self._show_buttons(True)
        self.set_branches(number, count)
        self.figures.setText(figures)
        if self._writing or message.content != self.content:
            self.content = message.content
            self._draw()
        self._writing = False

    def write(self, text: str) -> None:
        """More text; `draw_writing` shows it."""
        self.content += text

    def draw_writing(self) -> None:
        """Show what has been written so far. Only the end of it is parsed and laid out."""
        self._writing = True
        self._draw(CURSOR)

    def _draw(self, cursor: str = "") -> None:
        self.view.show_pieces([as_typed(self.content)] if self.role == "user" else
                              self._reply.pieces(self.content, cursor))
        self._fit()

    def mark(self, words: str) -> QWidget:
        """Mark where these words are first, and return what shows them; else the whole message."""
        for block in self.view.blocks:
            if isinstance(block, QLabel):
                at = document_of(block).toPlainText().casefold().find(words.casefold())
                if at >= 0:
                    block.setSelection(at, len(words))
                    return block
        return self

    def fit(self, available: int) -> None:
        """Be as wide as the text needs, at most nine tenths of `available` pixels."""
        self._room = text_room(available, 2 * PADDING)
        narrow = self.role != "user" and available < NARROW
        self._foot.setDirection(QBoxLayout.Direction.TopToBottom if narrow else QBoxLayout.Direction.LeftToRight)
        self._fit()

    def _fit(self) -> None:
        if self._room:
            self.view.fit(min(self._room, self.view.wanted_width()))

    def set_branches(self, number: int, count: int) -> None:
        """Say which of several versions is shown."""
        self.branch.setText(f"{number}/{count}")
        self.branch.setAccessibleName(tr("Version {number} of {count}", number=number, count=count))
        for widget in (*self.steps, self.branch):
            widget.setVisible(count > 1)
        self.steps[0].setEnabled(number > 1)
        self.steps[1].setEnabled(number < count)

    def _show_buttons(self, on: bool) -> None:
        for button in self.buttons:
            button.setVisible(on)

    def set_dropped(self, dropped: bool) -> None:
        """Dim it: the model doesn't see it any more."""
        if bool(self.frame.property("dropped")) == dropped:
            return
        self.frame.setProperty("dropped", dropped)
        for widget in (self.frame, *self.frame.findChildren(QWidget)):
            theme.restyle(widget)
        self.frame.setToolTip(tr("The context is full, so the model no longer sees this message.") if dropped else "")


def as_typed(text: str) -> Piece:
    """A text with its lines and spaces, none of which is a sign."""
    return Piece("text", f'<p class="n" style="white-space: pre-wrap">{escape(breakable(text))}</p>')


def figures_text(figures: dict[str, Any]) -> str:
    """Why an answer ended, its length and speed: "stopped · 63 tokens · 41 tokens/s · first token 0.2 s"; of a
    question, its documents."""
    if figures.get(conversation.KEY):
        return " · ".join(conversation.size_text(each) for each in figures[conversation.KEY])
    reasons = {"length": tr("cut at max tokens"), "stopped": tr("stopped"), "stop_string": tr("ended by a stop string"),
               "repeated": tr("stopped: it repeated itself")}
    parts = [reasons[figures["reason"]]] if figures.get("reason") in reasons else []  # first, as the end may be cut
    if figures.get("completion_tokens") is not None:
        parts.append(ntr("{n:,} token", "{n:,} tokens", figures["completion_tokens"]))
    if figures.get("tokens_per_second") is not None:
        parts.append(ntr("{n:,} token/s", "{n:,} tokens/s", round(figures["tokens_per_second"])))
    if figures.get("prompt_tokens_per_second") is not None:
        parts.append(ntr("prompt {n:,} token/s", "prompt {n:,} tokens/s", round(figures["prompt_tokens_per_second"])))
    if figures.get("seconds_to_first_token") is not None:
        parts.append(tr("first token {time:.1f} s", time=figures['seconds_to_first_token']))
    if figures.get("strength"):
        parts.append(tr("adapter {percent}%", percent=round(100 * figures["strength"])))
    return " · ".join(parts)


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
