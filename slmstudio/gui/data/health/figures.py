"""A dataset in figures: its size, its scripts, and how long its rows are in tokens."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QHBoxLayout, QWidget

from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import TaskSlot
from slmstudio.gui.common.widgets.buttons import keep_room
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_of, fill, row_in
from slmstudio.gui.common.widgets.progress import Share, ShareBar

if TYPE_CHECKING:
    from slmstudio.core.data.languages import Statistics
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.run.rows_report import TokenCounts
    from slmstudio.gui.plots.canvas import Histogram

COLOURS = ("train", "eval", "teal", "extra", "grey")


class StatisticsStrip(QWidget):
    """Counts off the UI thread, and shows the figures when they are there."""

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
        self._task.run(self, lambda task: _count(dataset), self._show)

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
        self.figures.setText("\n".join(lines))


def _percent(share: float) -> str:
    return "<1" if share < 0.01 else f"{100 * share:.0f}"


def _count(dataset: Dataset) -> Statistics:
    from slmstudio.core.data.languages import statistics

    return statistics(dataset.records)


HEIGHT = 92
MOST_SCRIPTS = 3


class LengthStrip(QWidget):
    """A histogram of tokens per row on the left, figures on the right."""

    def __init__(self) -> None:
        super().__init__()
        self._flat = self._drawn = False
        self._counts: tuple[TokenCounts, int, str, bool] | None = None
        self.title = text_label(tr("Tokens per row"), "section")
        self.figures = text_label("", "small", wrap=True, name="length_figures")
        self.steps = text_label("", "small", wrap=True, name="length_steps")
        self._left = column_of(self.title, STRETCH, spacing=theme.SPACE_XS)
        row = self._row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(theme.SPACE_L)
        fill(row, (self._left, 1), (column_of(self.figures, self.steps, STRETCH, spacing=theme.SPACE_XS), 1))
        self.show_steps(None)

    @cached_property
    def histogram(self) -> Histogram:
        """Made when there is something to draw: pyqtgraph is loaded with it."""
        from slmstudio.gui.plots.canvas import Histogram

        made = Histogram(tr("Tokens per row"), tr("tokens"), tr("cut at {length}"))
        made.setFixedHeight(HEIGHT)
        keep_room(made)  # while the next dataset is counted, nothing moves
        self._left.insertWidget(1, made)
        return made

    def show_words(self, words: str) -> None:
        """There are no figures, for this reason."""
        self.figures.setText(words)
        self._drawn = False
        if "histogram" in self.__dict__:
            self.histogram.hide()

    def set_flat(self, flat: bool) -> None:
        """Leave the plot out if the window is low: the rows need the space."""
        if flat == self._flat:
            return
        self._flat = flat
        self.title.setVisible(not flat)
        self._row.setStretch(0, 0 if flat else 1)
        if "histogram" in self.__dict__:
            keep_room(self.histogram, not flat)
            self.histogram.setVisible(self._drawn and not flat)
        if self._counts is not None and self._drawn:
            self.show_counts(*self._counts)

    def show_counts(self, counts: TokenCounts, max_length: int, model: str, planned: bool) -> None:
        """
        Args:
            max_length: tokens that a row may have.
            model: whose tokens they are, as people call it.
            planned: whether the length is that of the plan in Training.
        """
        self._counts = counts, max_length, model, planned
        lines = [tr("Median {median:,} · 95% within {most:,} · longest {longest:,}", median=counts.median,
                    most=counts.p95, longest=counts.max), self._cut(counts, max_length, planned)]
        if counts.per_word:
            lines.append(self._cost(counts, model))
        self.figures.setText("\n".join(lines))
        self._drawn = True
        if self._flat:
            return
        self.histogram.show_lengths(counts.lengths, max_length, lines[0] + ". " + lines[1])
        self.histogram.show()

    def _cut(self, counts: TokenCounts, max_length: int, planned: bool) -> str:
        ordered = sorted(counts.lengths)
        over = len(ordered) - bisect_right(ordered, max_length)
        length = (tr("{length:,} tokens, the plan's sequence length", length=max_length) if planned else
                  tr("{length:,} tokens, the usual sequence length", length=max_length))
        if not over:
            return tr("No row is cut at {length}.", length=length)
        share = 100 * over / len(ordered)
        percent = f"{share:.0f}" if share >= 10 else f"{share:.1f}" if share >= 0.1 else "<0.1"
        return ntr("{n:,} row ({percent}%) is cut at {length}. At {longest:,}, none is.",
                   "{n:,} rows ({percent}%) are cut at {length}. At {longest:,}, none is.", over, percent=percent,
                   length=length, longest=counts.max)

    def _cost(self, counts: TokenCounts, model: str) -> str:
        each = [f"{tr(script)}\u00a0{tokens:.1f}"
                for script, tokens in list(counts.per_word.items())[:MOST_SCRIPTS]]
        return tr("Tokens per word with {model}: {scripts}", model=model, scripts=", ".join(each))

    def show_steps(self, steps: int | None, batch: int = 0) -> None:
        """How many steps one pass over the rows has with the plan; None while there is no plan."""
        self.steps.setVisible(steps is not None)
        if steps is not None:
            self.steps.setText(ntr("{n:,} step per epoch, with {batch} per step",
                                   "{n:,} steps per epoch, with {batch} per step", steps,
                                   batch=ntr("{n:,} row", "{n:,} rows", batch)))
