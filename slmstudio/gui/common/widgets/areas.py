"""Places to drop files on, and what a view says while it is empty."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QEvent, QMimeData, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent, QPainter, QPaintEvent, QPen, QShowEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QFrame,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_widget, row_of

STATE_WIDTH, STATE_PADDING = 620, 36


def local_paths(mime: QMimeData) -> list[Path]:
    """The local files and folders that are dragged."""
    return [Path(url.toLocalFile()) for url in mime.urls() if url.isLocalFile()]


def plain_page() -> QWidget:
    """A page on the ground of what scrolls it, or is around it."""
    page = QWidget()
    page.setProperty("plain", True)
    return page


def rule() -> QFrame:
    """A thin line."""
    line = QFrame()
    line.setProperty("rule", True)
    return line


def scrolled(page: QWidget, name: str = "") -> QScrollArea:
    """A page that is scrolled where it is too high.

    Args:
        name: of a page that is only read: the Tab key leads to it, and the arrow keys scroll it.
    """
    page.setProperty("plain", True)
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFocusPolicy(Qt.FocusPolicy.StrongFocus if name else Qt.FocusPolicy.NoFocus)
    area.setAccessibleName(name)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(page)
    return area


class ScrolledIfNeeded(QScrollArea):
    """As high as what it holds, as long as there is room for that; otherwise it scrolls.

    Args:
        least: pixels that it is high at least.
    """

    def __init__(self, widget: QWidget, least: int):
        super().__init__()
        self.setWidgetResizable(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self._least = least
        widget.setProperty("plain", True)
        self.setWidget(widget)

    def sizeHint(self) -> QSize:
        inner, width = self.widget(), self.viewport().width()
        high = inner.heightForWidth(width) if inner.hasHeightForWidth() else inner.sizeHint().height()
        return QSize(inner.sizeHint().width(), high)

    def minimumSizeHint(self) -> QSize:
        hint = self.sizeHint()
        inner = self.widget()
        width = max(inner.minimumSizeHint().width(), inner.minimumWidth()) + self.verticalScrollBar().sizeHint().width()
        return QSize(width, min(self._least, hint.height()))

    def event(self, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.LayoutRequest, QEvent.Type.Resize):
            self.updateGeometry()  # what it holds is higher or lower now
        return super().event(event)


class TakesFiles:
    """Mixed into a widget: files and folders can be let go over it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.setAcceptDrops(True)  # type: ignore[attr-defined]

    def wanted_files(self, files: list[Path]) -> list[Path]:
        """Those that it takes; where there are none, nothing can be let go."""
        return files

    def take_files(self, files: list[Path]) -> None:
        """What the widget does with them; each says it for itself."""
        raise NotImplementedError

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if self.wanted_files(local_paths(event.mimeData())):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        event.acceptProposedAction()
        self.take_files(self.wanted_files(local_paths(event.mimeData())))


class DropArea(TakesFiles, QFrame):
    """A dashed field that takes files.

    Signals:
        dropped(list[Path]): files or folders were let go over it.
    """

    dropped = Signal(object)

    def __init__(self, text: str = ""):
        super().__init__()
        self._over = False
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(*[theme.CARD_PADDING] * 4)
        if text:
            label = text_label(text, "small", wrap=True, centred=True)
            self.column.addWidget(label)

    def set_highlighted(self, on: bool) -> None:
        self._over = on
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        # A style sheet draws dashes unevenly along the edges.
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        pen = QPen(theme.colour("accent" if self._over else "edge"), 1, Qt.PenStyle.CustomDashLine)
        pen.setDashPattern([4, 3])
        painter.setPen(pen)
        painter.setBrush(theme.colour("accent_ground" if self._over else "card"))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), theme.RADIUS, theme.RADIUS)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        super().dragEnterEvent(event)
        self.set_highlighted(bool(local_paths(event.mimeData())))

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self.set_highlighted(False)

    def take_files(self, files: list[Path]) -> None:
        self.set_highlighted(False)
        self.dropped.emit(files)


class EmptyState(DropArea):
    """What a view says before it has something to show: a question, a sentence, and what to press.

    It takes files like any DropArea; a view that wants none calls `setAcceptDrops(False)`.
    """

    def __init__(self, title: str, text: str, buttons: Sequence[QAbstractButton] = (), note: str = ""):
        super().__init__("")
        theme.grow(self, "setMaximumWidth", STATE_WIDTH)
        self.column.setContentsMargins(*[STATE_PADDING] * 4)
        self.column.setSpacing(theme.SPACE_L)
        self.title = self._line(title, "title")
        self.text = self._line(text, "muted")
        self._row: QHBoxLayout | None = None
        if buttons:
            row = self._row = QHBoxLayout()
            row.setSpacing(theme.SPACE_S)
            row.addStretch(1)
            for button in buttons:
                row.addWidget(button)
            row.addStretch(1)
            self.column.addLayout(row)
        if note:
            self._line(note, "small")

    def showEvent(self, event: QShowEvent) -> None:
        """Long names of buttons make it wider."""
        super().showEvent(event)
        if self._row is not None:
            self.setMaximumWidth(max(theme.scaled(STATE_WIDTH), self._row.minimumSize().width() + 2 * STATE_PADDING))

    def _line(self, text: str, role: str) -> QLabel:
        label = text_label(text, role, wrap=True, centred=True)
        self.column.addWidget(label)
        return label

    @staticmethod
    def centred(state: QWidget) -> QWidget:
        """An empty state, or what is in its place, in the middle of a page."""
        # Stretches instead of an alignment, which wouldn't ask wrapped text for its height.
        return column_widget(STRETCH, row_of(STRETCH, (state, 100), STRETCH, spacing=None), STRETCH, spacing=None,
                             margins=None)
