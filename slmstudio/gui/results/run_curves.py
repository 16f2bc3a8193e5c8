"""The curves of the run that is selected, or of several runs together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QWidget

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common.dialogs import choose_file, picture_kinds, write_picture
from slmstudio.gui.common.widgets.banner import report_error
from slmstudio.gui.common.widgets.buttons import IconButton
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import column_in, pages_of, row_widget
from slmstudio.gui.results.compare import ComparePanel
from slmstudio.gui.results.run_facts import RunFacts

if TYPE_CHECKING:
    from slmstudio.gui.plots.run_plots import RunPlots

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
        hint = text_label(tr("Ctrl+click other runs to compare."), "small", wrap=True)
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
            self.compare.cancel()
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
