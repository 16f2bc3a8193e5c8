"""What a view is made of: cards, scrolled pages, panes, places to drop files on, and what it says while it is empty."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QByteArray, QEvent, QMimeData, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QDragEnterEvent,
    QDragLeaveEvent,
    QDropEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QShowEvent,
)
from PySide6.QtWidgets import (
    QAbstractButton,
    QFrame,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QSizePolicy,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.labels import ElidedLabel, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_of, column_widget, row_in, row_of

STATE_WIDTH, STATE_PADDING = 660, 36


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
    keep_bar_room(area)
    return area


def keep_bar_room(area: QScrollArea) -> None:
    """Keep the room of the bar at the right while there is none, so that nothing moves sideways when it comes."""
    def fit(least: int, most: int) -> None:
        area.setViewportMargins(0, 0, 0 if most > least else theme.scaled(theme.SCROLL_BAR), 0)

    area.verticalScrollBar().rangeChanged.connect(fit)
    fit(0, 0)


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


# -- The surface that everything is on, and a line above rows that says what is different about them.


class Card(QFrame):
    """A quiet surface with a heading and a body.

    Attributes:
        header: the heading's row. Buttons are added at its right; chips may be put behind the heading with
            `header.insertWidget(1, ...)`.
        body: the layout that takes the content.
        title: the heading's label.
    """

    def __init__(self, title: str = ""):
        super().__init__()
        self.setProperty("card", True)
        layout = column_in(self, spacing=theme.SPACE_M, margins=theme.CARD_PADDING)
        self.title = ElidedLabel(title, "heading")
        self.header = row_of(self.title, STRETCH)
        self.body = column_of(spacing=theme.SPACE_M)
        if title:
            layout.addLayout(self.header)
        layout.addLayout(self.body, 1)

    def minimumSizeHint(self) -> QSize:
        """With room for wrapped text in the lines that it takes at this width: in a lower window the page scrolls."""
        hint, layout = super().minimumSizeHint(), self.layout()
        high = layout.minimumHeightForWidth(self.width()) if layout.hasHeightForWidth() else 0
        return QSize(hint.width(), max(hint.height(), high))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self.updateGeometry()


class Fold(QWidget):
    """What is folded away below its title, until that is pressed."""

    def __init__(self, title: str, content: QWidget, name: str = ""):
        super().__init__()
        self._title, self._content = title, content
        self.button = SecondaryButton("", tr("Show or hide this part."), "row", name=name,
                                      clicked=lambda: self.set_open(self._content.isHidden()))
        self.button.setAccessibleName(title)
        column_in(self, row_of(self.button, STRETCH), content, spacing=theme.SPACE_XS)
        self.set_open(False)

    def set_title(self, title: str) -> None:
        self._title = title
        self.button.setAccessibleName(title)
        self.set_open(not self._content.isHidden())

    def set_open(self, on: bool) -> None:
        self._content.setVisible(on)
        self.button.setText(f"▾ {self._title}" if on else f"▸ {self._title}")


class NoteBar(QFrame):
    """A sentence with buttons at its right, hidden while there is nothing to say.

    Args:
        name: the sentence's name for tests.
        kind: "ok" or "warn" gives the ground.
    """

    def __init__(self, name: str, kind: str, buttons: Sequence[QAbstractButton]):
        super().__init__()
        self.setProperty("banner", kind)
        self.text = ElidedLabel("", "body", Qt.TextElideMode.ElideRight, name=name)
        row = row_in(self, (self.text, 1), margins=(theme.SPACE_M, theme.SPACE_XS, theme.SPACE_XS, theme.SPACE_XS))
        for button in buttons:
            row.addWidget(button)
        self.hide()

    def say(self, text: str) -> None:
        """Show this sentence; an empty one hides the bar."""
        self.text.setText(text)
        self.setAccessibleName(text)
        self.setVisible(bool(text))


# -- Panes side by side or one below another, which a user can resize and finds again as they were.


class Panes(QSplitter):
    """A splitter whose sizes are kept with the settings. No pane can be pushed out of sight.

    Args:
        name: under which its sizes are kept.
        stretches: how the panes share what is added to the window.
    """

    def __init__(self, session: Session, name: str, panes: Sequence[QWidget], stretches: Sequence[int],
                 orientation: Qt.Orientation = Qt.Orientation.Horizontal):
        super().__init__(orientation)
        self._session, self._name = session, name
        self.setObjectName(f"panes_{name}")
        self.setChildrenCollapsible(False)
        self.setHandleWidth(theme.CARD_GAP)
        for number, (pane, stretch) in enumerate(zip(panes, stretches, strict=True)):
            self.addWidget(pane)
            self.setStretchFactor(number, stretch)
        self.splitterMoved.connect(self._keep)

    def restore(self, usual: Sequence[int]) -> None:
        """Take the sizes that were kept, else these in pixels."""
        kept = self._session.settings.panes.get(self._name, "")
        if not (kept and self.restoreState(QByteArray.fromBase64(kept.encode("ascii", "ignore")))):
            self.setSizes(list(usual))

    def _keep(self) -> None:
        """Remembered here; the window saves the settings when it closes."""
        self._session.settings.panes[self._name] = base64.b64encode(self.saveState().data()).decode()
