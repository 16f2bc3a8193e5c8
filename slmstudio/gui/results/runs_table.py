"""The table of all runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import (
    QAbstractTableModel,
    QEvent,
    QItemSelectionModel,
    QSignalBlocker,
    QSize,
    Qt,
    Signal,
    SignalInstance,
)
from PySide6.QtGui import QAction, QKeyEvent, QKeySequence, QMouseEvent, QPainter, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QStyle, QStyleOptionViewItem, QTableView, QWidget

from slmstudio.core.i18n import tr
from slmstudio.core.run.folder import RunSummary
from slmstudio.gui.common import theme
from slmstudio.gui.common.run_texts import outcome_chip, when
from slmstudio.gui.common.widgets import table_cells
from slmstudio.gui.common.widgets.figures import TightDelegate
from slmstudio.gui.common.widgets.labels import plain_tip
from slmstudio.gui.common.widgets.table_cells import NO_PARENT, Index
from slmstudio.gui.results import columns, run_filter
from slmstudio.gui.results.run_facts import RunFacts

TICK = 16
"""Pixels of a row's box."""
ROW_HEIGHT = 50  # Devanagari is higher than Latin
NAME_WIDTH, WIDEST, NARROW = 180, 240, 128
"""Pixels: of the name at least, of another column at most, and at most where there is little room."""
HEAD_ROOM = 2 * table_cells.INSET + 14
"""Pixels of a heading beside its text: its margins, and the arrow of the sorted column."""
LOOKED_AT = 60
"""Rows whose cells decide how wide a column is."""


class RunsModel(QAbstractTableModel):
    """One row a run: those that the filter lets through, in the order of the sorted column.

    Attributes:
        facts: all runs.
        shown: those in the table.
        known_fields: of any run, in their order.
        columns: keys of `RunFacts.values`.
    """

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.facts: list[RunFacts] = []
        self.shown: list[RunFacts] = []
        self.columns: list[str] = list(columns.STANDARD)
        self.sorted_by: tuple[str, bool] = ("created", True)
        self._filter = ""
        self.known_fields: list[str] = []

    @property
    def runs(self) -> list[RunSummary]:
        return [facts.summary for facts in self.shown]

    def set_facts(self, facts: list[RunFacts]) -> None:
        self.beginResetModel()
        self.facts = facts
        self.known_fields = sorted(set[str]().union(*(each.values for each in facts)))
        self._arrange()
        self.endResetModel()

    def set_columns(self, names: Sequence[str]) -> None:
        self.beginResetModel()
        self.columns = [columns.NAME, *(name for name in names if name != columns.NAME)]
        self.endResetModel()

    def set_filter(self, line: str) -> None:
        if line == self._filter:
            return
        self.beginResetModel()
        self._filter = line
        self._arrange()
        self.endResetModel()

    def unknown_fields(self) -> list[str]:
        """Names in the filter that no run has a field for."""
        return run_filter.unknown_fields(run_filter.parse(self._filter, self.known_fields), self.known_fields)

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        if not 0 <= column < len(self.columns):
            return
        key = self.columns[column]
        self.beginResetModel()
        # The first column shows name and age; sorted by it, the newest is meant to be the last or the first.
        self.sorted_by = ("created" if key == columns.NAME else key, order == Qt.SortOrder.DescendingOrder)
        self._arrange()
        self.endResetModel()

    def _arrange(self) -> None:
        key, falling = self.sorted_by
        conditions = run_filter.parse(self._filter, self.known_fields)
        found = [facts for facts in self.facts if run_filter.matches(conditions, facts.values, facts.text)]
        if key == "created":
            self.shown = sorted(found, key=lambda facts: facts.summary.created, reverse=falling)
            return
        known = [facts for facts in found if facts.values.get(key) is not None]
        unknown = [facts for facts in found if facts.values.get(key) is None]  # at the end, whichever way
        known.sort(key=lambda facts: columns.sort_key(facts.values[key]), reverse=falling)
        self.shown = known + unknown

    def rowCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self.shown)

    def columnCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self.columns)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(self.columns):
            return None
        key = self.columns[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return columns.title(key)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return self._alignment(key)
        return plain_tip(columns.tooltip(key)) if role == Qt.ItemDataRole.ToolTipRole else None

    def _alignment(self, key: str) -> int:
        value = next((facts.values[key] for facts in self.facts if facts.values.get(key) is not None), None)
        right = columns.is_figure(value) or columns.score_of(key) is not None or key == "eval_loss"
        side = Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft
        return int(side | Qt.AlignmentFlag.AlignVCenter)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        facts, key = self.shown[index.row()], self.columns[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return columns.cell(key, facts.values.get(key))
        if role == table_cells.DETAIL:
            return self._below(facts) if key == columns.NAME else None
        if role == table_cells.CHIP:
            return outcome_chip(facts.summary.state)[1] if key == "outcome" else None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return self._alignment(key)
        return self._tooltip(facts, key) if role == Qt.ItemDataRole.ToolTipRole else None

    def _below(self, facts: RunFacts) -> str:
        return " · ".join([when(facts.summary.created), *facts.notes.tags])

    def _tooltip(self, facts: RunFacts, key: str) -> str:
        if key in (columns.NAME, "base"):
            return plain_tip("\n".join(filter(None, (facts.summary.config.name, str(facts.folder), facts.notes.text))))
        value = facts.values.get(key)
        return "" if value is None or columns.score_of(key) else plain_tip(columns.cell(key, value))

    def as_table(self) -> list[list[object]]:
        """What is shown, for a CSV: figures as they are, not as they are rounded."""
        def raw(value: Any) -> object:
            return ", ".join(map(str, value)) if isinstance(value, list) else value

        head: list[object] = [columns.csv_title(key) for key in self.columns]
        return [head, *([raw(facts.values.get(key)) for key in self.columns] for facts in self.shown)]


class TickDelegate(TightDelegate):
    """Draws a box at the left of each row, ticked while the row is selected."""

    def paint(self, painter: QPainter, option: Any, index: Index) -> None:
        if index.column() == 0:
            cell, box = QStyleOptionViewItem(option), QStyleOptionViewItem(option)
            cell.rect.setLeft(cell.rect.left() + tick_width())
            box.rect.setWidth(tick_width())
            painter.save()
            self._paint_ground(painter, box)
            selected = box.state & QStyle.StateFlag.State_Selected
            box.state |= QStyle.StateFlag.State_On if selected else QStyle.StateFlag.State_Off
            box.rect = QStyle.alignedRect(option.widget.layoutDirection(), Qt.AlignmentFlag.AlignRight
                                          | Qt.AlignmentFlag.AlignVCenter, QSize(*2 * (theme.scaled(TICK),)), box.rect)
            option.widget.style().drawPrimitive(QStyle.PrimitiveElement.PE_IndicatorItemViewItemCheck, box, painter,
                                                option.widget)
            painter.restore()
            option = cell
        super().paint(painter, option, index)


def tick_width() -> int:
    """Pixels at the left of a row that belong to its box."""
    return theme.scaled(TICK) + table_cells.INSET


class RunsTable(QTableView):
    """All runs, sortable by any column; ticked boxes, Ctrl and a click, or the space bar choose several. Selection and
    scrolling outlast new data.

    Signals:
        chosen(list[RunSummary]): other runs are selected; the first is the current one.
        sort_changed: the user sorts by another column.
        rename(RunSummary), open_folder(RunSummary), delete(RunSummary): wanted from the menu, or by a key.
    """

    chosen = Signal(list)
    sort_changed = Signal()
    rename = Signal(object)
    open_folder = Signal(object)
    delete = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("runs")
        self.runs = RunsModel(self)
        self.setModel(self.runs)
        self._kept: tuple[set[Path], Path | None, int] = (set(), None, 0)
        self._wanted: list[int] = []
        table_cells.dress(self, ROW_HEIGHT, tr("Runs"))
        self.setItemDelegate(TickDelegate(self))
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)  # see _share_room
        header.setResizeContentsPrecision(LOOKED_AT)
        header.setSortIndicator(0, Qt.SortOrder.DescendingOrder)
        self.setSortingEnabled(True)
        header.sortIndicatorChanged.connect(lambda: self.sort_changed.emit())
        self.runs.modelAboutToBeReset.connect(self._keep)
        self.runs.modelReset.connect(self._restore)
        self.selectionModel().selectionChanged.connect(lambda: self.chosen.emit(self.selected()))
        self._add_actions()

    def _add_actions(self) -> None:
        """What the menu offers for the current run; the keys work while the table has the focus."""
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        for name, text, key, signal in (("rename", tr("Rename…"), "F2", self.rename),
                                        ("open", tr("Open folder"), "", self.open_folder),
                                        ("delete", tr("Delete…"), "Del", self.delete)):
            action = QAction(text, self)
            action.setObjectName(f"menu_{name}")
            action.setShortcut(QKeySequence(key))
            action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
            action.triggered.connect(lambda _=False, signal=signal: self._report(signal))
            self.addAction(action)

    def _report(self, signal: SignalInstance) -> None:
        if chosen := self.selected():
            signal.emit(chosen[0])

    # -- what is shown ---------------------------------------------------------------------------------------

    def set_facts(self, facts: list[RunFacts], select: Path | None) -> None:
        """Show these runs and keep the selection; without one, select `select` or the newest."""
        self.runs.set_facts(facts)
        if select is not None and select in self._folders():
            self.select({select})
        self.chosen.emit(self.selected())

    def set_filter(self, line: str) -> list[str]:
        """Show the runs that a line of conditions lets through.

        Returns:
            names in the line that no run has a field for.
        """
        before = [run.folder for run in self.selected()]
        self.runs.set_filter(line)
        if [run.folder for run in self.selected()] != before:
            self.chosen.emit(self.selected())
        return self.runs.unknown_fields()

    def set_columns(self, names: Sequence[str]) -> None:
        """Show these columns; the first is always the run."""
        self.runs.set_columns(names)
        self._show_indicator()

    def sort_by(self, key: str, falling: bool) -> None:
        """Sort by a field, also one that isn't shown."""
        self.runs.sorted_by = (key, falling)
        self.runs.set_facts(self.runs.facts)
        self._show_indicator()

    def _show_indicator(self) -> None:
        key, falling = self.runs.sorted_by
        key = columns.NAME if key == "created" else key
        header = self.horizontalHeader()
        at = self.runs.columns.index(key) if key in self.runs.columns else -1
        with QSignalBlocker(header):
            header.setSortIndicator(at, Qt.SortOrder.DescendingOrder if falling else Qt.SortOrder.AscendingOrder)

    def selectionCommand(self, index: Index, event: QEvent | None = None) -> QItemSelectionModel.SelectionFlag:
        """A click on a row's box, and the space bar, select the row beside the others, or no longer."""
        flag = QItemSelectionModel.SelectionFlag
        if isinstance(event, QKeyEvent) and event.key() == Qt.Key.Key_Space:
            return flag.Toggle | flag.Rows
        if isinstance(event, QMouseEvent) and not event.modifiers() and index.isValid() and (
                0 <= event.position().x() - self.columnViewportPosition(0) < tick_width()):
            return flag.Toggle | flag.Rows if event.type() == QEvent.Type.MouseButtonPress else flag.NoUpdate
        return super().selectionCommand(index, event)

    # -- selection -------------------------------------------------------------------------------------------

    def select(self, folders: set[Path], current: Path | None = None) -> None:
        """Select the runs of these folders."""
        selection = self.selectionModel()
        blocked = selection.blockSignals(True)
        selection.clear()
        rows = [row for row, facts in enumerate(self.runs.shown) if facts.folder in folders]
        rows.sort(key=lambda row: self.runs.shown[row].folder == current)
        for row in rows:
            index = self.runs.index(row, 0)
            selection.setCurrentIndex(index, selection.SelectionFlag.Select | selection.SelectionFlag.Rows)
        if len(rows) == 1:
            self.scrollTo(self.runs.index(rows[0], 0))
        selection.blockSignals(blocked)
        self.viewport().update()

    def selected(self) -> list[RunSummary]:
        """The selected runs, the current one first."""
        return [facts.summary for facts in self.selected_facts()]

    def selected_facts(self) -> list[RunFacts]:
        rows = self.selectionModel().selectedRows()
        current = self.currentIndex().row()
        ordered = sorted(rows, key=lambda index: (index.row() != current, index.row()))
        return [self.runs.shown[index.row()] for index in ordered]

    def _folders(self) -> list[Path]:
        return [facts.folder for facts in self.runs.shown]

    def _keep(self) -> None:
        chosen = self.selected_facts()
        self._kept = ({facts.folder for facts in chosen}, chosen[0].folder if chosen else None,
                      self.verticalScrollBar().value())

    def _restore(self) -> None:
        folders, current, scrolled = self._kept
        here = self._folders()
        wanted = folders & set(here)
        if not wanted and here:
            newest = max(self.runs.shown, key=lambda facts: facts.summary.created)
            wanted, current = {newest.folder}, newest.folder
        self.select(wanted, current)
        if folders:
            self.verticalScrollBar().setValue(scrolled)
        letters = self.horizontalHeader().fontMetrics()
        self._wanted = [max(self.sizeHintForColumn(number), letters.horizontalAdvance(columns.title(key)) + HEAD_ROOM)
                        for number, key in enumerate(self.runs.columns) if number]
        self._share_room()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._share_room()

    def _share_room(self) -> None:
        """The name takes what the other columns leave, but never so little that it can't be read."""
        header, room = self.horizontalHeader(), self.viewport().width()
        tight = sum(min(width, WIDEST) for width in self._wanted) + NAME_WIDTH > room
        others = [min(width, NARROW if tight else WIDEST) for width in self._wanted]
        for column, width in enumerate([max(NAME_WIDTH, room - sum(others)), *others]):
            header.resizeSection(column, width)
