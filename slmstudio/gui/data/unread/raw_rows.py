"""The first rows of a file as it has them, as a table."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from slmstudio.core.data.reader import Preview
from slmstudio.core.data.sources.row import one_line
from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.labels import plain_tip

_Index = QModelIndex | QPersistentModelIndex
_ROOT = QModelIndex()
COLUMN_WIDTH = 180
MOST_STRETCHED = 6
"""Columns that share the width; more of them are scrolled through."""


class RawRows(QAbstractTableModel):
    """The rows, by their columns."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.found = Preview(Path())

    def show_rows(self, found: Preview) -> None:
        self.beginResetModel()
        self.found = found
        self.endResetModel()

    def rowCount(self, parent: _Index = _ROOT) -> int:
        return 0 if parent.isValid() else len(self.found.rows)

    def columnCount(self, parent: _Index = _ROOT) -> int:
        return 0 if parent.isValid() else len(self.found.columns)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return self.found.columns[section]
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        return None

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if role not in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return None
        text = one_line(self.found.rows[index.row()].get(self.found.columns[index.column()]))
        return plain_tip(text) if role == Qt.ItemDataRole.ToolTipRole else text


class RawTable(QTableView):
    """Shows them."""

    def __init__(self, name: str, parent: QWidget | None = None):
        super().__init__(parent)
        self.setObjectName(name)
        self.setAccessibleName(tr("The first rows of the file"))
        self.rows = RawRows(self)
        self.setModel(self.rows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.verticalHeader().hide()
        theme.grow(self.verticalHeader(), "setDefaultSectionSize", 33)
        self.horizontalHeader().setHighlightSections(False)
        self.horizontalHeader().setDefaultSectionSize(COLUMN_WIDTH)

    def show_rows(self, found: Preview) -> None:
        """Show the first rows of another file."""
        self.rows.show_rows(found)
        few = len(found.columns) <= MOST_STRETCHED
        mode = QHeaderView.ResizeMode.Stretch if few else QHeaderView.ResizeMode.Interactive
        self.horizontalHeader().setSectionResizeMode(mode)
