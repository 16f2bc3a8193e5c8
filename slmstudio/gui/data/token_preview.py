"""What the chosen model makes of a row: chat template, tokens, and what is learned of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QMimeData, QRect, QRectF, QSizeF, Qt, Signal
from PySide6.QtGui import (
    QFontMetricsF,
    QPainter,
    QPyTextObject,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextFormat,
)
from PySide6.QtWidgets import QStackedLayout, QTextEdit, QWidget

from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import TaskSlot
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_widget, fill

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from slmstudio.core.data.record import Record
    from slmstudio.core.model.chat_template import ChatTemplate
    from slmstudio.core.model.facts import ModelFacts
    from slmstudio.core.model.tokens import Encoded
    _Loaded = tuple[Path, Tokenizer, ChatTemplate | None]

# -- A row of a dataset as the model reads it: special tokens as chips, the learned part on green.

_CHIP = QTextFormat.ObjectTypes.UserObject + 1
_TEXT, _LEARNED = QTextFormat.Property.UserProperty + 1, QTextFormat.Property.UserProperty + 2
_OBJECT = "\ufffc"
_REPLACED = re.compile("[\ufffc\ufeff\ufffe]")
"""Shown as an object, whose text is in a list beside the document: Qt takes the last two, where a text begins with one,
for its byte order, and drops it."""
SHOWN_CHARACTERS = 50_000


@dataclass(frozen=True)
class Piece:
    """A stretch of text in which nothing changes."""

    text: str
    special: bool
    learned: bool


def pieces(encoded: Encoded, special_ids: frozenset[int] | set[int]) -> list[Piece]:
    """Cut the text where a special token is, and where learning begins or ends.

    Byte-level tokens may share one letter; a letter is learned when one of its tokens is.
    """
    learned = bytearray(len(encoded.text))
    special = [0] * len(encoded.text)
    for number, (token, is_learned, (start, end)) in enumerate(
            zip(encoded.ids, encoded.learned, encoded.offsets, strict=True), 1):
        if is_learned:
            learned[start:end] = b"\x01" * (end - start)
        if token in special_ids:
            special[start:end] = [number] * (end - start)
    found = []
    for (number, is_learned), group in groupby(range(len(encoded.text)), lambda i: (special[i], learned[i])):
        span = list(group)
        found.append(Piece(encoded.text[span[0]:span[-1] + 1], number > 0, bool(is_learned)))
    return found


class _ChipObject(QPyTextObject):
    """Draws a special token as a chip in the line."""

    def intrinsicSize(self, doc: QTextDocument, posInDocument: int, format: QTextFormat) -> QSizeF:
        metrics = QFontMetricsF(theme.base_font(theme.SMALL_SIZE))
        return QSizeF(metrics.horizontalAdvance(format.property(_TEXT)) + 2 * theme.SPACE_S + 2, metrics.height())

    def drawObject(self, painter: QPainter, rect: QRectF | QRect, doc: QTextDocument, posInDocument: int,
                   format: QTextFormat) -> None:
        learned = bool(format.property(_LEARNED))
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("ok_ground" if learned else "hover"))
        # The object sits on the line; so should the chip's own text.
        below = QFontMetricsF(theme.base_font(theme.SMALL_SIZE)).descent()
        chip = QRectF(rect).adjusted(1, below - 1, -1, below + 1)
        painter.drawRoundedRect(chip, chip.height() / 2, chip.height() / 2)
        painter.setPen(theme.colour("ok" if learned else "muted"))
        painter.setFont(theme.base_font(theme.SMALL_SIZE))
        painter.drawText(chip, int(Qt.AlignmentFlag.AlignCenter), format.property(_TEXT))
        painter.restore()


class TokenView(QTextEdit):
    """Shows an encoded row. What is copied from it is the exact text, special tokens included.

    Attributes:
        shown: its pieces.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setReadOnly(True)
        self.setAccessibleName(tr("The row as the model sees it"))
        self.setProperty("bare", True)
        self.document().setDocumentMargin(theme.CARD_PADDING)
        self._chip = _ChipObject(self)
        self.shown: Sequence[Piece] = ()
        self._objects: list[str] = []
        self.document().documentLayout().registerHandler(_CHIP, self._chip)
        theme.THEME.changed.connect(self._draw)

    def show_pieces(self, shown: Sequence[Piece]) -> None:
        self.shown = shown
        self._draw()

    def _draw(self) -> None:
        self.clear()
        self._objects = []
        cursor = self.textCursor()
        cursor.beginEditBlock()
        room = SHOWN_CHARACTERS
        for piece in self.shown:
            if room <= 0:
                cursor.insertText("\n…", QTextCharFormat())
                break
            room -= len(piece.text)
            self._insert(cursor, piece)
        block = cursor.blockFormat()
        block.setLineHeight(150, 1)
        cursor.select(QTextCursor.SelectionType.Document)
        cursor.mergeBlockFormat(block)
        cursor.endEditBlock()
        self.moveCursor(QTextCursor.MoveOperation.Start)

    def _insert(self, cursor: QTextCursor, piece: Piece) -> None:
        style = QTextCharFormat()
        style.setForeground(theme.colour("ink"))
        if piece.special:
            style.setObjectType(_CHIP)
            style.setProperty(_TEXT, piece.text)
            style.setProperty(_LEARNED, piece.learned)
            self._objects.append(piece.text)
            cursor.insertText(_OBJECT, style)
            return
        if piece.learned:
            style.setBackground(theme.colour("ok_ground"))
        text = piece.text[:SHOWN_CHARACTERS]
        self._objects += _REPLACED.findall(text)
        cursor.insertText(_REPLACED.sub(_OBJECT, text), style)

    def exact_text(self, cursor: QTextCursor) -> str:
        """The selected text with the special tokens written out."""
        before = QTextCursor(self.document())
        before.setPosition(cursor.selectionStart(), QTextCursor.MoveMode.KeepAnchor)
        objects = iter(self._objects[before.selectedText().count(_OBJECT):])
        text = cursor.selectedText().replace("\u2029", "\n")
        return "".join(next(objects) if letter == _OBJECT else letter for letter in text)

    def createMimeDataFromSelection(self) -> QMimeData:
        mime = QMimeData()
        mime.setText(self.exact_text(self.textCursor()))
        return mime


class TokenPreview(QWidget):
    """Shows a row as the model reads it. Without a model it says so.

    Signals:
        model_wanted: the user wants to choose a model.
    """

    model_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._model: Path | None = None
        self._name = self._template = ""
        self._loaded: _Loaded | None = None
        self._record: Record | None = None
        self._task = TaskSlot()
        self.view = TokenView()
        self.view.setObjectName("token_view")
        self.banner = ErrorBanner()
        self.counts = text_label("", "small", wrap=True, name="token_counts")
        self.counts.setContentsMargins(theme.CARD_PADDING, 0, theme.CARD_PADDING, theme.SPACE_S)
        shown = column_widget(self.banner, (self.view, 1), self.counts, spacing=None)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self._no_model())
        self._stack.addWidget(shown)

    def _no_model(self) -> QWidget:
        page = QWidget()
        column = column_in(page, STRETCH, spacing=theme.SPACE_M, margins=None)
        for text, role in ((tr("Each model splits text into tokens in its own way."), "strong"),
                           (tr("Choose a model to see your rows as it will read them."), "muted")):
            label = text_label(text, role, wrap=True, centred=True)
            column.addWidget(label)
        button = SecondaryButton(tr("Choose a model"), tr("Go to the Model tab. You can come back."),
                                 name="token_choose_model", clicked=self.model_wanted)
        fill(column, (button, 0, Qt.AlignmentFlag.AlignHCenter), STRETCH)
        return page

    def set_model(self, model: ModelFacts | None, fallback: Path | None = None, chat_template: str = "") -> None:
        """Read with this model, or with the one in `fallback` while none is chosen.

        Args:
            chat_template: name of the one that was chosen; "" for the model's own, or the one that would be proposed.
        """
        if chat_template != self._template:
            self._loaded = None
        self._template = chat_template
        self._model = model.path if model is not None else fallback
        self._name = model.name if model is not None else fallback.name if fallback is not None else ""
        self._stack.setCurrentIndex(0 if self._model is None else 1)
        self._encode()

    def show_record(self, record: Record) -> None:
        """Show this row; of a preference pair, the chosen answer. The work is done when the widget is on screen."""
        self._record = record
        self._encode()

    def showEvent(self, event: object) -> None:
        self._encode()

    def _encode(self) -> None:
        self._task.cancel()
        if self._model is None or self._record is None or not self.isVisible():
            return
        folder, record, loaded, name = self._model, self._record, self._loaded, self._template
        self._task.run(self, lambda task: _encode(folder, record, loaded, name), self._show, self._failed)

    def _show(self, answer: tuple[_Loaded, list[Piece], int, int, float]) -> None:
        self._loaded, shown, tokens, learned, per_word = answer
        self.banner.clear()
        self.view.show_pieces(shown)
        self.counts.setText(ntr("{n:,} token, {learned:,} learned · {per_word:.1f} tokens per word with {model}",
                                "{n:,} tokens, {learned:,} learned · {per_word:.1f} tokens per word with {model}",
                                tokens, learned=learned, per_word=per_word, model=self._name))

    def _failed(self, error: Exception) -> None:
        self.view.show_pieces(())
        self.counts.setText("")
        self.banner.show_error(error)


def _encode(folder: Path, record: Record, loaded: _Loaded | None,
            chat_template: str) -> tuple[_Loaded, list[Piece], int, int, float]:
    """Runs in a thread: the tokenizer, the pieces, tokens, learned tokens, tokens a word."""
    from slmstudio.core.model.named_templates import chosen_or_proposed, template_of
    from slmstudio.core.model.tokens import encode, load_tokenizer

    if loaded is None or loaded[0] != folder:
        loaded = folder, load_tokenizer(folder), None
    _, tokenizer, template = loaded
    if record.text is not None:  # needs no template, so that models without one can learn it
        encoded = _encode_text(record.text, tokenizer, folder)
    else:
        template = template or template_of(folder, chosen_or_proposed(folder, chat_template))
        encoded = encode(list(record.messages), tokenizer, template, tools=record.tools)
    special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    # Most of a row with tools are names, signs and numbers that are in no message.
    said = [encoded.text] if record.has_tools else [message["content"] for message in record.messages]
    words = sum(len(text.split()) for text in (record.text or "", *said))
    return ((folder, tokenizer, template), pieces(encoded, special), len(encoded.ids), sum(encoded.learned),
            len(encoded.ids) / max(1, words))


def _encode_text(text: str, tokenizer: Tokenizer, folder: Path) -> Encoded:
    """Plain text and the token that ends it, all learned."""
    from slmstudio.core.model.chat_template import special_tokens
    from slmstudio.core.model.tokens import Encoded

    encoding = tokenizer.encode(text, add_special_tokens=False)
    ids, offsets = list(encoding.ids), list(encoding.offsets)
    end = special_tokens(folder).get("eos_token", "")
    number = tokenizer.token_to_id(end)
    if number is not None:
        ids.append(number)
        offsets.append((len(text), len(text) + len(end)))
        text += end
    return Encoded(ids, [True] * len(ids), offsets, text)
