"""One message of a conversation, its figures in words, and what can be done to it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QBoxLayout, QFrame, QLabel, QWidget

from slmstudio.core.chat import conversation
from slmstudio.core.chat.conversation import Message
from slmstudio.core.chat.markdown import Piece
from slmstudio.core.chat.reply import Reply
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.chat.blocks import MarkdownView, document_of
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import IconButton
from slmstudio.gui.common.widgets.conversation import text_room
from slmstudio.gui.common.widgets.labels import ElidedLabel, breakable, text_label
from slmstudio.gui.common.widgets.layouts import column_in, fill, row_of

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
