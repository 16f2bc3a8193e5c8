"""The search for better settings: what is tried and for how long, then how far it is and what came of it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QDialog, QLineEdit, QWidget

from slmstudio.core.i18n import tr
from slmstudio.core.run.config import FIELDS, RunConfig
from slmstudio.core.run.searching import search as searches
from slmstudio.core.run.searching import search_values
from slmstudio.core.run.searching.search import Search
from slmstudio.gui.common import theme
from slmstudio.gui.common.followed_job import FollowedJob
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import TaskSlot, run_task
from slmstudio.gui.common.widgets.areas import plain_page
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton, keep_room
from slmstudio.gui.common.widgets.fields import ComboBox, SpinBox, named
from slmstudio.gui.common.widgets.figures import Figure, FigureTable
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, grid_of, pages_of, row_of
from slmstudio.gui.training.planning import Planning
from slmstudio.gui.training.run_queue import RunQueue

if TYPE_CHECKING:
    from slmstudio.core.data.record import Record
    from slmstudio.gui.plots.plot import Plot

LEAST_WIDTH, WIDTH, HEIGHT, NOTE_HEIGHT = 560, 720, 560, 90
SEARCHED_FIELDS = 4
PAUSE_MS = 400
"""After the last key, the search is designed."""
COLOURS = ("grey", "teal", "train")
"""Of the rounds, the last one last."""
Designed = tuple[Search, Mapping[str, "list[Record]"]]


class SearchDialog(QDialog):
    """Before a search it asks; then it shows the newest one. Whoever closes it ends nothing.

    Attributes:
        search: the one that is shown; `designed`: the one that Start would make, with its rows.
        plot: None until its libraries are there.
    """

    def __init__(self, session: Session, planning: Planning, runs: RunQueue, parent: QWidget | None = None):
        super().__init__(parent)
        self._session, self._planning, self._runs = session, planning, runs
        self.search: Search | None = None
        self.designed: Designed | None = None
        self._config: RunConfig | None = None  # the plan whose fields are shown
        self.plot: Plot | None = None
        self._task, self._reading = TaskSlot(), TaskSlot()
        self._timer = QTimer(self, singleShot=True, interval=PAUSE_MS, timeout=self._design)
        self.followed = FollowedJob(self, session)
        self.setWindowTitle(tr("Search for better settings"))
        self.setObjectName("search_dialog")
        self.setMinimumWidth(LEAST_WIDTH)
        self.resize(theme.scaled(WIDTH), theme.scaled(HEIGHT))
        self.banner = ErrorBanner(name="search_banner")
        self._pages = pages_of(self._make_question(), self._make_progress())
        column_in(self, self.banner, (self._pages, 1), spacing=theme.SPACE_M, margins=theme.SPACE_L)
        runs.changed.connect(self.refresh)
        runs.started.connect(self.refresh)
        runs.evaluating.connect(self._evaluate)
        self.followed.ended.connect(lambda job, outcome: runs.start_next(job))

    # -- what is asked ---------------------------------------------------------------------------------------

    def _make_question(self) -> QWidget:
        page = plain_page()
        self.fields: list[tuple[ComboBox, QLineEdit]] = []
        grid = grid_of(theme.SPACE_M, theme.SPACE_S, stretch=1)
        for row in range(SEARCHED_FIELDS):
            box = named(ComboBox(), f"search_field_{row}", tr("Field {n}", n=row + 1), tr("A field that is searched."))
            line = named(QLineEdit(), f"search_values_{row}", tr("Values of field {n}", n=row + 1),
                         tr("A range such as {example}, or values with commas between them.", example="1e-4..4e-3"))
            box.addItem(tr("None"), "")
            for name in search_values.SEARCHED:
                box.addItem(FIELDS[name].label, name)
            box.activated.connect(self._timer.start)
            line.textEdited.connect(lambda _: self._timer.start())
            grid.addWidget(box, row, 0)
            grid.addWidget(line, row, 1)
            self.fields.append((box, line))
        self.minutes = named(SpinBox(), "search_minutes", tr("Time budget, minutes"),
                             tr("How long the search may take. With more time, more settings are tried."))
        self.minutes.setRange(1, 10_000)
        self.minutes.setValue(60)
        self.minutes.valueChanged.connect(lambda _: self._timer.start())
        self.note = text_label("", wrap=True, name="search_note", selectable=True)
        self.note.setAlignment(Qt.AlignmentFlag.AlignTop)
        theme.grow(self.note, "setMinimumHeight", NOTE_HEIGHT)
        self.start = PrimaryButton(tr("Start search"), tr("Put the trials into the queue, one after the other."),
                                   name="search_start", clicked=self._start)
        self.start.setEnabled(False)
        close = SecondaryButton(tr("Close"), tr("Close this window."), name="search_leave", clicked=self.close)
        column_in(page, text_label(tr("Many settings are trained briefly, and the best again for longer. The best of "
                                      "all and the plan are then compared on rows that the search never "
                                      "used."), wrap=True),
                  grid, row_of(text_label(tr("Time budget, minutes")), self.minutes, STRETCH), self.note, STRETCH,
                  row_of(STRETCH, close, self.start), spacing=theme.SPACE_M)
        return page

    def _fill(self) -> None:
        """Propose fields for the plan, as long as it is another one than before."""
        config = self._planning.config
        if config is not None and config != self._config:
            self._config = config
            usual = [*search_values.usual(config).items()]
            for (box, line), (name, values) in zip(self.fields, [*usual, *[("", "")] * SEARCHED_FIELDS], strict=False):
                box.setCurrentIndex(box.findData(name))
                line.setText(values)
        self._design()

    def _design(self) -> None:
        """Find out what a search of these fields would do."""
        session, choice = self._session, self._planning.current
        self.designed = None
        self.start.setEnabled(False)
        if choice is None or session.dataset is None or session.model is None:
            self.note.setText(tr("Choose data and a base model first."))
            return
        given = {box.currentData(): line.text() for box, line in self.fields if box.currentData()}
        inputs = (choice.plan, session.model, session.dataset.records,
                  session.eval_dataset.records if session.eval_dataset is not None else None, given,
                  60.0 * self.minutes.value())
        self.note.setText(tr("Finding out what there is time for…"))
        self._task.run(self, lambda task: searches.prepare(*inputs), self._show_design,
                       lambda error: self.note.setText(str(error)))

    def _show_design(self, designed: Designed) -> None:
        self.designed = designed
        self.note.setText(searches.outline(designed[0]))
        self.start.setEnabled(True)

    def _start(self) -> None:
        designed, self.designed = self.designed, None
        if designed is not None:
            self.start.setEnabled(False)
            run_task(self, lambda task: searches.create(*designed), self._begin, self.banner.show_error)

    def _begin(self, search: Search) -> None:
        self._show(search)
        self._runs.start_next()

    # -- how far it is ---------------------------------------------------------------------------------------

    def _make_progress(self) -> QWidget:
        page = plain_page()
        self.result = text_label("", wrap=True, name="search_result", selectable=True)
        theme.grow(self.result, "setMinimumHeight", NOTE_HEIGHT // 2)
        self._place = column_in(place := QWidget())
        self.table = FigureTable(tr("What was tried"))
        self.toggle = SecondaryButton(tr("Stop"), "", name="search_toggle", clicked=self._toggle)
        self.other = SecondaryButton(tr("Another search…"), tr("Choose fields and a time for another search."),
                                     name="search_other", clicked=self._ask)
        self.use = PrimaryButton(tr("Use these settings"), tr("Write the values of the best into the plan."),
                                 name="search_use", clicked=self._use)
        keep_room(self.toggle)
        column_in(page, self.result, (place, 1), (self.table, 1),
                  row_of(self.toggle, STRETCH, self.other, self.use), spacing=theme.SPACE_M)
        return page

    def open(self) -> None:
        """Show the newest search, or ask for one."""
        super().open()
        if self.plot is None:
            run_task(self, lambda task: importlib.import_module("numpy"), lambda _: self._make_plot())
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Read the search again."""
        if self.isVisible():
            self._reading.run(self, lambda task: [searches.read(place) for place in searches.folders()[:1]],
                              lambda found: self._show(*found) if found else self._ask(), self.banner.show_error)

    def _ask(self) -> None:
        self.banner.clear()
        if self.search is None or self.sender() is self.other or self._pages.currentIndex() == 0:
            self._pages.setCurrentIndex(0)
            self._fill()

    def _show(self, search: Search) -> None:
        from slmstudio.core.evaluation import search_end

        if self.search is not None and self._pages.currentIndex() == 0 and search.folder == self.search.folder:
            return  # another one is being asked for
        self.search = search
        self._pages.setCurrentIndex(1)
        self.result.setText(search_end.sentence(search) or searches.progress(search))
        heads, rows = searches.table(search)
        self.table.show_rows(heads, [[Figure(cell) for cell in row] for row in rows])
        running = search.state == searches.RUNNING
        self.toggle.setText(tr("Stop") if running else tr("Resume"))
        self.toggle.setToolTip(tr("Save the trial that is running, and start no other. Resume continues.") if running
                               else tr("Continue the search where it was stopped."))
        self.toggle.setVisible(search.state != searches.FINISHED)
        self.toggle.setEnabled(True)
        self.other.setEnabled(not running)
        self.use.setEnabled(search.state == searches.FINISHED and bool(search.better_values))
        self._draw()

    def _make_plot(self) -> None:
        from slmstudio.gui.plots.plot import Plot

        self.plot = Plot(tr("Eval loss of the trials"), x_unit=tr("trials"), x_form=lambda x: tr("trial {n:.0f}", n=x),
                          value_form=lambda value: f"{value:.3f}", empty=tr("No trial has ended yet."),
                          term="eval_loss")
        for colour, place in zip(COLOURS, range(searches.DEEPEST), strict=True):
            self.plot.add_curve(str(place), colour, label=tr("round {n}", n=place + 1), width=0, dots=True)
        self._place.addWidget(self.plot)
        self._draw()

    def _draw(self) -> None:
        if self.plot is None or self.search is None:
            return
        import numpy as np

        ended = [(number, trial) for number, trial in enumerate(self.search.trials, 1) if trial.loss is not None]
        for place in range(searches.DEEPEST):
            points = [(number, trial.loss) for number, trial in ended if trial.place == place]
            self.plot.set_data(str(place), *np.array(points, dtype=float).reshape(-1, 2).T)

    def _toggle(self) -> None:
        if (search := self.search) is None:
            return
        self.toggle.setEnabled(False)
        running = search.state == searches.RUNNING
        self.followed.send("stop")
        run_task(self, lambda task: (searches.stop if running else searches.resume)(search.folder),
                 lambda _: self.refresh() if running else self._runs.start_next(), self.banner.show_error)

    def _evaluate(self, job: object) -> None:
        self.followed.follow(job)  # type: ignore[arg-type]
        self.refresh()

    def _use(self) -> None:
        if self.search is not None:
            for name, value in self.search.better_values.items():
                self._planning.decide(name, value)
            self.close()
