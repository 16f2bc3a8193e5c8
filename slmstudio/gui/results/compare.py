"""The curves of the run that is selected; of several runs, their losses, settings and scores beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtWidgets import QWidget

from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import comparability
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common.dialogs import choose_file, csv_kinds, picture_kinds, write_csv, write_picture
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.banner import report_error
from slmstudio.gui.common.widgets.buttons import IconButton, SegmentedControl
from slmstudio.gui.common.widgets.figures import Figure, FigureTable
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, pages_of, row_of, row_widget
from slmstudio.gui.results import columns
from slmstudio.gui.results.compare_scores import ComparedScores, run_names
from slmstudio.gui.results.run_facts import RunFacts

if TYPE_CHECKING:
    from slmstudio.gui.plots.compare_plot import ComparePlot
    from slmstudio.gui.plots.run_plots import RunPlots

LOSSES, SETTINGS, SCORES = range(3)
MOST_IN_WORDS = 3
"""Runs whose differences are told in sentences; those of more are in the table."""
SAME = ("name", "reasons", "chosen", "threads", "created", "format", "kind", "protocol", "non_finite")
"""Fields of run.json in which it means nothing that runs differ."""


class ComparePanel(QWidget):
    """Losses, differences and scores of the selected runs."""

    def __init__(self) -> None:
        super().__init__()
        self._runs: list[RunFacts] = []
        self._histories: list[RunHistory] = []
        self.curves: ComparePlot | None = None
        self.tabs = SegmentedControl([tr("Losses"), tr("Settings"), tr("Scores")], tooltips=[
            tr("The runs' losses in one plot."), tr("The settings in which the runs differ."),
            tr("The runs' scores on their test sets, with intervals, and a paired test of the difference.")],
            name="compare_tabs")
        self.tabs.changed.connect(self._show_page)
        self.hint = text_label("", "small", wrap=True, name="compare_hint")
        self.save = IconButton("save", tr("Save the plot as PNG or SVG, or the table as CSV"), name="compare_save",
                               clicked=self._save)
        self.settings = FigureTable(tr("Settings in which the runs differ"))
        self.settings.setObjectName("compare_settings")
        self.compared = ComparedScores()
        self.scores = self.compared.table
        self._plot_page = QWidget()
        self._plot_column = column_in(self._plot_page, spacing=None)
        self._pages = pages_of(self._plot_page, self.settings, self.compared)
        column_in(self, row_of(self.tabs, STRETCH, self.save), self.hint, (self._pages, 1))

    def show_runs(self, runs: list[RunFacts], histories: list[RunHistory]) -> None:
        """Compare these runs; the first is the current one."""
        self._runs, self._histories = runs, histories
        if self.curves is None:
            from slmstudio.gui.plots.compare_plot import ComparePlot  # pyqtgraph is loaded when it is first needed

            self.curves = ComparePlot()
            self._plot_column.addWidget(self.curves)
        self.curves.show_runs(run_names(runs), histories)
        self.settings.show_rows(*setting_rows(runs, histories), figures=False)
        self.compared.show_runs(runs)
        self._show_page(self.tabs.current())

    def _show_page(self, page: int) -> None:
        self._pages.setCurrentIndex(page)
        self.hint.setText((self._loss_hint, self._setting_hint, self.compared.hint)[page]())
        if page == SCORES:
            self.compared.start()

    def _loss_hint(self) -> str:
        """In what the newer runs differ from the oldest; of many runs only how many they are."""
        if len(self._runs) > MOST_IN_WORDS:
            return tr("{count} runs compared by their losses.", count=len(self._runs))
        from slmstudio.core.report.compare import Side, difference_text

        chosen = comparability.choose([(run.evaluations, run.summary.config.eval_file) for run in self._runs])
        sides = [(run.summary.created, Side(name, _config(run, history), history.plan.get("train_rows"), scored))
                 for run, history, name, scored in zip(self._runs, self._histories, run_names(self._runs), chosen,
                                                       strict=True)]
        (_, oldest), *newer = sorted(sides, key=lambda each: each[0])
        return "\n".join(difference_text(each, oldest) for _, each in newer)

    def _setting_hint(self) -> str:
        count = len(self.settings.figures.rows)
        return ntr("{n:,} setting differs; all others are equal.", "{n:,} settings differ; all others are equal.",
                   count) if count else \
            tr("The runs have the same settings.")

    def _save(self) -> None:
        if self._pages.currentWidget() is self._plot_page:
            if self.curves is not None:
                choose_file(self, tr("Save the plot"), "losses.png", picture_kinds(), self.save_picture)
            return
        choose_file(self, tr("Save the table"), "comparison.csv", csv_kinds(), self.save_table)

    def save_picture(self, path: Path) -> None:
        """Draw the plot into a file."""
        try:
            if self.curves is not None:
                write_picture(self.curves, path)
        except UserError as error:
            report_error(self, error)

    def save_table(self, path: Path) -> None:
        """Write the table that is shown as CSV."""
        table = self.scores if self._pages.currentWidget() is self.compared else self.settings
        rows = table.figures.as_table()
        run_task(self, lambda task: write_csv(path, rows), lambda _: None)


def used_values(run: RunFacts, history: RunHistory) -> dict[str, list[str]]:
    """What a run used of the settings that were changed while it trained: the planned value, and each that came after,
    as in "0.0014", "then 5e-4 from step 20"."""
    used: dict[str, list[str]] = {}
    for name, value, event in history.later_values():
        step, later = event.get("global_step"), columns.cell(name, value)
        used.setdefault(name, [columns.cell(name, run.values.get(name))]).append(
            tr("then {value} from step {step:,}", value=later, step=step) if isinstance(step, int) else
            tr("then {value}", value=later))
    return used


def _config(run: RunFacts, history: RunHistory) -> dict[str, Any]:
    used = {name: ", ".join(texts) for name, texts in used_values(run, history).items()}
    return {**run.summary.config.to_dict(), **used}


def setting_rows(runs: Sequence[RunFacts], histories: Sequence[RunHistory]) -> tuple[list[str], list[list[Figure]]]:
    """Headings and rows of the settings in which runs differ, in the order in which one decides them."""
    from slmstudio.core.run.config import FIELDS

    order = list(FIELDS)
    own = {"base", "outcome", "eval_loss", "train_loss", "steps", "seconds", "joules", "tags", "note", *SAME}
    names = {key for run in runs for key in run.values if key not in own and columns.score_of(key) is None}
    used = [used_values(run, history) for run, history in zip(runs, histories, strict=True)]
    found = [{key: each.get(key) or [columns.cell(key, run.values.get(key))] for key in names}
             for run, each in zip(runs, used, strict=True)]
    unlike = [key for key in names if len({repr(run.values.get(key)) for run in runs}) > 1
              or any(each[key] != found[0][key] for each in found)]
    unlike.sort(key=lambda key: (order.index(key) if key in order else len(order), key))
    head = ["", *run_names(runs)]
    return head, [[Figure(columns.title(key), tip=key), *(_setting(each[key]) for each in found)] for key in unlike]


def _setting(texts: list[str]) -> Figure:
    whole = ", ".join(texts)
    return Figure(texts[0], ", ".join(texts[1:]), raw=whole, tip=whole)


MOST_COMPARED = 20
"""Runs whose curves are still told apart, and read in a moment; all curves of a thousand runs fill the memory."""


class RunCurves(QWidget):
    """Empty until a run is shown.

    Attributes:
        plots: of one run; None until one is shown.
    """

    def __init__(self) -> None:
        super().__init__()
        self.plots: RunPlots | None = None
        self.compare = ComparePanel()
        hint = text_label(tr("Tick other runs to compare them: click their boxes, or Ctrl+click."), "small", wrap=True)
        save = IconButton("save", tr("Save these plots as PNG or SVG"), name="plots_save", clicked=self._save)
        self._single = row_widget((hint, 1), save, spacing=None)
        self.too_many = text_label("", "small", wrap=True, name="compare_limit")
        self.too_many.hide()
        self.pages = pages_of(QWidget(), self.compare)
        column_in(self, self._single, self.too_many, (self.pages, 1))

    def begin(self, chosen: int) -> None:
        """This many runs are selected, and will be shown when they are read."""
        self.too_many.setText(tr("The first {shown} of the {count:,} selected runs are compared.", shown=MOST_COMPARED,
                                 count=chosen))
        self.too_many.setVisible(chosen > MOST_COMPARED)
        if chosen < 2:
            self.compare.compared.cancel()
        if not chosen:
            self.pages.setCurrentIndex(0)  # the curves of a run that is no longer in the table would mislead
            self._single.hide()

    def show_run(self, history: RunHistory, config: RunConfig) -> None:
        """Show all plots of one run."""
        if self.plots is None:
            from slmstudio.gui.plots.run_plots import RunPlots  # pyqtgraph is loaded when a run is first shown

            self.plots = RunPlots()
            self.pages.addWidget(self.plots)
        self.plots.show_history(history, config)
        self.pages.setCurrentWidget(self.plots)
        self._single.show()

    def show_runs(self, runs: list[RunFacts], histories: list[RunHistory]) -> None:
        """Compare several runs."""
        self.compare.show_runs(runs, histories)
        self.pages.setCurrentWidget(self.compare)
        self._single.hide()

    def _save(self) -> None:
        choose_file(self, tr("Save the plots"), "curves.png", picture_kinds(), self.save_picture)

    def save_picture(self, path: Path) -> None:
        """Draw the plots of the run, all of them, into a file."""
        plots = self.plots.widget() if self.plots is not None else None
        try:
            if plots is not None:
                write_picture(plots, path)
        except UserError as error:
            report_error(self, error)
