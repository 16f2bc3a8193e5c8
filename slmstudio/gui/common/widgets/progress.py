"""How far a piece of work is, in one line; and a bar of coloured shares."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QFontMetrics, QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QProgressBar, QSizePolicy, QWidget

from slmstudio.core import units
from slmstudio.core.i18n import tr
from slmstudio.core.time_left import ProgressLeft
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import SecondaryButton, Slot
from slmstudio.gui.common.widgets.labels import ElidedLabel, show_text
from slmstudio.gui.common.widgets.layouts import column_in, row_in, row_of

# -- A bar of coloured shares with its legend.


@dataclass(frozen=True)
class Share:
    """One part of the bar.

    Attributes:
        amount: in the unit of the bar's whole.
        colour: a token of the theme.
        label: what the legend says, with its figure.
    """

    amount: float
    colour: str
    label: str


class ShareBar(QWidget):
    """Shares of a whole, side by side, above a legend. What is left of the whole stays empty.

    Args:
        height: of the bar in pixels.
    """

    GAP, SQUARE = 14, 9

    def __init__(self, height: int = 22):
        super().__init__()
        self._height = height
        self._shares: Sequence[Share] = ()
        self._whole = 0.0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        theme.THEME.changed.connect(self.update)

    def show_shares(self, shares: Sequence[Share], whole: float) -> None:
        """Show these shares of `whole`. A sum above `whole` fills the bar to its end."""
        self._shares = [share for share in shares if share.amount > 0]
        self._whole = max(whole, sum(share.amount for share in self._shares), 1e-9)
        self.setAccessibleName(", ".join(share.label for share in self._shares))
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(200, self._height + theme.SPACE_S + self._legend_height(max(1, self.width())))

    def minimumSizeHint(self) -> QSize:
        return QSize(120, self._height)

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return self._height + theme.SPACE_S + self._legend_height(width)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        outline = QPainterPath()
        radius = min(5, self._height / 2)
        outline.addRoundedRect(QRectF(0, 0, self.width(), self._height), radius, radius)
        painter.setClipPath(outline)
        painter.fillRect(self.rect(), theme.colour("hover"))
        left = 0.0
        for share in self._shares:
            width = self.width() * share.amount / self._whole
            painter.fillRect(QRectF(left, 0, width, self._height), theme.colour(share.colour))
            left += width
        painter.setClipping(False)
        self._paint_legend(painter)

    def _paint_legend(self, painter: QPainter) -> None:
        painter.setFont(theme.base_font(theme.SMALL_SIZE))
        line = painter.fontMetrics().height() + 4
        for share, x, y in self._places(self.width()):
            top = self._height + theme.SPACE_S + y * line
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.colour(share.colour))
            painter.drawRoundedRect(QRectF(x, top + (line - self.SQUARE) / 2, self.SQUARE, self.SQUARE), 2, 2)
            painter.setPen(theme.colour("muted"))
            painter.drawText(QRectF(x + self.SQUARE + 6, top, self.width(), line),
                             int(Qt.AlignmentFlag.AlignVCenter), share.label)

    def _legend_height(self, width: int) -> int:
        places = self._places(width)
        lines = places[-1][2] + 1 if places else 0
        return lines * (QFontMetrics(theme.base_font(theme.SMALL_SIZE)).height() + 4)

    def _places(self, width: int) -> list[tuple[Share, int, int]]:
        """Where each entry of the legend is: its left edge in pixels and its line."""
        metrics = QFontMetrics(theme.base_font(theme.SMALL_SIZE))
        found, x, y = [], 0, 0
        for share in self._shares:
            wide = self.SQUARE + 6 + metrics.horizontalAdvance(share.label) + self.GAP
            if x and x + wide - self.GAP > width:
                x, y = 0, y + 1
            found.append((share, x, y))
            x += wide
        return found


TOLD_AFTER_SECONDS = 2.0
SOON_MS = 300
"""Work that ends sooner isn't shown: a bar that flashes up is only distracting."""


class ProgressBar(QProgressBar):
    """A bar without a text. Where nothing is to move, a bar whose end nobody knows stays empty."""

    def __init__(self) -> None:
        super().__init__()
        self.setTextVisible(False)

    def setRange(self, least: int, most: int) -> None:
        if least == most == 0 and theme.THEME.still:
            super().setRange(0, 1)
            self.setValue(0)
        else:
            super().setRange(least, most)


class ProgressStrip(QWidget):
    """A bar, a sentence with the time left, and Cancel.

    Attributes:
        row: the layout with the bar and the buttons.

    Signals:
        cancelled: the user pressed Cancel.
    """

    cancelled = Signal()

    def __init__(self, *, cancellable: bool = True, name: str = "", tip: str = "", cancelled: Slot | None = None,
                 lines: int = 1):
        """
        Args:
            lines: 2 where the bar leaves no room for the sentence and the time left beside it: they are above it.
            tip: what Cancel does.
            cancelled: is called then.
        """
        super().__init__()
        self.setObjectName(name)
        self.label = ElidedLabel("", "small")
        self.bar = ProgressBar()
        self.bar.setAccessibleName(tr("Progress"))
        self.detail = ElidedLabel("", "small", Qt.TextElideMode.ElideRight)
        self.cancel = SecondaryButton(tr("Cancel"), tip or tr("End this work. Nothing is changed."), "small",
                                      name="cancel", clicked=self.cancelled)
        if lines == 1:
            self.row = row_in(self, self.label, (self.bar, 1), self.detail, self.cancel)
        else:
            self.row = row_of((self.bar, 1), self.cancel)
            column_in(self, row_of((self.label, 1), self.detail), self.row, spacing=theme.SPACE_XS)
        self.cancel.setVisible(cancellable)
        if cancelled is not None:
            self.cancelled.connect(cancelled)
        self._soon = QTimer(self, interval=SOON_MS, singleShot=True, timeout=self.show)
        self.start("")

    def start(self, text: str) -> None:
        """Begin a piece of work whose length isn't known yet."""
        self._started = time.monotonic()
        self._left = ProgressLeft(self._started)
        show_text(self.label, text)
        self.detail.setText("")
        self.detail.hide()
        self.bar.setRange(0, 0)

    def start_soon(self, text: str) -> None:
        """Begin a piece of work that may end at once: the strip is seen when it doesn't."""
        self.hide()
        self.start(text)
        self._soon.start()

    def end(self) -> None:
        """The work is done, or given up."""
        self._soon.stop()
        self.hide()

    def set_progress(self, done: int, total: int, text: str | None = None) -> None:
        """Show `done` of `total`, and the time left once it can be told.

        Args:
            text: replaces the percentage and the time left.
        """
        if total <= 0:
            self.bar.setRange(0, 0)
        else:
            self.bar.setRange(0, 1000)
            self.bar.setValue(int(1000 * min(done, total) / total))
        show_text(self.detail, self._time_left(done, total) if text is None else text)

    def show_phase(self, text: str, done: int, total: int) -> None:
        """Show what is being done, and how far it is."""
        self.label.setText(text)
        self.label.show()
        self.set_progress(done, total)

    def _time_left(self, done: int, total: int) -> str:
        if total <= 0:
            return ""
        percent = tr("{percent}%", percent=int(100 * min(done, total) / total))
        now = time.monotonic()
        left = self._left.update(done, total, now)
        if left is None or now - self._started < TOLD_AFTER_SECONDS:
            return percent
        return tr("{percent} · {duration} left", percent=percent, duration=units.format_about(left))
