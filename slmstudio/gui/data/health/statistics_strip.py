"""A dataset in figures: its scripts, its size, and what repeats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import TaskSlot
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_of, row_in
from slmstudio.gui.common.widgets.share_bar import Share, ShareBar

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.data.statistics import Statistics

COLOURS = ("train", "eval", "teal", "extra", "grey")


class StatisticsStrip(QWidget):
    """Counts off the UI thread, and shows the figures when they are there.

    Signals:
        failed(object): counting failed.
    """

    failed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._task = TaskSlot()
        self.scripts = named(ShareBar(height=10), "statistics_scripts",
                             tip=tr("Share of each script among the letters. A model learns best in scripts that it "
                                    "saw often in its own training."))
        self.figures = text_label("", "small", wrap=True, name="statistics_figures")
        row_in(self, (column_of(text_label(tr("Scripts"), "section"), self.scripts, STRETCH), 2), (self.figures, 3),
               spacing=theme.SPACE_L)

    def show_dataset(self, dataset: Dataset) -> None:
        """Show the figures of another dataset."""
        self.scripts.show_shares((), 1)
        self.figures.setText(tr("Counting…"))
        self._task.run(self, lambda task: _count(dataset), self._show, self.failed.emit)

    def _show(self, counted: Statistics) -> None:
        main = [(script, share) for script, share in counted.scripts.items() if share >= 0.005][:len(COLOURS) - 1]
        rest = 1 - sum(share for _, share in main) if counted.scripts else 0
        shown = [*((tr(script), share) for script, share in main), *([(tr("others"), rest)] if rest > 1e-9 else [])]
        self.scripts.show_shares([Share(share, colour, tr("{script} {percent}%", script=script,
                                                          percent=_percent(share)))
                                  for (script, share), colour in zip(shown, COLOURS, strict=False)], 1)
        lines = [" · ".join((ntr("{n:,} row", "{n:,} rows", counted.rows),
                             ntr("{n:,} character", "{n:,} characters", counted.characters))),
                 tr("Longest row: {characters:,} characters, line {line:,}", characters=counted.longest_characters,
                    line=counted.longest_line)]
        if counted.duplicate_prompts:
            lines.append(ntr("{n:,} row asks the same question as an earlier row",
                             "{n:,} rows ask the same question as an earlier row",
                             counted.duplicate_prompts))
        self.figures.setText("\n".join(lines))


def _percent(share: float) -> str:
    return "<1" if share < 0.01 else f"{100 * share:.0f}"


def _count(dataset: Dataset) -> Statistics:
    from slmstudio.core.data.statistics import statistics

    return statistics(dataset.records)
