"""What happened in a run: the few events worth a line, or the log."""

from __future__ import annotations

import time
from typing import Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QSize, Qt
from PySide6.QtGui import QAction, QFontMetrics, QGuiApplication, QKeySequence
from PySide6.QtWidgets import QAbstractItemView, QListView, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from slmstudio.core.i18n import tr
from slmstudio.core.run.event_text import event_text, tone
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import Card, scrolled
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton, SegmentedControl
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import fill
from slmstudio.gui.common.widgets.table_cells import NO_PARENT, Index

LEVELS = {"debug": 0, "info": 1, "warning": 2, "error": 3, "critical": 3}


def clock(when: Any) -> str:
    """Local time of day, "14:32"; "" for no time."""
    return time.strftime("%H:%M", time.localtime(when)) if isinstance(when, (int, float)) and when > 0 else ""


class FeedModel(QAbstractListModel):
    """The told events, newest first."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._lines: list[tuple[str, bool]] = []
        self._taken = 0

    def clear(self) -> None:
        self.beginResetModel()
        self._lines, self._taken = [], 0
        self.endResetModel()

    def take(self, told: list[dict[str, Any]]) -> None:
        """Add what came since the last call."""
        fresh = [(event, event_text(event)) for event in told[self._taken:]]
        self._taken = len(told)
        lines = [(f"{clock(event.get('time'))}  {text}", bool(tone(event)))
                 for event, text in fresh if text]
        if lines:
            self.beginInsertRows(QModelIndex(), 0, len(lines) - 1)
            self._lines[:0] = lines[::-1]
            self.endInsertRows()

    def rowCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self._lines)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        text, warning = self._lines[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return text
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip(text)
        if role == Qt.ItemDataRole.ForegroundRole:
            return theme.colour("warn" if warning else "muted")
        return None


class LogModel(QAbstractListModel):
    """The log's lines at or above a level, oldest first."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._all: list[dict[str, Any]] = []
        self._shown: list[dict[str, Any]] = []
        self._taken = self._level = 0

    def clear(self) -> None:
        self.beginResetModel()
        self._all, self._shown, self._taken = [], [], 0
        self.endResetModel()

    def take(self, log: list[dict[str, Any]]) -> None:
        """Add what came since the last call."""
        fresh = log[self._taken:]
        self._taken = len(log)
        self._all += fresh
        shown = [event for event in fresh if self._wanted(event)]
        if shown:
            first = len(self._shown)
            self.beginInsertRows(QModelIndex(), first, first + len(shown) - 1)
            self._shown += shown
            self.endInsertRows()

    def set_level(self, level: int) -> None:
        """Show only lines of `level` (0 debug to 3 error) and above."""
        self.beginResetModel()
        self._level = level
        self._shown = [event for event in self._all if self._wanted(event)]
        self.endResetModel()

    def _wanted(self, event: dict[str, Any]) -> bool:
        return _level(event) >= self._level

    def text(self, row: int) -> str:
        event = self._shown[row]
        return f"{clock(event.get('time'))} {event.get('message', '')}"

    def rowCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self._shown)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if role == Qt.ItemDataRole.DisplayRole:
            return self.text(index.row())
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip(self.text(index.row()))
        if role == Qt.ItemDataRole.ForegroundRole:
            return theme.colour(("muted", "ink", "warn", "bad")[_level(self._shown[index.row()])])
        return None


def _level(event: dict[str, Any]) -> int:
    if event.get("type") == "warning":
        return LEVELS["warning"]
    return LEVELS.get(str(event.get("level", "info")), 1)


class _WrappedLines(QStyledItemDelegate):
    """Qt takes the lines of a row for as high as the first font's, and leaves out one that doesn't fit then."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        hint, height = super().sizeHint(option, index), QFontMetrics(theme.base_font(theme.SMALL_SIZE)).height()
        lines = hint.height() // height
        return hint + QSize(0, lines * (theme.line_height(theme.SMALL_SIZE) - height)) if lines > 1 else hint


class RunFeed(Card):
    """What happened, or the log: one of the two."""

    def __init__(self) -> None:
        super().__init__(" ")
        self.title.hide()
        self.feed, self.log = FeedModel(self), LogModel(self)
        self.mode = SegmentedControl([tr("Events"), tr("Log")],
                                     tooltips=[tr("Evaluations, checkpoints, changes and warnings of the run."),
                                               tr("Every line the run logged.")], name="feed_mode")
        self.mode.setAccessibleName(tr("Events or log"))
        self.header.insertWidget(0, self.mode)
        self._nothing = text_label(
            tr("Evaluations, checkpoints and warnings of the run appear here."), "small", wrap=True)
        self._nothing.setAlignment(Qt.AlignmentFlag.AlignTop)
        # Large text needs more room than there may be.
        self._nothing_area = scrolled(self._nothing, tr("Events of the run"))
        self.feed_view = self._make_view(self.feed, tr("Events of the run"), "feed")
        self.feed_view.setWordWrap(True)
        self.feed_view.setItemDelegate(_WrappedLines(self.feed_view))
        self.log_view = self._make_view(self.log, tr("Log of the run"), "log")
        self.log_view.setUniformItemSizes(True)
        self.log_view.setTextElideMode(Qt.TextElideMode.ElideRight)
        self._add_copy()
        self._add_switches()
        fill(self.body, (self._nothing_area, 1), (self.feed_view, 1), (self.log_view, 1))
        self.mode.changed.connect(self._show_mode)
        self._show_mode()
        theme.THEME.changed.connect(self._repaint)

    def _make_view(self, model: QAbstractListModel, name: str, object_name: str) -> QListView:
        view = named(QListView(), object_name, name)
        view.setModel(model)
        view.setProperty("lines", True)
        view.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        view.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        view.setResizeMode(QListView.ResizeMode.Adjust)
        view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        view.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        return view

    def _add_switches(self) -> None:
        self.warnings = SecondaryButton(tr("Warnings"), tr("Show only warnings and errors."), "small",
                                        name="log_warnings")
        self.warnings.setCheckable(True)
        self.warnings.toggled.connect(lambda on: self.log.set_level(LEVELS["warning"] if on else 0))
        self._copy = IconButton("copy", tr("Copy the selected lines of the log, or all of them"), name="copy_log",
                                clicked=self.copy_log)
        fill(self.header, self.warnings, self._copy)

    def _show_mode(self) -> None:
        log = self.mode.current() == 1
        for widget in (self.log_view, self.warnings, self._copy):
            widget.setVisible(log)
        self.feed_view.setVisible(not log and bool(self.feed.rowCount()))
        self._nothing_area.setVisible(not log and not self.feed.rowCount())

    def _add_copy(self) -> None:
        for view, copy in ((self.feed_view, self.copy_events), (self.log_view, self.copy_log)):
            action = QAction(tr("Copy"), view)
            action.setShortcut(QKeySequence(QKeySequence.StandardKey.Copy))
            action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
            action.triggered.connect(copy)
            view.addAction(action)
            view.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)

    def copy_events(self) -> None:
        """Copy the selected lines, or all."""
        rows = sorted(index.row() for index in self.feed_view.selectedIndexes()) or range(self.feed.rowCount())
        QGuiApplication.clipboard().setText("\n".join(str(self.feed.data(self.feed.index(row))) for row in rows))

    def copy_log(self) -> None:
        rows = sorted(index.row() for index in self.log_view.selectedIndexes()) or range(self.log.rowCount())
        QGuiApplication.clipboard().setText("\n".join(self.log.text(row) for row in rows))

    def clear(self) -> None:
        """Another run is shown from now on."""
        self.feed.clear()
        self.log.clear()
        self._show_mode()

    def update_from(self, history: RunHistory) -> None:
        bar = self.log_view.verticalScrollBar()
        at_end = bar.value() >= bar.maximum() - 2
        self.feed.take(history.told)
        self.log.take(history.log)
        self._show_mode()
        if at_end:
            self.log_view.scrollToBottom()

    def _repaint(self) -> None:
        self.feed_view.viewport().update()
        self.log_view.viewport().update()
