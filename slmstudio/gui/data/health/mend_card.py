"""Fixing: which kinds, what would change, and the button that writes it as a new version."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import takewhile
from typing import TYPE_CHECKING, Literal

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QFont, QTextBlockFormat, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QCheckBox, QFrame, QTextEdit, QWidget

from slmstudio.core.data.health.finding import KINDS
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import TaskSlot
from slmstudio.gui.common.widgets.areas import Card, ScrolledIfNeeded
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import ElidedLabel, plain_tip, show_text, text_label
from slmstudio.gui.common.widgets.layouts import column_in, grid_in, row_of
from slmstudio.gui.common.widgets.progress import ProgressStrip
from slmstudio.gui.data.health import work

if TYPE_CHECKING:
    from slmstudio.core.data.health.finding import Change
    from slmstudio.core.data.reader import Dataset

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


SOON_MS = 120
LIST_HEIGHT = 96


class MendCard(Card):
    """Previews a fix, and writes it.

    Signals:
        written(Dataset, Dataset): the dataset that was fixed, and its new version.
        closed: the user is done, or gave up.
    """

    written = Signal(object, object)
    closed = Signal()

    def __init__(self) -> None:
        super().__init__(" ")
        self._report: work.Report | None = None
        self._preview: work.Preview | None = None
        self._task = TaskSlot()
        self._writing = False
        self.kinds: dict[str, QCheckBox] = {}
        self.banner = ErrorBanner()
        self._holder = QWidget()
        self._boxes = grid_in(self._holder, theme.SPACE_L, theme.SPACE_S, stretch=1)
        self.summary = text_label("", "strong", wrap=True, name="mend_summary")
        self.more = text_label("", "small", wrap=True, name="mend_more")
        self.view = ChangesView()
        self.view.setObjectName("mend_changes")
        inset = QFrame()
        inset.setProperty("inset", True)
        column_in(inset, self.view, spacing=None)
        self.strip = ProgressStrip(cancelled=self.close_card)
        self.strip.end()
        for widget, stretch in ((self.banner, 0), (ScrolledIfNeeded(self._holder, LIST_HEIGHT), 0), (self.summary, 0),
                                (self.more, 0), (self.strip, 0), (inset, 1)):
            self.body.addWidget(widget, stretch)
        self._make_buttons()
        self._later = QTimer(self, interval=SOON_MS, singleShot=True, timeout=self._look)
        add_key(self, "Escape", self.close_card, inside=True)

    def _make_buttons(self) -> None:
        self.write = PrimaryButton(tr("Save a new version"),
                                   tr("Save the rows as shown here in a new file, and open it. Your file isn't "
                                      "changed."), name="mend_write", clicked=self._write)
        cancel = SecondaryButton(tr("Cancel"), tr("Go back to the rows. Nothing is changed (Esc)."), name="mend_cancel",
                                 clicked=self.close_card)
        self.body.addLayout(row_of((text_label(tr("Your file is never changed."), "small"), 1), cancel, self.write))

    def open_report(self, report: work.Report, kind: str) -> None:
        """Preview the fix of one kind; others can be ticked too."""
        self._report = report
        self.banner.clear()
        self.title.setText(tr("Fix {name}", name=report.asked.dataset.name))
        while (item := self._boxes.takeAt(0)) is not None:
            if (old := item.widget()) is not None:
                old.deleteLater()
        self.kinds = {}
        for finding in report.made.findings:
            if finding.fix is None:
                continue
            box = named(QCheckBox(" · ".join((KINDS[finding.kind].title,
                                              ntr("{n:,} row", "{n:,} rows", finding.count)))), f"mend_{finding.kind}",
                        tip=plain_tip(f"{finding.sentence} {finding.fix}"))
            box.setAccessibleDescription(finding.fix)
            box.setChecked(finding.kind == kind)
            box.toggled.connect(self._later.start)
            place = len(self.kinds)
            self._boxes.addWidget(box, place, 0)
            self._boxes.addWidget(ElidedLabel(finding.fix, "small", Qt.TextElideMode.ElideRight), place, 1)
            self.kinds[finding.kind] = box
        self._look()
        first = self.kinds.get(kind)
        if first is not None:
            first.setFocus()

    def close_card(self) -> None:
        """Give up, and go back to the rows."""
        if self._writing:
            return  # a half-written file is of no use
        self._stop()
        self._report = self._preview = None
        self.closed.emit()

    def _stop(self) -> None:
        self._task.cancel()
        self._later.stop()
        self.strip.end()

    def _look(self) -> None:
        """Fix in memory, and show what that does."""
        report = self._report
        if report is None or self._writing:
            return
        self._stop()
        self._preview = None
        self.write.setEnabled(False)
        kinds = [kind for kind, box in self.kinds.items() if box.isChecked()]
        if not kinds:
            self.summary.setText(tr("Choose what to fix."))
            self.more.setText("")
            self.view.show_changes(())
            return
        self.summary.setText(tr("Checking what would change…"))
        self.strip.start_soon("")
        self._task.run(self, lambda task: work.preview(report, kinds, task), self._show, self._failed)

    def _show(self, found: work.Preview) -> None:
        self._preview = found
        self.strip.end()
        rewritten = ntr("{n:,} row is rewritten", "{n:,} rows are rewritten", found.rewritten)
        removed = ntr("{n:,} row is removed", "{n:,} rows are removed", found.removed)
        left = ntr("{n:,} row is left", "{n:,} rows are left", len(found.fixed.records))
        self.summary.setText(" · ".join((rewritten, removed, left)))
        shown = len(found.first)
        some = shown < found.changes
        show_text(self.more, tr("{shown:,} of {count:,} changes:", shown=shown, count=found.changes) if some else "")
        self.view.show_changes(found.first)
        self.write.setEnabled(bool(found.changes) and bool(found.fixed.records))

    def _failed(self, error: Exception) -> None:
        self.strip.end()
        self.summary.setText("")
        self.banner.show_error(error)
        self._set_writing(False)
        self.write.setEnabled(self._preview is not None)

    def _set_writing(self, on: bool) -> None:
        self._writing = on
        for box in self.kinds.values():
            box.setEnabled(not on)
        self.write.setEnabled(not on)
        self.strip.cancel.setVisible(not on)

    def _write(self) -> None:
        report, found = self._report, self._preview
        if report is None or found is None:
            return
        dataset = report.asked.dataset
        self._set_writing(True)
        self.strip.start_soon(tr("Saving a new version"))
        self._task.run(self, lambda task: work.write(dataset, found.fixed.records, found.steps(), task),
                       lambda made: self._was_written(dataset, made), self._failed, self.strip.set_progress)

    def _was_written(self, dataset: Dataset, made: Dataset) -> None:
        self._set_writing(False)
        self._stop()
        self._report = self._preview = None
        self.written.emit(dataset, made)
        self.closed.emit()
