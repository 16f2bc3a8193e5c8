"""Text: plain, elided, and in chips."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable
from itertools import islice
from os.path import commonprefix

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QLabel, QSizePolicy

from slmstudio.gui.common.theme import restyle

_LONG_RUN = re.compile(r"\S{60,}")
_MARKUP = re.compile(r"[<&]")
_PIECE = 12
"""Characters between two places to break."""
_TIP_LINE = 100
"""Characters of a tooltip's line that fit on any screen."""


def text_label(text: str = "", role: str = "body", *, wrap: bool = False, name: str = "", tone: str = "",
               selectable: bool = False, centred: bool = False) -> QLabel:
    """A label in one of the window's text roles.

    Args:
        role: "title" (20 px), "heading" (14 px, bold), "section" (12 px, bold, muted), "body", "strong",
            "muted" (13 px) or "small" (12 px, muted).
        tone: "ok", "warn", "bad" or "faint" gives it that colour.
        selectable: the text can be marked with the mouse, and copied.
    """
    label = QLabel(text)
    label.setObjectName(name)
    label.setProperty("role", role)
    if tone:
        label.setProperty("tone", tone)
    if selectable:
        label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    if centred:
        label.setAlignment(Qt.AlignmentFlag.AlignCenter)
    label.setWordWrap(wrap)
    label.setTextFormat(Qt.TextFormat.PlainText)
    return label


def show_text(label: QLabel, text: str) -> None:
    """Show this text; an empty one hides the label."""
    label.setText(text)
    label.setVisible(bool(text))


def breakable(text: str) -> str:
    """`text` with places to break in runs that are too long for a line, which a label would cut off.

    A model that repeats itself writes them. Addresses stay whole, so that they can be copied.
    """
    return _LONG_RUN.sub(lambda run: run[0] if "/" in run[0] else _broken(run[0]), text)


def _broken(run: str) -> str:
    out, since = [], 0
    for before, letter in zip(" " + run, run, strict=False):
        # A mark belongs to the letter before it, and a virama (class 9) joins the one behind it.
        joined = unicodedata.category(letter).startswith("M") or unicodedata.combining(before) == 9
        if since >= _PIECE and not joined:
            out.append("\u200b")
            since = 0
        out.append(letter)
        since += 1
    return "".join(out)


def plain_tip(text: str) -> str:
    """A tooltip that shows `text` as it is, in lines of a readable length.

    Qt takes a tooltip that looks like HTML for HTML, and breaks no line of another. Short text stays as it is, for
    screen readers read it out.
    """
    if not _MARKUP.search(text) and all(len(line) <= _TIP_LINE for line in text.splitlines()):
        return text
    return f'<qt><p style="white-space:pre-wrap; margin:0">{html.escape(text)}</p></qt>'


def elided_apart(text: str, others: Iterable[str], letters: QFontMetrics, width: int) -> str:
    """A name that loses its middle where it has no room; or what it shares with the beginning of another name, where
    both would look the same."""
    middle = Qt.TextElideMode.ElideMiddle
    shown = letters.elidedText(text, middle, width)
    alike = [each for each in islice(others, 100 if shown != text else 0)
             if each != text and letters.elidedText(each, middle, width) == shown]
    if not alike:
        return shown
    begin = 1 + max(commonprefix((text, each)).rfind(mark) for each in alike for mark in " -_·/")  # noqa: RUF071
    return letters.elidedText(f"…{text[begin:]}", Qt.TextElideMode.ElideRight, width)


class Chip(QLabel):
    """A few words on a rounded ground; the kind gives the colour.

    Args:
        kind: "plain", "ok", "warn", "bad" or "accent".
    """

    def __init__(self, text: str = "", kind: str = "plain", *, name: str = ""):
        super().__init__(text)
        self.setObjectName(name)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setProperty("chip", kind)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    @property
    def kind(self) -> str:
        return str(self.property("chip"))

    def set(self, text: str, kind: str | None = None, tooltip: str | None = None) -> None:
        """Change text, kind and tooltip together."""
        self.setText(text)
        if tooltip is not None:
            self.setToolTip(plain_tip(tooltip))
        if kind is not None and kind != self.kind:
            self.setProperty("chip", kind)
            restyle(self)


class ElidedLabel(QLabel):
    """One line that is shortened in the middle if there is no room: the ends of a path say the most.

    The whole text is the tooltip while something is hidden.
    """

    def __init__(self, text: str = "", role: str = "body", mode: Qt.TextElideMode = Qt.TextElideMode.ElideMiddle, *,
                 name: str = ""):
        super().__init__(text)
        self._mode = mode
        self.setObjectName(name)
        self.setProperty("role", role)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def minimumSizeHint(self) -> QSize:
        hint = super().minimumSizeHint()
        return QSize(min(hint.width(), self.fontMetrics().horizontalAdvance("m…m")), hint.height())

    def setText(self, text: str) -> None:
        super().setText(text)
        self._update_tooltip()

    def shown_text(self) -> str:
        """What fits of the text."""
        return self.fontMetrics().elidedText(self.text(), self._mode, self.contentsRect().width())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._update_tooltip()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setPen(self.palette().color(self.foregroundRole()))
        align = self.alignment() | Qt.TextFlag.TextSingleLine
        painter.drawText(self.contentsRect(), int(align), self.shown_text())

    def _update_tooltip(self) -> None:
        self.setToolTip(plain_tip(self.text()) if self.shown_text() != self.text() else "")
