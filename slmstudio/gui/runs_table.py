"""The table of all runs."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QSortFilterProxyModel, Qt, Signal
from PySide6.QtWidgets import QAbstractItemView, QTableView, QWidget

from slmstudio.core import words
from slmstudio.core.run.folder import RunSummary
from slmstudio.gui import table_cells
from slmstudio.gui.run_words import outcome_chip, when

Index = QModelIndex | QPersistentModelIndex
NO_PARENT = QModelIndex()
RUN, BASE, EVAL_LOSS, TIME, OUTCOME = range(5)
ROW_HEIGHT = 48
_RIGHT = Qt.AlignmentFlag.AlignRight


class RunsModel(QAbstractTableModel):
    """One row a run."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.runs: list[RunSummary] = []

    def set_runs(self, runs: list[RunSummary]) -> None:
        self.beginResetModel()
        self.runs = runs
        self.endResetModel()

    def rowCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self.runs)

    def columnCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else 5

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return (self.tr("Run"), self.tr("Base"), self.tr("Eval loss"), self.tr("Time"), self.tr("Outcome"))[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            right = section in (EVAL_LOSS, TIME)
            return int((_RIGHT if right else Qt.AlignmentFlag.AlignLeft) | Qt.AlignmentFlag.AlignVCenter)
        if role == Qt.ItemDataRole.ToolTipRole and section == EVAL_LOSS:
            return self.tr("Loss on rows that the run never learned, at its end. Lower is better; compare only runs "
                           "with the same eval rows.")
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        run, column = self.runs[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(run, column)
        if role == table_cells.SORT:
            return self._sort_value(run, column)
        if role == table_cells.DETAIL:
            return when(run.created) if column == RUN else None
        if role == table_cells.CHIP:
            return outcome_chip(run.state)[1] if column == OUTCOME else None
        if role == Qt.ItemDataRole.TextAlignmentRole and column in (EVAL_LOSS, TIME):
            return int(_RIGHT)
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"{run.config.name}\n{run.folder}" if column in (RUN, BASE) else None
        return None

    def _text(self, run: RunSummary, column: int) -> str:
        if column == RUN:
            return run.config.name
        if column == BASE:
            return Path(run.config.model).name
        if column == EVAL_LOSS:
            return "—" if run.eval_loss_after is None else f"{run.eval_loss_after:.2f}"
        return words.format_duration(run.seconds) if column == TIME else outcome_chip(run.state)[0]

    def _sort_value(self, run: RunSummary, column: int) -> object:
        if column == RUN:
            return run.created
        if column == EVAL_LOSS:
            return float("inf") if run.eval_loss_after is None else run.eval_loss_after
        return run.seconds if column == TIME else self._text(run, column)


class RunsTable(QTableView):
    """All runs, sortable; Ctrl and a click choose several.

    Signals:
        chosen(list[RunSummary]): other runs are selected; the first is the current one.
    """

    chosen = Signal(list)

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.setObjectName("runs")
        self._model = RunsModel(self)
        self._sorted = QSortFilterProxyModel(self)
        self._sorted.setSourceModel(self._model)
        self._sorted.setSortRole(table_cells.SORT)
        self.setModel(self._sorted)
        table_cells.dress(self, ROW_HEIGHT, self.tr("Runs"))
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setSortingEnabled(True)
        self.sortByColumn(RUN, Qt.SortOrder.DescendingOrder)
        self.selectionModel().selectionChanged.connect(lambda: self.chosen.emit(self.selected()))

    def set_runs(self, runs: list[RunSummary], select: Path | None) -> None:
        """Show these runs and keep the selection; without one, select `select` or the newest."""
        kept = {run.folder for run in self.selected()}
        blocked = self.selectionModel().blockSignals(True)
        self._model.set_runs(runs)
        self.selectionModel().blockSignals(blocked)
        wanted = {run.folder for run in runs} & ({select} if select else kept)
        if not wanted and runs:
            wanted = {runs[0].folder}
        self.select(wanted)
        self.chosen.emit(self.selected())

    def select(self, folders: set[Path]) -> None:
        selection = self.selectionModel()
        blocked = selection.blockSignals(True)
        selection.clear()
        for row, run in enumerate(self._model.runs):
            if run.folder in folders:
                index = self._sorted.mapFromSource(self._model.index(row, 0))
                selection.setCurrentIndex(index, selection.SelectionFlag.Select | selection.SelectionFlag.Rows)
                self.scrollTo(index)
        selection.blockSignals(blocked)
        self.viewport().update()

    def selected(self) -> list[RunSummary]:
        """The selected runs, the current one first."""
        rows = self.selectionModel().selectedRows()
        current = self.currentIndex().row()
        ordered = sorted(rows, key=lambda index: (index.row() != current, index.row()))
        return [self._model.runs[self._sorted.mapToSource(index).row()] for index in ordered]
