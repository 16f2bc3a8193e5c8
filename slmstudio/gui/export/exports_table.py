"""The GGUF files of a run, with the proof beside each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QAbstractTableModel, Qt
from PySide6.QtWidgets import QAbstractItemView, QTableView, QWidget

from slmstudio.core import units
from slmstudio.core.export import proof
from slmstudio.core.i18n import tr
from slmstudio.core.run.folder import RunSummary
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets import table_cells
from slmstudio.gui.common.widgets.labels import plain_tip
from slmstudio.gui.common.widgets.table_cells import NO_PARENT, Index

TYPE, SIZE, TOKENS, TOP1, PROOF = range(5)
ROW_HEIGHT = 34


@dataclass(frozen=True)
class Export:
    """One GGUF file.

    Attributes:
        parity: what is beside it as NAME.parity.json; empty when nothing does.
    """

    path: Path
    bytes: int
    parity: dict[str, Any]

    @property
    def type(self) -> str:
        return str(self.parity.get("type") or self.path.stem.rpartition("-")[2])


def proof_chip(parity: dict[str, Any]) -> tuple[str, str]:
    """A proof in a word, and the kind of its chip."""
    if not parity:
        return tr("not checked"), "plain"
    return (tr("proven"), "ok") if parity.get("passed") else (tr("differs"), "bad")


def read_exports(run: RunSummary) -> list[Export]:
    """The finished files of a run, largest first.

    Raises:
        UserError: a newer program has proven one of them.
    """
    found = [Export(path, path.stat().st_size, proof.read(path)) for path in run.exports()]
    return sorted(found, key=lambda export: -export.bytes)


class ExportsModel(QAbstractTableModel):
    """One row a file."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.exports: list[Export] = []

    def set_exports(self, exports: list[Export]) -> None:
        self.beginResetModel()
        self.exports = exports
        self.endResetModel()

    def rowCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self.exports)

    def columnCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else 5

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return (tr("Type"), tr("Size"), tr("Tokens equal"), tr("Top-1"), tr("Proof"))[section]
        if role == Qt.ItemDataRole.ToolTipRole:
            return {
                TOKENS: tr("Texts that the file splits into exactly the same tokens as in training."),
                TOP1: tr("How often the file and the tuned model choose the same next token."),
                PROOF: tr("Whether the file answers like the trained model."),
            }.get(section)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if section in (SIZE, TOP1) else Qt.AlignmentFlag.AlignLeft
            return int(side | Qt.AlignmentFlag.AlignVCenter)
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        export, column = self.exports[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(export, column)
        if role == table_cells.CHIP and export.parity:
            if column == TOKENS:
                return "ok" if export.parity.get("token_ids_equal") else "bad"
            return proof_chip(export.parity)[1] if column == PROOF else None
        if role == Qt.ItemDataRole.TextAlignmentRole and column in (SIZE, TOP1):
            return int(Qt.AlignmentFlag.AlignRight)
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip(str(export.parity.get("verdict") or "") if column in (TOKENS, PROOF) else str(export.path))
        return None

    def _text(self, export: Export, column: int) -> str:
        parity = export.parity
        if column == TYPE:
            return export.type
        if column == SIZE:
            return units.format_bytes(export.bytes)
        texts = parity.get("texts") or parity.get("prompts")
        if column == TOKENS and isinstance(texts, int):
            differ = parity.get("token_ids_differ") or 0
            if not differ:  # short, or the type beside it is cut
                return tr("all {all:,}", all=texts)
            return tr("{done:,} of {total:,}", done=texts - differ, total=texts)
        if column == TOP1 and isinstance(parity.get("top1"), (int, float)):
            return f"{100 * parity['top1']:.1f}%"
        return proof_chip(parity)[0] if column == PROOF else "—"


class ExportsTable(QTableView):
    """The files of one run; one of them is selected."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("exports")
        self.exports = ExportsModel(self)
        self.setModel(self.exports)
        table_cells.dress(self, ROW_HEIGHT, tr("Exports of the run"))
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)

    def set_exports(self, exports: list[Export]) -> None:
        """Show these files; the smallest proven one is selected, since that is the one to chat with."""
        kept = self.selected()
        self.exports.set_exports(exports)
        paths = [export.path for export in exports]
        proven = [row for row, export in enumerate(exports) if export.parity.get("passed")]
        if kept is not None and kept.path in paths:
            self.selectRow(paths.index(kept.path))
        elif exports:
            self.selectRow(proven[-1] if proven else len(exports) - 1)
        rows = theme.scaled(ROW_HEIGHT) * max(1, len(exports))
        height = self.horizontalHeader().sizeHint().height() + rows + 2 * theme.FOCUS_RING
        self.setFixedHeight(min(height, 6 * theme.scaled(ROW_HEIGHT)))

    def selected(self) -> Export | None:
        rows = self.selectionModel().selectedRows()
        return self.exports.exports[rows[0].row()] if rows else None
