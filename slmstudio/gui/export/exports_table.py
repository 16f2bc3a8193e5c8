"""The GGUF files of a run with the proof of each, as a table, as lines after an export, and check by check."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QAbstractItemView, QTableView, QWidget

from slmstudio.core import units
from slmstudio.core.evaluation import gain
from slmstudio.core.export import proof
from slmstudio.core.export.proof import HEADINGS, LABELS, NO_LIMIT, required, result
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.run.folder import RunSummary
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets import table_cells
from slmstudio.gui.common.widgets.areas import ScrolledIfNeeded, plain_page
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton
from slmstudio.gui.common.widgets.figures import Figure, FigureDelegate, FigureModel
from slmstudio.gui.common.widgets.labels import Chip, ElidedLabel, show_text, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, clear, column_in, fill, row_of

TYPE, SIZE, TOKENS, TOP1, PROOF, GAIN = range(6)
ROW_HEIGHT = 34


@dataclass(frozen=True)
class Export:
    """One GGUF file.

    Attributes:
        parity: what is beside it as NAME.parity.json; empty when nothing does.
        share: of the gain over the base that it keeps; None where that wasn't measured.
    """

    path: Path
    bytes: int
    parity: dict[str, Any]
    share: gain.Share | None = None

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
    kept = {each.path: each for each in gain.of_run(run.folder) if not each.beside}
    found = [Export(path, path.stat().st_size, proof.read(path), kept.get(str(path))) for path in run.exports()]
    return sorted(found, key=lambda export: -export.bytes)


class ExportsTable(QTableView):
    """The files of one run; one of them is selected.

    Attributes:
        exports: the files, a row each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("exports")
        self.exports: list[Export] = []
        self._figures = FigureModel(self)
        self.setModel(self._figures)
        self._show_rows()  # a table without columns couldn't share its room
        table_cells.dress(self, ROW_HEIGHT, tr("Exports of the run"))
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)

    def set_exports(self, exports: list[Export]) -> None:
        """Show these files; the smallest proven one is selected, since that is the one to chat with."""
        kept = self.selected()
        self.exports = exports
        self._show_rows()
        paths = [export.path for export in exports]
        proven = [row for row, export in enumerate(exports) if export.parity.get("passed")]
        if kept is not None and kept.path in paths:
            self.selectRow(paths.index(kept.path))
        elif exports:
            self.selectRow(proven[-1] if proven else len(exports) - 1)
        rows = theme.scaled(ROW_HEIGHT) * max(1, len(exports))
        height = self.horizontalHeader().sizeHint().height() + rows + 2 * theme.FOCUS_RING
        self.setFixedHeight(min(height, 6 * theme.scaled(ROW_HEIGHT)))

    def _show_rows(self) -> None:
        """The gain has a column only where it was measured."""
        kept = any(export.share for export in self.exports)
        self._figures.show_rows(
            [tr("Type"), tr("Size"), tr("Tokens equal"), tr("Top-1"), tr("Proof"), *([tr("Gain")] if kept else [])],
            [_cells(export) + ([_kept(export.share)] if kept else []) for export in self.exports], (SIZE, TOP1, GAIN),
            ["", "", tr("Texts that the file splits into exactly the same tokens as in training."),
             tr("How often the file and the tuned model choose the same next token."),
             tr("Whether the file answers like the trained model."),
             tr("How much of the gain over the base model the file keeps on the test rows.")])

    def selected(self) -> Export | None:
        rows = self.selectionModel().selectedRows()
        return self.exports[rows[0].row()] if rows else None


def _cells(export: Export) -> list[Figure]:
    """Its type, size, equal tokens, top-1 and proof."""
    parity, tokens, top1 = export.parity, "—", "—"
    texts = parity.get("texts") or parity.get("prompts")
    if isinstance(texts, int):
        differ = parity.get("token_ids_differ") or 0  # "all" is short, or the type beside it is cut
        tokens = tr("all {all:,}", all=texts) if not differ else \
            tr("{done:,} of {total:,}", done=texts - differ, total=texts)
    if isinstance(parity.get("top1"), (int, float)):
        top1 = f"{100 * parity['top1']:.1f}%"
    word, kind = proof_chip(parity)
    path, verdict = str(export.path), str(parity.get("verdict") or "")
    equal = ("ok" if parity.get("token_ids_equal") else "bad") if parity else ""
    return [Figure(export.type, tip=path), Figure(units.format_bytes(export.bytes), tip=path),
            Figure(tokens, tip=verdict, chip=equal), Figure(top1, tip=path),
            Figure(word, tip=verdict, chip=kind if parity else "")]


def _kept(share: gain.Share | None) -> Figure:
    return Figure(f"{share.share:.0%}", tip=gain.share_text(share)) if share else Figure("—")


# -- What an export has just made: where the files are, how large, and whether each is proven.

LEAST_HEIGHT = 72
"""Of the list of files: one with its proof."""


def read_made(result: dict[str, Any]) -> list[Export]:
    """The files and folders of an export's outcome, in the order in which they were made.

    Raises:
        UserError: a newer program has proven one of them.
    """
    found = [(Path(each["path"]), each) for each in result.get("files") or ()]
    return [Export(path, each.get("bytes") or 0, proof.read(path)) for path, each in found]


class MadeFiles(QWidget):
    """A line for each file with its proof, and what to do next.

    Signals:
        chat_wanted(Path): talk to this file.
        closed: the user has seen it.
    """

    chat_wanted = Signal(object)
    closed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._files: list[Export] = []
        self.title = text_label("", "strong", name="made_title")
        self.place = ElidedLabel("", "small", name="made_folder")
        self._list = plain_page()
        self._lines = column_in(self._list, spacing=theme.SPACE_XS)
        folder = SecondaryButton(tr("Open folder"), tr("Show the exported files."), name="made_open",
                                 clicked=self._open_folder)
        close = SecondaryButton(tr("Close"), tr("Close this message. The files stay in the list of exports."),
                                name="made_close", clicked=self.closed)
        self.chat = PrimaryButton(tr("Chat"), tr("Talk to the smallest proven file."), name="made_chat",
                                  clicked=lambda: self.chat_wanted.emit(self._proven()[-1].path))
        column_in(self, self.title, self.place, ScrolledIfNeeded(self._list, LEAST_HEIGHT),
                  row_of(folder, STRETCH, close, self.chat))

    def show_files(self, files: list[Export]) -> None:
        """Show what was made."""
        self._files = sorted(files, key=lambda each: -each.bytes)
        self.title.setText(ntr("The export is done: {n:,} file.", "The export is done: {n:,} files.", len(files)))
        self.place.setText(str(files[0].path.parent) if files else "")
        clear(self._lines)
        for each in self._files:
            self._lines.addWidget(self._line(each))
        self.chat.setVisible(bool(self._proven()))

    def _line(self, export: Export) -> QWidget:
        line = plain_page()
        chip = Chip()
        chip.set(*proof_chip(export.parity))
        name = ElidedLabel(export.path.name, name="made_name")
        column = column_in(line, row_of((name, 1), text_label(units.format_bytes(export.bytes), "small"), chip),
                           spacing=2)
        if verdict := str(export.parity.get("verdict") or ""):
            fill(column, text_label(verdict, "small", wrap=True, name="made_verdict"))
        return line

    def _proven(self) -> list[Export]:
        """The proven files, smallest last."""
        return [each for each in self._files if each.parity.get("passed")]

    def _open_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(self.place.text()))


# -- The proof of one export: what was compared, what was found, and what to do where it failed.

CHECK, FOUND, RESULT = 0, 1, 3
"""Of the columns of a report's table: what is required is below the check's name, as there is no room beside it."""
CHECK_HEIGHT = 40


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
        self.table = QTableView()
        self.table.setObjectName("parity")
        self._figures = FigureModel(self)
        self.table.setModel(self._figures)
        self._show_checks([])  # a table without columns couldn't share its room
        table_cells.dress(self.table, CHECK_HEIGHT, tr("Proof of the selected export"))
        self.table.setItemDelegate(FigureDelegate(self.table))
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.remedy = text_label("", "small", wrap=True, name="parity_remedy")
        column_in(self, self.table, self.remedy)
        self.hide()

    def show_parity(self, parity: dict[str, Any]) -> None:
        """Show what is beside an export; nothing where it has no checks, as files of older versions."""
        checks = [check for check in parity.get("checks") or [] if isinstance(check, dict)]
        self._show_checks(checks)
        show_text(self.remedy, "\n".join(str(check["remedy"]) for check in checks if check.get("remedy")))
        height = self.table.horizontalHeader().sizeHint().height() + theme.scaled(CHECK_HEIGHT) * len(checks)
        self.table.setFixedHeight(height + 2 * theme.FOCUS_RING)
        self.setVisible(bool(checks))

    def _show_checks(self, checks: list[dict[str, Any]]) -> None:
        self._figures.show_rows(
            [tr(HEADINGS[column]) for column in (CHECK, FOUND, RESULT)], list(map(_check_cells, checks)), False,
            [tr("What was compared between the file and the trained model, and below it what is required. Point at a "
                "row to read what it means."), tr("What the comparison found."),
             tr("Passed: the file does what is required. Failed: it doesn't; the text below says what to do. No limit: "
                "a smaller file changes this figure, so it's only shown. Not checked: it couldn't be measured.")])


def _check_cells(check: dict[str, Any]) -> list[Figure]:
    """What was compared, with what is required below; what was found; and whether that is right."""
    name, figure, ended, needed = check.get("name", ""), str(check.get("figure", "")), result(check), required(check)
    label = tr(LABELS[name]) if name in LABELS else str(name)
    tip = "\n".join(filter(None, (f"{label}: {figure}", _meaning(name), needed, str(check.get("remedy") or ""))))
    kind = "ok" if check.get("passed") and check.get("limit") != NO_LIMIT else "plain"
    return [Figure(label, needed, tip=tip, spoken=f"{label}: {ended}"), Figure(figure, tip=tip),
            Figure(ended, tip=tip, chip="bad" if check.get("passed") is False else kind)]
