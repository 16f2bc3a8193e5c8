"""What would change by what is decided about the findings."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from itertools import takewhile
from typing import TYPE_CHECKING, Literal

from PySide6.QtCore import Signal
from PySide6.QtGui import QFont, QTextBlockFormat, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QFrame, QTextEdit

from slmstudio.core.data.health.finding import KINDS
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import TaskSlot
from slmstudio.gui.common.widgets.areas import Card
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import show_text, text_label
from slmstudio.gui.common.widgets.layouts import column_in, fill, row_of
from slmstudio.gui.common.widgets.progress import ProgressStrip
from slmstudio.gui.data.health import work

if TYPE_CHECKING:
    from slmstudio.core.data.health.finding import Change

# -- What a change does to a text, as pieces that stay, go and come.

Kind = Literal["same", "gone", "new"]
_PIECE = re.compile(r"\s+|\w[\w\u0900-\u0dff\u200c\u200d]*|.", re.DOTALL)
CONTEXT = 60
"""Characters that are kept of what stays, at each side of a change."""
MOST_PIECES = 1500
"""The most pieces of the differing stretch; a longer one is shown as all removed and all added."""
MOST_CHARACTERS = 300
"""Shown of a piece that goes or comes."""
GAP = " … "


def pieces(before: str, after: str) -> list[tuple[Kind, str]]:
    """How `before` becomes `after`, with long stretches that stay left out.

    >>> pieces("call 98765 now", "call [PHONE] now")
    [('same', 'call '), ('gone', '98765'), ('new', '[PHONE]'), ('same', ' now')]
    """
    old, new = _PIECE.findall(before), _PIECE.findall(after)
    start = _common(old, new)
    old, new, head = old[start:], new[start:], old[:start]
    end = _common(old[::-1], new[::-1])
    old, new, tail = old[:len(old) - end], new[:len(new) - end], old[len(old) - end:]
    steps = (SequenceMatcher(None, old, new, autojunk=False).get_opcodes() if len(old) + len(new) <= MOST_PIECES
             else [("replace", 0, len(old), 0, len(new))])
    found: list[tuple[Kind, list[str]]] = [("same", head)]
    for what, a, b, c, d in steps:
        found += [("same", old[a:b])] if what == "equal" else [("gone", old[a:b]), ("new", new[c:d])]
    texts = [(kind, "".join(each)) for kind, each in (*found, ("same", tail)) if each]
    last = len(texts) - 1
    return [(kind, _short_same(text, place == 0, place == last) if kind == "same" else shown(text))
            for place, (kind, text) in enumerate(texts)]


def _common(old: list[str], new: list[str]) -> int:
    """How many pieces at the beginning are the same."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))


def _short_same(text: str, first: bool, last: bool) -> str:
    if len(text) <= 2 * CONTEXT:
        return text
    begin = "" if first else _head(text, CONTEXT)
    end = "" if last else text[len(text) - len(_head(text[::-1], CONTEXT)):]
    return (begin + GAP + end) if not (first and last) else _head(text, 2 * CONTEXT) + GAP


def _head(text: str, most: int) -> str:
    """The first characters, up to a blank where there is one near."""
    cut = max(text.rfind(" ", 0, most), text.rfind("\n", 0, most))
    return text[:cut if cut > most // 2 else most]


def shown(text: str, most: int = MOST_CHARACTERS) -> str:
    """A text with what is invisible made visible, cut if it is long.

    >>> shown("a\\u200bb")
    'a[U+200B]b'
    """
    cut = text if len(text) <= most else _head(text, most) + GAP.rstrip()
    return "".join(f"[U+{ord(each):04X}]" if _invisible(each) else each for each in cut)


def _invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf") and character not in "\n\t\u200c\u200d"


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
        found = [("gone", shown(before))] if change.after is None else pieces(before, change.after)
        for kind, text in found:
            ground, ink = COLOURS[kind]
            style = QTextCharFormat()
            style.setFont(QFont(theme.base_font()))
            style.setForeground(theme.colour(ink))
            if ground:
                style.setBackground(theme.colour(ground))
            style.setFontStrikeOut(kind == "gone")
            cursor.insertText(text, style)


class ChangesCard(Card):
    """Shows what would change by what is decided.

    Signals:
        closed: the user has seen it.
    """

    closed = Signal()

    def __init__(self) -> None:
        super().__init__(" ")
        self._task = TaskSlot()
        self.banner = ErrorBanner()
        self.summary = text_label("", "strong", wrap=True, name="changes_summary")
        self.more = text_label("", "small", wrap=True, name="changes_more")
        self.view = ChangesView()
        self.view.setObjectName("changes_view")
        inset = QFrame()
        inset.setProperty("inset", True)
        column_in(inset, self.view, spacing=None)
        self.strip = ProgressStrip(cancelled=self.close_card)
        self.strip.end()
        close = SecondaryButton(tr("Close"), tr("Go back to the rows (Esc)."), name="changes_close",
                                clicked=self.close_card)
        fill(self.body, self.banner, self.summary, self.more, self.strip, (inset, 1),
             row_of((text_label(tr("Your file is never changed."), "small"), 1), close))
        add_key(self, "Escape", self.close_card, inside=True)

    def show_decisions(self, report: work.Report, decisions: Mapping[str, str]) -> None:
        """Fix in memory, and show what that does."""
        self._task.cancel()
        self.banner.clear()
        self.title.setText(tr("Changes to {name}", name=report.asked.dataset.name))
        self.summary.setText(tr("Checking what would change…"))
        self.more.setText("")
        self.view.show_changes(())
        self.strip.start_soon("")
        self._task.run(self, lambda task: work.preview(report, decisions, task), self._show, self._failed)

    def close_card(self) -> None:
        """Go back to the rows."""
        self._task.cancel()
        self.strip.end()
        self.closed.emit()

    def _show(self, found: work.Preview) -> None:
        self.strip.end()
        rewritten = ntr("{n:,} row is rewritten", "{n:,} rows are rewritten", found.rewritten)
        removed = ntr("{n:,} row is removed", "{n:,} rows are removed", found.removed)
        left = ntr("{n:,} row is left", "{n:,} rows are left", len(found.fixed.records))
        self.summary.setText(" · ".join((rewritten, removed, left)))
        shown = len(found.first)
        some = shown < found.changes
        show_text(self.more, tr("{shown:,} of {count:,} changes:", shown=shown, count=found.changes) if some else "")
        self.view.show_changes(found.first)

    def _failed(self, error: Exception) -> None:
        self.strip.end()
        self.summary.setText("")
        self.banner.show_error(error)
