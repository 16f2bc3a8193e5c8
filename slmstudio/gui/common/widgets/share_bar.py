"""A bar of coloured shares with its legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from slmstudio.gui.common import theme


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
