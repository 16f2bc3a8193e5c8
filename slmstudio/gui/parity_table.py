"""The proof of one export: what was compared, what was found, and what to do where it failed."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtWidgets import QAbstractItemView, QTableView, QVBoxLayout, QWidget

from slmstudio.gui import table_cells, theme
from slmstudio.gui.results_figures import FigureDelegate
from slmstudio.gui.widgets import plain_tip, text_label

Index = QModelIndex | QPersistentModelIndex
NO_PARENT = QModelIndex()
CHECK, FOUND, RIGHT, RESULT = range(4)
ROW_HEIGHT = 40


class ChecksModel(QAbstractTableModel):
    """One row a check."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.checks: list[dict[str, Any]] = []

    def set_checks(self, checks: list[dict[str, Any]]) -> None:
        self.beginResetModel()
        self.checks = checks
        self.endResetModel()

    def rowCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self.checks)

    def columnCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else 4

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return (self.tr("Check"), self.tr("Found"), self.tr("Right"), self.tr("Result"))[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        check, column = self.checks[index.row()], index.column()
        name, passed = str(check.get("name", "")), check.get("passed")
        if role == Qt.ItemDataRole.DisplayRole:
            result = self.tr("passed") if passed else self.tr("failed") if passed is False else "—"
            return (self._label(name), str(check.get("figure", "")), str(check.get("limit", "")), result)[column]
        if role == table_cells.DETAIL and column == CHECK and check.get("limit"):
            return self.tr("right: {limit}").format(limit=check["limit"])
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        if role == table_cells.CHIP and column == RESULT and passed is not None:
            return "ok" if passed else "bad"
        if role == Qt.ItemDataRole.ToolTipRole:
            found = f"{self._label(name)}: {check.get('figure', '')}"
            return plain_tip(str(check.get("remedy") or f"{found}\n{self._meaning(name)}"))
        if role == Qt.ItemDataRole.AccessibleTextRole and column == CHECK:
            return f"{self._label(name)}: {self.data(index.siblingAtColumn(RESULT))}"
        return None

    def _label(self, name: str) -> str:
        return {
            "tokens": self.tr("Token ids equal"),
            "prompt": self.tr("Prompt text equal"),
            "bos": self.tr("Beginning of sequence"),
            "stop": self.tr("Stops at end of turn"),
            "settings": self.tr("Settings"),
            "embeddings": self.tr("Embeddings"),
            "layers": self.tr("Layers"),
            "adapter": self.tr("What was learned"),
            "nmse": self.tr("Error (NMSE)"),
            "top1": self.tr("Top-1"),
            "kl": self.tr("KL divergence"),
            "perplexity": self.tr("Perplexity"),
        }.get(name, name)

    def _meaning(self, name: str) -> str:
        return {
            "tokens": self.tr("Texts of many scripts and your own prompts become the same tokens as in training."),
            "prompt": self.tr("The chat template in the file writes conversations as in training."),
            "bos": self.tr("Servers put the beginning-of-sequence token as often as training did."),
            "stop": self.tr("An answer ends with the token that ended answers in training."),
            "settings": self.tr("Numbers of the architecture, such as the rope base, are the model's."),
            "embeddings": self.tr("Every token has its own embedding in the file, up to rounding."),
            "layers": self.tr("Samples of every layer's weights are the trained ones, up to rounding."),
            "adapter": self.tr("How much of what the adapter learned is found in the file's weights."),
            "nmse": self.tr("Mean squared difference of the logits, by their own size. F16 must stay under 0.0001."),
            "top1": self.tr("How often the most likely next token is the fine-tuned model's."),
            "kl": self.tr("How much the probabilities of the next token differ, in nats."),
            "perplexity": self.tr("Among how many tokens the model chooses on your rows: fine-tuned model → file."),
        }.get(name, "")


class ParityTable(QWidget):
    """The checks of one file, and below them what to do about those that failed."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.checks = ChecksModel(self)
        self.table = QTableView()
        self.table.setObjectName("parity")
        self.table.setModel(self.checks)
        table_cells.dress(self.table, ROW_HEIGHT, self.tr("Proof of the selected export"))
        self.table.setItemDelegate(FigureDelegate(self.table))
        self.table.setColumnHidden(RIGHT, True)  # it stands below the check's name: there is no room beside it
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.remedy = text_label("", "small", wrap=True)
        self.remedy.setObjectName("parity_remedy")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(theme.SPACE_S)
        column.addWidget(self.table)
        column.addWidget(self.remedy)
        self.hide()

    def show_parity(self, parity: dict[str, Any]) -> None:
        """Show what lies beside an export; nothing where it has no checks, as files of older versions."""
        checks = [check for check in parity.get("checks") or [] if isinstance(check, dict)]
        self.checks.set_checks(checks)
        self.remedy.setText("\n".join(str(check["remedy"]) for check in checks if check.get("remedy")))
        self.remedy.setVisible(bool(self.remedy.text()))
        height = self.table.horizontalHeader().sizeHint().height() + ROW_HEIGHT * len(checks)
        self.table.setFixedHeight(height + 2 * theme.FOCUS_RING)
        self.setVisible(bool(checks))
