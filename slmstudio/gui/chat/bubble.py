"""One message of a conversation, its figures in words, and what can be done to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from PySide6.QtCore import QPoint, QRect, Qt, QUrl, Signal
from PySide6.QtGui import QDesktopServices, QGuiApplication, QTextCursor, QWheelEvent
from PySide6.QtWidgets import QBoxLayout, QFrame, QLabel, QMenu, QPlainTextEdit, QToolTip, QWidget

from slmstudio.core.chat.conversation import Message
from slmstudio.core.chat.markdown import Piece, Stream
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton
from slmstudio.gui.common.widgets.conversation import text_room
from slmstudio.gui.common.widgets.labels import ElidedLabel, breakable, plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, fill, row_of

# -- Shows a message in pieces: rich text in labels, code in boxes of their own with a copy button.

SELECTABLE = (Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
              | Qt.TextInteractionFlag.LinksAccessibleByMouse | Qt.TextInteractionFlag.LinksAccessibleByKeyboard)


class TextBlock(QLabel):
    """Rich text that opens a link only after its address was shown."""

    def __init__(self, content: str):
        super().__init__()
        self.content = ""
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setWordWrap(True)
        self.setOpenExternalLinks(False)
        self.setTextInteractionFlags(SELECTABLE)
        self.linkHovered.connect(self._show_address)
        self.linkActivated.connect(self.offer_link)
        self.set_content(content)

    def hasHeightForWidth(self) -> bool:
        # Its size is fixed by `fit`: a layout that asks every text for its height, whenever one of them grows, is slow.
        return False

    def set_content(self, content: str) -> None:
        self.content = content
        self.dress()

    def dress(self) -> None:
        """Draw it in the colours that are on."""
        self.setText(theme.rich_text_style() + self.content)

    def fit(self, width: int) -> None:
        # A fixed size spares the layout from asking every text for its height whenever one of them grows.
        self.setFixedWidth(width)
        self.setMinimumHeight(0)  # else it would stay as high as it had to be when it was narrow
        self.setFixedHeight(max(1, self.heightForWidth(width)))

    def _show_address(self, address: str) -> None:
        QToolTip.showText(self.cursor().pos() + QPoint(0, theme.SPACE_L), plain_tip(address), self)

    def offer_link(self, address: str) -> QMenu:
        """Show where a link leads, and ask whether to go there."""
        menu = QMenu(self)
        menu.setObjectName("link_menu")
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction(tr("Open {address} in the browser", address=address.replace("&", "&&")),
                       lambda: QDesktopServices.openUrl(QUrl(address)))
        menu.addAction(tr("Copy the address"), lambda: QGuiApplication.clipboard().setText(address))
        menu.popup(self.cursor().pos())
        return menu


class _CodeText(QPlainTextEdit):
    """Code as it is, as high as it is long; the page scrolls, not the box."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        if abs(event.angleDelta().x()) > abs(event.angleDelta().y()):
            super().wheelEvent(event)
        else:
            event.ignore()


class CodeBlock(QFrame):
    """Code with its language and a button that copies it."""

    def __init__(self, content: str, language: str):
        super().__init__()
        self.setProperty("code", True)
        self.content, self.language = "", ""
        self.name = text_label("", "small")
        self.copy = SecondaryButton(tr("Copy"), tr("Copy this code"), "small", name="copy_code",
                                    clicked=lambda: QGuiApplication.clipboard().setText(self.content))
        self.copy.setAccessibleName(tr("Copy this code"))
        self.text = _CodeText()
        self.text.setReadOnly(True)
        self.text.setProperty("code_text", True)
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.text.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.text.setTextInteractionFlags(SELECTABLE)
        self.text.setTabChangesFocus(True)
        self.text.setAccessibleName(tr("Code"))
        self.text.horizontalScrollBar().rangeChanged.connect(self._set_height)
        column_in(self, row_of(self.name, STRETCH, self.copy, spacing=None), self.text, spacing=0,
                  margins=(theme.SPACE_M, theme.SPACE_XS, theme.SPACE_XS, theme.SPACE_XS))
        self.set_content(content, language)

    def set_content(self, content: str, language: str) -> None:
        """Show this code. Where it only grew, only the new part is laid out."""
        if language != self.language or not self.name.text():
            self.language = language
            self.name.setText(language or tr("code"))
        if self.content and content.startswith(self.content):
            cursor = QTextCursor(self.text.document())
            cursor.movePosition(QTextCursor.MoveOperation.End)
            cursor.insertText(content[len(self.content):])
        elif content != self.content:
            self.text.setPlainText(content)
        self.content = content
        self._set_height()

    def _set_height(self) -> None:
        """As high as the code, with room for the scroll bar if a line is too long."""
        bar = self.text.horizontalScrollBar()
        lines = self.text.fontMetrics().lineSpacing() * self.text.blockCount()
        margins = 2 * round(self.text.document().documentMargin()) + 2
        self.text.setFixedHeight(lines + margins + (bar.sizeHint().height() if bar.maximum() > 0 else 0))

    def dress(self) -> None:
        """Colours come from the style sheet."""

    def fit(self, width: int) -> None:
        self.setFixedWidth(width)
        self._set_height()


class MarkdownView(QWidget):
    """The pieces of one message, top to bottom."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[TextBlock | CodeBlock] = []
        self._pieces: list[Piece] = []
        self._width = 0
        self._column = column_in(self, spacing=theme.SPACE_XS)
        theme.THEME.changed.connect(self._dress)

    def show_pieces(self, pieces: Sequence[Piece], kept: int = 0) -> None:
        """Show these pieces; the first `kept` are what they were."""
        for number, piece in enumerate(pieces[kept:], kept):
            if number < len(self._pieces) and self._pieces[number] == piece:
                continue
            self._show(number, piece)
        while len(self.blocks) > len(pieces):
            self._drop(len(self.blocks) - 1)
        self._pieces = list(pieces)

    def _show(self, number: int, piece: Piece) -> None:
        kind = CodeBlock if piece.kind == "code" else TextBlock
        if number < len(self.blocks) and not isinstance(self.blocks[number], kind):
            self._drop(number)
            self._insert(number, piece)
        elif number == len(self.blocks):
            self._insert(number, piece)
        else:
            block = self.blocks[number]
            if isinstance(block, CodeBlock):
                block.set_content(piece.content, piece.language)
            else:
                block.set_content(piece.content)
        if self._width:
            self.blocks[number].fit(self._width)

    def _insert(self, number: int, piece: Piece) -> None:
        block = CodeBlock(piece.content, piece.language) if piece.kind == "code" else TextBlock(piece.content)
        self.blocks.insert(number, block)
        self._column.insertWidget(number, block)

    def _drop(self, number: int) -> None:
        block = self.blocks.pop(number)
        self._column.removeWidget(block)
        block.hide()
        block.deleteLater()

    def fit(self, width: int) -> None:
        """Be so wide."""
        if width != self._width:
            self._width = width
            for block in self.blocks:
                block.fit(width)

    def wanted_width(self) -> int:
        """How wide it would be in one line; a large number where it wants all there is."""
        if any(isinstance(block, CodeBlock) or "<table" in block.content for block in self.blocks):
            return 1 << 20
        return max((_natural_width(block) for block in self.blocks if isinstance(block, TextBlock)), default=0)

    def _dress(self) -> None:
        for block in self.blocks:
            block.dress()


def _natural_width(block: TextBlock) -> int:
    if len(block.content) > 400:
        return 1 << 20
    from PySide6.QtGui import QTextDocument

    document = QTextDocument()
    document.setDefaultFont(theme.base_font())
    document.setHtml(block.text())
    return int(document.idealWidth()) + 2


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
        self._stream = Stream(breakable)
        self.frame = QFrame()
        self.frame.setProperty("bubble", role)
        self.frame.setAccessibleName(who)
        self.label, self.view = text_label(wrap=True), MarkdownView()
        self.label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse
                                           | Qt.TextInteractionFlag.TextSelectableByKeyboard)
        column_in(self.frame, self.label if role == "user" else self.view, spacing=None,
                  margins=(PADDING, theme.SPACE_S, PADDING, theme.SPACE_S))
        (self.view if role == "user" else self.label).setParent(self)
        (self.view if role == "user" else self.label).hide()
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
        if self._writing and self.content.strip() == message.content:
            self._draw(self._stream.add(self.content[self._stream.length:]))  # only its end is new
        elif self._writing or message.content != self.content:
            self._stream = Stream(breakable)
            self.content = message.content
            self._draw(self._stream.add(self.content))
        self.content, self._writing = message.content, False

    def write(self, text: str) -> None:
        """More text; `draw_writing` shows it."""
        self.content += text

    def draw_writing(self) -> None:
        """Show what has been written so far. Only the end of it is parsed and laid out."""
        self._writing = True
        self._draw(self._stream.add(self.content[self._stream.length:]), CURSOR)

    def _draw(self, kept: int, cursor: str = "") -> None:
        if self.role == "user":
            self.label.setText(breakable(self.content))
        else:
            self.view.show_pieces(self._stream.pieces(cursor), kept)
        self._fit()

    def fit(self, available: int) -> None:
        """Be as wide as the text needs, at most nine tenths of `available` pixels."""
        self._room = text_room(available, 2 * PADDING)
        narrow = self.role != "user" and available < NARROW
        self._foot.setDirection(QBoxLayout.Direction.TopToBottom if narrow else QBoxLayout.Direction.LeftToRight)
        self._fit()

    def _fit(self) -> None:
        if not self._room or (self.role == "user" and not self.label.text()):
            return
        if self.role != "user":
            self.view.fit(min(self._room, self.view.wanted_width()))
            return
        bounds = self.label.fontMetrics().boundingRect(
            QRect(0, 0, self._room, 1 << 22), int(Qt.TextFlag.TextWordWrap), self.label.text())
        # The height too: a box that is aligned at one side asks text for its height at the full width, which it never
        # gets, and the last line is cut off then.
        self.label.setFixedWidth(min(self._room, bounds.width() + 4))
        self.label.setFixedHeight(self.label.heightForWidth(self.label.width()))

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


def figures_text(figures: dict[str, Any]) -> str:
    """Why an answer ended, its length and speed: "stopped · 63 tokens · 41 tokens/s · first token 0.2 s"."""
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
