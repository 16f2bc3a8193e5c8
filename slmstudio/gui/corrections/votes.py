"""All votes by pair of models, what they say in words, and their export as preference pairs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractItemView, QDialog, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from slmstudio.core import paths
from slmstudio.core.i18n import ntr, number_text, ptr, tr
from slmstudio.core.votes.tally import LEVEL, MOST_MORE, votes_needed
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import choose_file, open_dialog
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton
from slmstudio.gui.common.widgets.labels import plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, row_of

if TYPE_CHECKING:
    from slmstudio.core.votes.store import Vote
    from slmstudio.core.votes.tally import Exported, Tally


class VotesDialog(QDialog):
    """All comparisons by pair of models, with their export."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.setWindowTitle(tr("Votes"))
        self.setMinimumSize(600, 340)
        self.resize(760, 400)
        self._votes: list[Vote] = []
        self._tallies: list[Tally] = []
        self.banner = ErrorBanner(name="votes_banner")
        self.table = QTableWidget(0, 6)
        self.table.setObjectName("votes_table")
        self.note = text_label(tr("Reading the votes…"), "muted", wrap=True, name="votes_note")
        self.sentence = text_label("", "body", wrap=True, name="votes_sentence")
        self.export = SecondaryButton(tr("Export these pairs…"),
                                      tr("Save the selected comparison as a preference dataset: the better answers as "
                                         "chosen, the others as rejected."), name="votes_export",
                                      clicked=lambda: self._choose_file(self._chosen()))
        self.export_all = SecondaryButton(tr("Export all pairs…"),
                                          tr("Save all comparisons as one preference dataset, whichever models were "
                                             "compared."), name="votes_export_all",
                                          clicked=lambda: self._choose_file(None))
        self._lay_out()
        self.table.itemSelectionChanged.connect(self._show_chosen)
        self.read()

    def _lay_out(self) -> None:
        self.table.setHorizontalHeaderLabels([tr("Model"), ptr("votes", "Wins"), tr("Compared with"),
                                              ptr("votes", "Wins"), tr("Both good"), tr("Both bad")])
        self.table.setAccessibleName(tr("Comparisons"))
        self.table.setToolTip(tr("Select a comparison to see its result."))
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.table.setShowGrid(False)
        self.table.verticalHeader().hide()
        header = self.table.horizontalHeader()
        for column in range(6):
            wide = column in (0, 2)
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch if wide else
                                        QHeaderView.ResizeMode.ResizeToContents)
        close = PrimaryButton(tr("Done"), tr("Close this list."), name="votes_close", clicked=self.accept)
        column_in(self, self.banner, self.table, self.sentence, self.note,
                  row_of(self.export, self.export_all, STRETCH, close), spacing=theme.SPACE_M, margins=theme.SPACE_L)

    def read(self) -> None:
        """Read the votes from the disk."""
        self._show_chosen()
        run_task(self, lambda task: _read(), self._show, self.banner.show_error)

    def _show(self, found: tuple[list[Vote], int, list[Tally]]) -> None:
        self._votes, damaged, self._tallies = found
        self.table.setRowCount(len(self._tallies))
        for row, tally in enumerate(self._tallies):
            cells = (tally.first.name, tally.wins[0], tally.second.name, tally.wins[1], tally.both_good,
                     tally.both_bad)
            for column, value in enumerate(cells):
                item = QTableWidgetItem(value if isinstance(value, str) else number_text(value))
                if not isinstance(value, str):
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                else:
                    item.setToolTip(plain_tip((tally.first if column == 0 else tally.second).path))
                self.table.setItem(row, column, item)
        notes = [ntr("{n:,} vote, saved on this machine.", "{n:,} votes, saved on this machine.", len(self._votes))
                 if self._votes else
                 tr("There are no votes yet. Turn on “Blind” in a side-by-side chat, or press “Vote blind…” above the "
                    "answers of an evaluation.")]
        if damaged:
            notes.append(ntr("{n:,} damaged line in the file was skipped.",
                             "{n:,} damaged lines in the file were skipped.", damaged))
        self.note.setText(" ".join(notes))
        if self._tallies:
            self.table.selectRow(0)
        self._show_chosen()

    def _chosen(self) -> Tally | None:
        row = self.table.currentRow()
        return self._tallies[row] if 0 <= row < len(self._tallies) else None

    def _show_chosen(self) -> None:
        tally = self._chosen()
        self.sentence.setText(verdict_text(tally) if tally is not None else "")
        self.export.setEnabled(tally is not None and tally.decided > 0)
        self.export_all.setEnabled(any(each.decided for each in self._tallies))

    def _choose_file(self, between: Tally | None) -> None:
        choose_file(self, tr("Export preference pairs"), str(paths.datasets_dir() / "preferences.jsonl"),
                    tr("Datasets") + " (*.jsonl)", lambda path: self.export_to(path, between))

    def export_to(self, path: Path, between: Tally | None) -> None:
        """Write the pairs of one comparison, or of all."""
        from slmstudio.core.votes.tally import export_preferences

        votes = self._votes
        self.banner.clear()
        run_task(self, lambda task: export_preferences(path, votes, between), partial(self._exported, path),
                 self.banner.show_error)

    def _exported(self, path: Path, result: Exported) -> None:
        parts = [ntr("{n:,} pair saved in {file}.", "{n:,} pairs saved in {file}.", result.pairs, file=path.name)]
        left = result.apart + result.same + result.empty
        if result.undecided:
            parts.append(ntr("{n:,} vote prefers neither answer.", "{n:,} votes prefer neither answer.",
                             result.undecided))
        if left:
            parts.append(ntr("{n:,} pair was skipped: its answers are the same, or belong to different conversations.",
                             "{n:,} pairs were skipped: their answers are the same, or belong to different "
                             "conversations.", left))
        self.note.setText(" ".join(parts))


def show_votes(parent: QWidget) -> None:
    """Open the list of votes."""
    open_dialog(VotesDialog(parent))


def _read() -> tuple[list[Vote], int, list[Tally]]:
    from slmstudio.core.votes import store as votes
    from slmstudio.core.votes import tally

    found, damaged = votes.read()
    return found, damaged, tally.tallies(found)


def verdict_text(tally: Tally) -> str:
    """Whether the difference is more than chance, in a sentence that doesn't promise too much."""
    if not tally.decided:
        return tr("So far, no vote prefers one of them.")
    first, second = tally.wins
    if first == second:
        return ntr("{n:,} vote: as many for one as for the other.", "{n:,} votes: as many for one as for the other.",
                   tally.decided)
    return " ".join((
        ntr("{n:,} vote: {model} wins {wins:,} of {n:,}.", "{n:,} votes: {model} wins {wins:,} of {n:,}.",
            tally.decided, model=(tally.first if first > second else tally.second).name, wins=max(first, second)),
        _trust(tally)))


def _trust(tally: Tally) -> str:
    """What the difference is worth."""
    chance = tally.chance
    shown = tr("less than 0.1%") if chance < 0.001 else f"{100 * chance:.1f}%" if chance < 0.02 else (
        f"{100 * chance:.0f}%")
    if chance < LEVEL:
        return tr("Chance alone makes such a difference {percent} of the time, so this one is probably real.",
                  percent=shown)
    more = votes_needed(*tally.wins)
    return " ".join((
        tr("Chance alone makes such a difference {percent} of the time.", percent=shown),
        tr("Even {most:,} more votes would hardly tell them apart.", most=MOST_MORE) if more is None else
        ntr("About {n:,} more vote like these would settle it.",
            "About {n:,} more votes like these would settle it.", more)))
