"""The first changes that fixing makes, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtGui import QFont, QTextBlockFormat, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QTextEdit

from slmstudio.core.data.health.kinds import KINDS
from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.data.health import diff

if TYPE_CHECKING:
    from slmstudio.core.data.health.finding import Change

COLOURS = {"gone": ("bad_ground", "bad"), "new": ("ok_ground", "ok"), "same": ("", "ink")}


class ChangesView(QTextEdit):
    """What goes is red and struck out, what comes is green; a row that is removed is struck out whole."""

    def __init__(self) -> None:
        super().__init__()
        self.setReadOnly(True)
        self.setAccessibleName(tr("The first changes"))
        self.setProperty("bare", True)
        self.document().setDocumentMargin(theme.CARD_PADDING)
        self._changes: Sequence[Change] = ()
        theme.THEME.changed.connect(self._draw)

    def show_changes(self, changes: Sequence[Change]) -> None:
        self._changes = changes
        self._draw()

    def _draw(self) -> None:
        self.clear()
        cursor = self.textCursor()
        cursor.beginEditBlock()
        for place, change in enumerate(self._changes):
            block = QTextBlockFormat()
            block.setTopMargin(theme.SPACE_L if place else 0)
            if place:
                cursor.insertBlock(block)
            self._heading(cursor, change)
            cursor.insertBlock(QTextBlockFormat())
            self._text(cursor, change)
        cursor.endEditBlock()
        self.moveCursor(QTextCursor.MoveOperation.Start)

    def _heading(self, cursor: QTextCursor, change: Change) -> None:
        style = QTextCharFormat()
        style.setFont(theme.base_font(theme.SMALL_SIZE))
        style.setForeground(theme.colour("muted"))
        parts = [change.file or "", tr("Line {line:,}", line=change.line), KINDS[change.kind].title,
                 tr("the row is removed") if change.after is None else ""]
        cursor.insertText(" · ".join(part for part in parts if part), style)

    def _text(self, cursor: QTextCursor, change: Change) -> None:
        before = change.before or ""
        found = [("gone", diff.shown(before))] if change.after is None else diff.pieces(before, change.after)
        for kind, text in found:
            ground, ink = COLOURS[kind]
            style = QTextCharFormat()
            style.setFont(QFont(theme.base_font()))
            style.setForeground(theme.colour(ink))
            if ground:
                style.setBackground(theme.colour(ground))
            style.setFontStrikeOut(kind == "gone")
            cursor.insertText(text, style)
