"""What a message is shown with: rich text in labels, code in boxes of their own with a copy button, thoughts folded."""

from __future__ import annotations

import time
from collections.abc import Sequence

from PySide6.QtCore import QEvent, QPoint, Qt, QUrl
from PySide6.QtGui import QDesktopServices, QGuiApplication, QTextCursor, QTextDocument, QWheelEvent
from PySide6.QtWidgets import QFrame, QLabel, QMenu, QPlainTextEdit, QPushButton, QToolTip, QWidget

from slmstudio.core.chat.markdown import Piece
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.labels import plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, row_of

SELECTABLE = (Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
              | Qt.TextInteractionFlag.LinksAccessibleByMouse | Qt.TextInteractionFlag.LinksAccessibleByKeyboard)


class TextBlock(QLabel):
    """Rich text that opens a link only after its address was shown."""

    def __init__(self, content: str, language: str = ""):
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

    def set_content(self, content: str, language: str = "") -> None:
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

    def event(self, event: QEvent) -> bool:
        handled = super().event(event)
        if event.type() in (QEvent.Type.Polish, QEvent.Type.StyleChange):
            self.setMinimumHeight(self.maximumHeight())  # the style sheet has another one, for fields to type in
        return handled

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
        self.content = ""
        self.name = self._make_name()
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
        self.name.setText(self._title(content, language))
        if self.content and content.startswith(self.content):
            cursor = QTextCursor(self.text.document())
            cursor.movePosition(QTextCursor.MoveOperation.End)
            cursor.insertText(content[len(self.content):])
        elif content != self.content:
            self.text.setPlainText(content)
        self.content = content
        self._set_height()

    def _make_name(self) -> QLabel | QPushButton:
        return text_label("", "small")

    def _title(self, content: str, language: str) -> str:
        return language or tr("code")

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


class ThoughtBlock(CodeBlock):
    """What a model thinks, or thought before it answered: folded below a button that says how long it takes. Its
    language is "writing" while more is to come, "cut" where the answer ended before the thoughts did, else ""."""

    def __init__(self, content: str, language: str):
        self._begun = time.monotonic() if language == "writing" else None
        self._seconds = 0
        super().__init__(content, language)
        self.text.setProperty("code_text", "thoughts")
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.WidgetWidth)
        self.text.setAccessibleName(tr("Thoughts"))
        self.text.document().documentLayout().documentSizeChanged.connect(self._set_height)
        for widget in (self.text, self.copy):
            widget.hide()
            self.name.toggled.connect(widget.setVisible)

    def _make_name(self) -> QPushButton:
        button = SecondaryButton("", tr("Show what the model thought before it answered, or hide it."), "small",
                                 name="show_thoughts")
        button.setCheckable(True)
        return button

    def _title(self, content: str, language: str) -> str:
        if language == "writing" and self._begun is not None:
            self._seconds = round(time.monotonic() - self._begun)
            return tr("Thinking … {seconds:,} s", seconds=self._seconds)
        length = ntr("{n:,} word", "{n:,} words", len(content.split()))
        if language == "cut":
            return tr("Still thinking when it was cut · {length}", length=length)
        return tr("Thought · {length}", length=length) if self._begun is None else tr(
            "Thought for {seconds:,} s · {length}", seconds=self._seconds, length=length)

    def _set_height(self) -> None:
        lines = round(self.text.document().size().height())  # QPlainTextEdit counts in lines
        self.text.setFixedHeight(lines * self.text.fontMetrics().lineSpacing() + 2 * theme.SPACE_XS)


KINDS: dict[str, type[TextBlock] | type[CodeBlock]] = {"text": TextBlock, "code": CodeBlock, "thought": ThoughtBlock}
"""What shows each kind of `Piece`."""


class MarkdownView(QWidget):
    """The pieces of one message, top to bottom."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[TextBlock | CodeBlock] = []
        self._pieces: list[Piece] = []
        self._width = 0
        self._column = column_in(self, spacing=theme.SPACE_XS)
        theme.THEME.changed.connect(self._dress)

    def show_pieces(self, pieces: Sequence[Piece]) -> None:
        """Show these pieces; those that are what they were aren't drawn."""
        for number, piece in enumerate(pieces):
            if number < len(self._pieces) and self._pieces[number] == piece:
                continue
            self._show(number, piece)
        while len(self.blocks) > len(pieces):
            self._drop(len(self.blocks) - 1)
        self._pieces = list(pieces)

    def _show(self, number: int, piece: Piece) -> None:
        if number == len(self.blocks) or type(self.blocks[number]) is not KINDS[piece.kind]:
            if number < len(self.blocks):
                self._drop(number)
            self.blocks.insert(number, KINDS[piece.kind](piece.content, piece.language))
            self._column.insertWidget(number, self.blocks[number])
        else:
            self.blocks[number].set_content(piece.content, piece.language)
        if self._width:
            self.blocks[number].fit(self._width)

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
        if any(not isinstance(block, TextBlock) or "<table" in block.content for block in self.blocks):
            return 1 << 20
        return max((_natural_width(block) for block in self.blocks if isinstance(block, TextBlock)), default=0)

    def _dress(self) -> None:
        for block in self.blocks:
            block.dress()


def _natural_width(block: TextBlock) -> int:
    return int(document_of(block).idealWidth()) + 2 if len(block.content) <= 400 else 1 << 20


def document_of(label: QLabel) -> QTextDocument:
    """What a label shows, letter by letter as it counts them in a selection."""
    document = QTextDocument()
    document.setDefaultFont(theme.base_font())
    (document.setPlainText if label.textFormat() == Qt.TextFormat.PlainText else document.setHtml)(label.text())
    return document
