"""Results: all runs, their curves, what came out of each, and what to do with it."""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QFileSystemWatcher, Qt, QTimer, QUrl
from PySide6.QtGui import QDesktopServices, QShowEvent
from PySide6.QtWidgets import QStackedWidget, QWidget

from slmstudio.core import paths
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.run import adjust
from slmstudio.core.run import folder as run_folder
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.event_text import changes_texts
from slmstudio.core.run.folder import RunSummary
from slmstudio.core.run.guard_summary import as_changed
from slmstudio.core.run.history import RunHistory
from slmstudio.core.run.store import RUNS
from slmstudio.gui.common import theme
from slmstudio.gui.common.run_texts import starting_text
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import Task, TaskSlot, is_busy, run_task
from slmstudio.gui.common.widgets.areas import Card, EmptyState, Panes
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import PrimaryButton
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import column_in, column_widget, fill, pages_of, row_of
from slmstudio.gui.common.widgets.progress import ProgressStrip
from slmstudio.gui.evaluation.answers.page import RowsPage
from slmstudio.gui.evaluation.answers.rows_model import LOSSES
from slmstudio.gui.export.exports_table import Export, read_exports
from slmstudio.gui.export.panel import running_export
from slmstudio.gui.results import run_actions
from slmstudio.gui.results.compare import MOST_COMPARED, RunCurves
from slmstudio.gui.results.run_details import RunDetails
from slmstudio.gui.results.run_facts import FactsReader, RunFacts
from slmstudio.gui.results.runs_bar import RunsBar
from slmstudio.gui.results.runs_table import RunsTable

if TYPE_CHECKING:
    from slmstudio.gui.evaluation.jobs import Evaluation

STRIP_WIDTH = 620


class ReadingPage(QStackedWidget):
    """A bar with Cancel; after that, a button that reads on."""

    def __init__(self) -> None:
        super().__init__()
        self.strip = ProgressStrip(name="runs_progress",
                                   tip=tr("Stop reading. What has been read is kept until you close the program."))
        self.strip.setFixedWidth(STRIP_WIDTH)
        self.go_on = PrimaryButton(tr("Read the runs"), tr("Read the runs, or the rest of them."), name="runs_read")
        self._stopped = EmptyState(tr("Not all runs were read"), "", [self.go_on])
        self._stopped.setAcceptDrops(False)
        for page in (self.strip, self._stopped):
            self.addWidget(EmptyState.centred(page))

    def start(self) -> None:
        """The runs are being read from now on; nothing is seen of it when that takes no time."""
        self.setCurrentIndex(0)
        self.strip.start_soon(tr("Reading the runs"))

    def set_progress(self, done: int, total: int) -> None:
        """This many of the runs were read."""
        self.strip.set_progress(done, total)

    def end(self) -> None:
        self.strip.end()

    def show_cancelled(self, read: int) -> None:
        """Say that it was cancelled, and offer to continue."""
        self.show_stopped(tr("Reading was cancelled. The first {count:,} are kept, and reading can continue from "
                             "there.",
                             count=read)
            if read else tr("Reading was cancelled. Nothing was changed."))

    def show_stopped(self, why: str) -> None:
        """Say why there are no runs here."""
        self.strip.end()
        self._stopped.text.setText(why)
        self.setCurrentIndex(1)


LOOK_AGAIN_MS = 500
FEW = 20
"""So many runs are shown before all were read."""
DETAILS_LEAST, DETAILS_WIDTH, DETAILS_MOST = 440, 480, 640


@dataclass(frozen=True)
class _Loaded:
    run: RunFacts
    exports: list[Export]
    config: RunConfig
    histories: list[RunHistory]
    exporting: Job | None
    changes: list[str]


class ResultsTab(QWidget):
    """Reads the run folders whenever they may have changed; they are the only store."""

    def __init__(self, session: Session):
        super().__init__()
        self._session = session
        self._shown_run: Path | None = None
        self._select: Path | None = None
        self._reading = TaskSlot()
        self._stopped, self._read_so_far = False, 0
        self._loading = TaskSlot()
        self._facts = FactsReader()
        self._told: dict[str, str] = {}
        self.banner = ErrorBanner(name="results_banner")
        self.table = RunsTable()
        self.table.chosen.connect(self._load)
        self.curves = RunCurves()
        self.details = RunDetails(session)
        theme.grow(self.details, "setMinimumWidth", DETAILS_LEAST)
        theme.grow(self.details, "setMaximumWidth", DETAILS_MOST)
        self.rows = RowsPage(session)
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        page = Panes(self._session, "results", (self._runs_card(), self.details), (5, 3))
        page.restore((760, DETAILS_WIDTH))
        to_training = PrimaryButton(tr("Go to Training"), tr("Plan and start a run."), name="to_training",
                                    clicked=lambda: self._session.go_to("training"))
        empty = EmptyState(tr("No runs yet"),
                           tr("Every run you start appears here with its losses, its curves and its exports."),
                           [to_training])
        empty.setAcceptDrops(False)
        self.reading = ReadingPage()
        self._pages = pages_of(self.reading, EmptyState.centred(empty), page, self.rows)
        column_in(self, (self._pages, 1), self.banner, spacing=theme.CARD_GAP, margins=theme.PAGE_MARGIN)

    def _runs_card(self) -> Card:
        runs = Card()
        self.bar = RunsBar(self._session, self.table, runs)
        upper = column_widget(self.bar.note, (self.table, 1))
        halves = Panes(self._session, "runs", (upper, self.curves), (2, 3), Qt.Orientation.Vertical)
        halves.restore((220, 330))
        fill(runs.body, row_of(text_label(tr("Runs"), "heading"), (self.bar, 1), spacing=theme.SPACE_M), (halves, 1))
        return runs

    def _connect(self) -> None:
        self._watcher = QFileSystemWatcher(self)
        self._timer = QTimer(self, interval=LOOK_AGAIN_MS, singleShot=True, timeout=self.refresh)
        self._watcher.directoryChanged.connect(lambda: self._timer.start())
        self._session.run_changed.connect(self._timer.start)
        details = self.details
        details.resume.connect(self._resume)
        for wanted in (details, self.table):
            wanted.open_folder.connect(lambda run: QDesktopServices.openUrl(QUrl.fromLocalFile(str(run.folder))))
            wanted.delete.connect(lambda run: run_actions.ask_to_delete(self, run, self.delete))
            wanted.rename.connect(self._ask_for_name)
        details.evaluation.rows_wanted.connect(lambda evaluation, order: self.open_answers(
            evaluation, self.details.title.text(), order))
        self.rows.closed.connect(lambda: self._pages.setCurrentIndex(2))
        self.rows.failed.connect(self.banner.show_error)
        self.reading.strip.cancelled.connect(self._stop_reading)
        self.reading.go_on.clicked.connect(self._read)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._read()

    def why_not_now(self) -> str:
        """Why another tab can't take over now; "" if it can."""
        starting = is_busy(self.details.export) or is_busy(self.details.evaluation.panel)
        return starting_text() if starting else ""

    def save_state(self) -> dict[str, Any]:
        """The run that is shown, for `restore_state` of the tab that replaces this one."""
        selected = self.table.selected()
        return {"select": selected[0].folder if selected else None, "shown": self._shown_run}

    def restore_state(self, state: dict[str, Any]) -> None:
        self._select, self._shown_run = state["select"], state["shown"]

    # -- reading ---------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Read all runs again, unless the tab isn't seen: then it does so when it is."""
        if self.isVisible() and not self._stopped:
            self._read()

    def _read(self) -> None:
        if self._reading.is_busy():
            return
        self._stopped, self._read_so_far = False, 0
        parent = paths.runs_dir()
        if parent.is_dir() and not self._watcher.directories():
            self._watcher.addPath(str(parent))
        if self._pages.currentWidget() is self.reading:
            self.reading.start()
        self._reading.run(self, lambda task: self._facts.read(parent, task.progress, task.cancelled), self._show_runs,
                          self._not_read, self._show_progress)

    def _show_progress(self, done: int, total: int) -> None:
        self._read_so_far = done
        self.reading.set_progress(done, total)
        shown, runs = len(self.table.runs.facts), [*self._facts.so_far]
        if done == total or len(runs) < max(FEW, 2 * shown) or self._pages.currentWidget() is self.rows:
            return
        # The newest runs at once, and the others behind, twice as many each time: runs of earlier versions take long.
        if shown:
            self.table.runs.set_facts(runs)
        else:
            self.table.set_facts(runs, None)
        self.bar.show_runs(tr("{done:,} of {total:,} runs have been read.", done=len(runs), total=total))
        self._pages.setCurrentIndex(2)

    def _stop_reading(self) -> None:
        """The user pressed Cancel: nothing is read until they say so, or come back to the tab."""
        self._reading.cancel()
        self._stopped = True
        self.reading.show_cancelled(self._read_so_far)

    def _not_read(self, error: Exception) -> None:
        self.reading.show_stopped(tr("The message above says why."))
        self.banner.show_error(error)

    def _show_runs(self, runs: list[RunFacts]) -> None:
        self.reading.end()
        if self._pages.currentWidget() is not self.rows:
            self._pages.setCurrentIndex(2 if runs else 1)
        wanted = self._session.run.folder if self._session.run is not None else None
        select, self._select = self._select, None
        if wanted != self._shown_run and any(run.folder == wanted for run in runs):
            select = self._shown_run = wanted  # not before it is among them: the reading may have begun before the run
        self._session.mark_done("results", any(run.summary.state in ("finished", "stopped") for run in runs))
        self.table.set_facts(runs, select)
        self.bar.show_runs()
        self._report_of_unreadable()

    def _report_of_unreadable(self) -> None:
        """Name the runs that can't be shown, once each time that there are others."""
        found = self._facts.passed_over
        told, self._told = self._told, {name: str(error) for name, error in found.items()}
        if not found or told == self._told:
            return
        problems = [Problem(str(error).splitlines()[0], field=name) for name, error in sorted(found.items())]
        self.banner.show_error(UserError(tr("Some runs can't be shown."), "",
                                         tr("Nothing in their folders was changed."), problems))

    def _load(self, runs: list[RunSummary]) -> None:
        """Show the selected runs: what is known at once, so that details and table never tell about different runs,
        then the curves and the exports, which are read."""
        facts = self.table.selected_facts()
        self.curves.begin(len(facts))
        facts = facts[:MOST_COMPARED]
        self._loading.cancel()
        self.details.setEnabled(bool(facts))
        if not facts:
            return
        if not self.details.shows(facts[0].folder):
            self.details.show_run(facts[0])
        self._loading.run(self, lambda task: _load(facts, task),
                          lambda loaded: self._show(facts, loaded))

    def _show(self, runs: list[RunFacts], loaded: _Loaded) -> None:
        self.details.show_run(loaded.run, loaded.exports, loaded.changes)
        if loaded.exporting is not None and not self.details.export.is_running():
            self.details.open_export()
            self.details.export.follow(loaded.run.summary, loaded.exporting)
        if len(runs) == 1:
            self.curves.show_run(loaded.histories[0], loaded.config)
        else:
            self.curves.show_runs(runs, loaded.histories)

    def open_answers(self, evaluation: Evaluation, name: str, order: str = LOSSES) -> None:
        """Show all answers of an evaluation.

        Args:
            name: of its run.
        """
        self.rows.open(evaluation, order, name)
        self._pages.setCurrentWidget(self.rows)

    # -- doing -----------------------------------------------------------------------------------------------

    def _resume(self, run: RunSummary) -> None:
        """Start the worker on the run's folder again, and watch it in the Training tab."""
        job = Job(run.folder)

        def started(_: None) -> None:
            self._session.start_run(job)
            self._session.go_to("training")

        run_task(self, lambda task: job.start(), started)

    def _ask_for_name(self, run: RunSummary) -> None:
        taken = [facts.summary.config.name for facts in self.table.runs.facts if facts.folder != run.folder]
        run_actions.ask_for_name(self, run.config.name, taken, lambda name: self.rename(run, name))

    def rename(self, run: RunSummary, name: str) -> None:
        """Give a run another name; one that can't be kept is said."""
        self.banner.clear()
        run_task(self, lambda task: run_folder.rename(run.folder, name), lambda _: self._session.report_runs_changed())

    def delete(self, run: RunSummary) -> None:
        """Move a run to the trash; one that something is using is refused."""
        self.banner.clear()
        run_task(self, lambda task: run_actions.to_trash(run), lambda _: self._session.report_runs_changed())


def _load(runs: list[RunFacts], task: Task) -> _Loaded:
    # What the plots calculate with takes a while to load. What paints them is loaded on the UI thread: it reads all of
    # Qt's types, and two threads at that at once end the program.
    importlib.import_module("numpy")
    histories = [RUNS.history(run.folder, task.cancelled) for run in runs]
    first, config = runs[0], runs[0].summary.config
    with contextlib.suppress(UserError):  # without it the curves are as good
        config = as_changed(config, adjust.load(first.folder)["values"])
    return _Loaded(first, read_exports(first.summary), config, histories, running_export(first.folder),
                   changes_texts(histories[0], first.summary.config))
