"""A row of a dataset as the model reads it: special tokens as chips, the learned part on green."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from PySide6.QtCore import QMimeData, QRect, QRectF, QSizeF, Qt
from PySide6.QtGui import (
    QFontMetricsF,
    QPainter,
    QPyTextObject,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextFormat,
)
from PySide6.QtWidgets import QTextEdit

from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme

if TYPE_CHECKING:
    from slmstudio.core.model.tokens import Encoded

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
    """Shows an encoded row. What is copied from it is the exact text, special tokens included."""

    def __init__(self) -> None:
        super().__init__()
        self.setReadOnly(True)
        self.setAccessibleName(tr("The row as the model sees it"))
        self.setProperty("bare", True)
        self.document().setDocumentMargin(theme.CARD_PADDING)
        self._chip = _ChipObject(self)
        self._pieces: Sequence[Piece] = ()
        self._objects: list[str] = []
        self.document().documentLayout().registerHandler(_CHIP, self._chip)
        theme.THEME.changed.connect(self._draw)

    def show_pieces(self, shown: Sequence[Piece]) -> None:
        self._pieces = shown
        self._draw()

    def _draw(self) -> None:
        self.clear()
        self._objects = []
        cursor = self.textCursor()
        cursor.beginEditBlock()
        room = SHOWN_CHARACTERS
        for piece in self._pieces:
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
