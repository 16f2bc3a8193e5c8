"""The proof of one export: what was compared, what was found, and what to do where it failed."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QAbstractTableModel, Qt
from PySide6.QtWidgets import QAbstractItemView, QTableView, QWidget

from slmstudio.core.export.proof import HEADINGS, LABELS, NO_LIMIT, required, result
from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets import table_cells
from slmstudio.gui.common.widgets.figures import FigureDelegate
from slmstudio.gui.common.widgets.labels import plain_tip, show_text, text_label
from slmstudio.gui.common.widgets.layouts import column_in
from slmstudio.gui.common.widgets.table_cells import NO_PARENT, Index

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
            return tr(HEADINGS[section])
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip((tr("What was compared between the file and the trained model, and below it what is "
                                 "required. Point at a row to read what it means."),
                              tr("What the comparison found."), tr("What the comparison must find."),
                              tr("Passed: the file does what is required. Failed: it doesn't; the text below says what "
                                 "to do. No limit: a smaller file changes this figure, so it's only shown. Not "
                                 "checked: it couldn't be measured."))[section])
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        check, column = self.checks[index.row()], index.column()
        name, ended, needed = str(check.get("name", "")), result(check), required(check)
        label = tr(LABELS[name]) if name in LABELS else name
        if role == Qt.ItemDataRole.DisplayRole:
            return (label, str(check.get("figure", "")), needed, ended)[column]
        if role == table_cells.DETAIL and column == CHECK:
            return needed or None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        if role == table_cells.CHIP and column == RESULT:
            if check.get("passed") is False:
                return "bad"
            return "ok" if check.get("passed") and check.get("limit") != NO_LIMIT else "plain"
        if role == Qt.ItemDataRole.ToolTipRole:
            found = f"{label}: {check.get('figure', '')}"
            return plain_tip("\n".join(filter(None, (
                found, _meaning(name), needed, str(check.get("remedy") or "")))))
        if role == Qt.ItemDataRole.AccessibleTextRole and column == CHECK:
            return f"{label}: {ended}"
        return None


def _meaning(name: str) -> str:
    """What a check tells; "" for one of a newer version."""
    return {
        "tokens": tr("Texts in many scripts and your own prompts are split into the same tokens as in training."),
        "prompt": tr("The chat template in the file writes conversations as in training."),
        "bos": tr("Servers add the beginning-of-sequence token exactly as in training."),
        "stop": tr("An answer ends with the token that ended answers in training."),
        "settings": tr("Settings of the architecture, such as the RoPE base, are the same as the model's."),
        "embeddings": tr("Every token has its own embedding in the file, apart from rounding."),
        "layers": tr("Samples of every layer's weights are equal to the trained ones, apart from rounding."),
        "adapter": tr("How much of what the adapter learned is in the file's weights."),
        "nmse": tr("How far the scores of the next tokens (logits) are from the tuned model's: the mean squared "
                   "difference, relative to their own size. 0 means equal."),
        "top1": tr("How often the file and the tuned model choose the same next token."),
        "kl": tr("How much the probabilities of the next token differ from the tuned model's, in nats. 0 means equal."),
        "perplexity": tr("How much the file's perplexity, on a few of your rows, differs from the tuned model's. Lower "
                         "is better."),
    }.get(name, "")


class ParityTable(QWidget):
    """The checks of one file, and below them what to do about those that failed."""

    def __init__(self) -> None:
        super().__init__()
        self.checks = ChecksModel(self)
        self.table = QTableView()
        self.table.setObjectName("parity")
        self.table.setModel(self.checks)
        table_cells.dress(self.table, ROW_HEIGHT, tr("Proof of the selected export"))
        self.table.setItemDelegate(FigureDelegate(self.table))
        self.table.setColumnHidden(RIGHT, True)  # it is below the check's name: there is no room beside it
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.remedy = text_label("", "small", wrap=True, name="parity_remedy")
        column_in(self, self.table, self.remedy)
        self.hide()

    def show_parity(self, parity: dict[str, Any]) -> None:
        """Show what is beside an export; nothing where it has no checks, as files of older versions."""
        checks = [check for check in parity.get("checks") or [] if isinstance(check, dict)]
        self.checks.set_checks(checks)
        show_text(self.remedy, "\n".join(str(check["remedy"]) for check in checks if check.get("remedy")))
        height = self.table.horizontalHeader().sizeHint().height() + theme.scaled(ROW_HEIGHT) * len(checks)
        self.table.setFixedHeight(height + 2 * theme.FOCUS_RING)
        self.setVisible(bool(checks))
