"""Runs that wait: what is in the queue, and the next one's start."""

from __future__ import annotations

import time
from functools import partial, reduce

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QScrollArea, QWidget

from slmstudio.core import units
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.job import POLL_SECONDS, Job
from slmstudio.core.run import folder, queue
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.queue import Entry
from slmstudio.core.run.time_estimate import TimeEstimate
from slmstudio.gui.common import theme
from slmstudio.gui.common.run_texts import outcome_chip
from slmstudio.gui.common.tasks import Task, run_task
from slmstudio.gui.common.widgets.areas import Card, plain_page
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton
from slmstudio.gui.common.widgets.labels import Chip, ElidedLabel, text_label
from slmstudio.gui.common.widgets.layouts import column_in, row_in
from slmstudio.gui.training.plan_panel import WIDTH

ROW_HEIGHT, SHOWN_ROWS = 26, 3


class RunQueue(QObject):
    """The studio's queue, asked and changed off the UI thread.

    Attributes:
        entries: as it was last read, without the current run.

    Signals:
        changed: `entries` are different now.
        added(str): a run of this name waits now.
        started(Job): a run's turn has come; its worker runs.
        evaluating(Job): a search scores its best, which comes before the next run.
        failed(Exception): the queue couldn't be read or changed.
    """

    changed = Signal()
    added = Signal(str)
    started = Signal(object)
    evaluating = Signal(object)
    failed = Signal(object)

    def __init__(self, parent: QObject):
        super().__init__(parent)
        self.entries: list[Entry] = []

    def refresh(self) -> None:
        """Read it again."""
        run_task(self, lambda task: queue.entries(), self._take, self.failed.emit)

    def _take(self, entries: list[Entry]) -> None:
        waiting = [entry for entry in entries if entry.state != "running"]
        if waiting != self.entries:
            self.entries = waiting
            self.changed.emit()

    def waits(self) -> bool:
        """Whether a run waits for its turn."""
        return any(entry.state == "waiting" for entry in self.entries)

    def add(self, config: RunConfig, time: TimeEstimate | None) -> None:
        """Make a run of this configuration, which takes about this time, and let it wait."""
        def done(entry: Entry) -> None:
            self.added.emit(entry.name)
            self.refresh()

        run_task(self, lambda task: queue.add(folder.create(config).folder, time=time), done, self.failed.emit)

    def remove(self, run: Entry) -> None:
        """Take a run out; its folder stays."""
        run_task(self, lambda task: queue.remove(run.folder), lambda _: self.refresh(), self._not_changed)

    def move(self, run: Entry, by: int) -> None:
        """Let a run come earlier (-1) or later (1)."""
        run_task(self, lambda task: _move(run, by), lambda _: self.refresh(), self._not_changed)

    def _not_changed(self, error: Exception) -> None:
        self.refresh()  # somebody else may have changed it: show what is there
        self.failed.emit(error)

    def start_next(self, after: Job | None = None) -> None:
        """Start the run whose turn is next, unless one is running: that one is told instead.

        Args:
            after: a job that has ended; its process is waited for, because its memory is needed.
        """
        def work(task: Task) -> tuple[Job | None, Job | None]:
            from slmstudio.core.evaluation import search_end  # here, since it needs what compares answers

            if after is not None:
                wait_until_gone(after, task)
            evaluation = search_end.advance_all()
            return evaluation, None if evaluation is not None else queue.start_next() or queue.at_work()

        def done(found: tuple[Job | None, Job | None]) -> None:
            self.refresh()
            for job, signal in zip(found, (self.evaluating, self.started), strict=True):
                if job is not None:
                    signal.emit(job)

        run_task(self, work, done, self._not_changed)


def wait_until_gone(job: Job, task: Task) -> None:
    """Wait for the process of a job that has said how it ended. Not on the UI thread."""
    gone = Job(job.folder)  # one that waits for no child: the job's own thread does
    while gone.is_alive() and not task.cancelled():
        time.sleep(POLL_SECONDS)


def _move(run: Entry, by: int) -> None:
    """Move it among all entries past its neighbour, passing over the current run, which isn't shown."""
    order = queue.entries()
    shown = [index for index, entry in enumerate(order) if entry.state != "running"]
    place = next((n for n, index in enumerate(shown) if order[index].folder == run.folder), None)
    if place is not None and 0 <= place + by < len(shown):
        queue.move(run.folder, shown[place + by])


class QueueCard(Card):
    """The waiting runs, one per line. Hidden while there are none."""

    def __init__(self, runs: RunQueue):
        super().__init__(title=tr("Queue"))
        self._runs = runs
        theme.grow(self, "setFixedWidth", WIDTH)
        self.start = SecondaryButton(tr("Start next"), tr("Start the first run in the queue."), "small",
                                     name="queue_start", clicked=lambda: runs.start_next())
        self.sum = text_label("", "small", name="queue_time")
        self.sum.setToolTip(tr("The time that all of them take together."))
        self.header.addWidget(self.sum)
        self.header.addWidget(self.start)
        self._area = QScrollArea()
        self._area.setAccessibleName(tr("Waiting runs"))
        self._area.setWidgetResizable(True)
        self._area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.body.addWidget(self._area)
        runs.changed.connect(self._show)
        self._show()

    def set_running(self, on: bool) -> None:
        """A run is in progress: the next one starts by itself."""
        self.start.setVisible(not on)
        self.start.setEnabled(self._runs.waits())

    def _show(self) -> None:
        entries = self._runs.entries
        page = plain_page()
        column = column_in(page, spacing=0)
        for index, entry in enumerate(entries):
            column.addWidget(self._line(entry, index, len(entries)))
        column.addStretch(1)
        self._area.setWidget(page)
        rows = max(1, min(SHOWN_ROWS, len(entries)))
        self._area.setFixedHeight(theme.scaled(ROW_HEIGHT) * rows + 2 * theme.FOCUS_RING)
        times = [entry.time for entry in entries if entry.time is not None]
        whole = reduce(TimeEstimate.plus, times) if len(times) > 1 and len(times) == len(entries) else None
        self.sum.setText(units.format_about(whole.likely) if whole else "")
        self.start.setEnabled(self._runs.waits())
        self.setVisible(bool(entries))

    def _line(self, entry: Entry, index: int, count: int) -> QWidget:
        line = QWidget()
        theme.grow(line, "setFixedHeight", ROW_HEIGHT)
        name = ElidedLabel(entry.name, name="queue_name")
        name.setMinimumWidth(1)
        row = row_in(line, (name, 1), spacing=2, margins=(0, 0, theme.SPACE_XS, 0))
        if entry.time is not None:
            row.addWidget(text_label(units.format_about(entry.time.likely), "small", name="queue_run_time"))
        if entry.state != "waiting":
            chip = Chip()
            chip.set(*outcome_chip(entry.state),
                     tooltip=str(UserError.from_dict(entry.error)) if entry.error else "")
            row.addWidget(chip)
        for icon, key, tooltip, act, possible in (
                ("chevron-up", "up", tr("Move {name} up", name=entry.name), partial(self._runs.move, entry, -1),
                 index > 0),
                ("chevron-down", "down", tr("Move {name} down", name=entry.name), partial(self._runs.move, entry, 1),
                 index < count - 1),
                ("close", "remove", tr("Remove {name} from the queue. Its folder stays.", name=entry.name),
                 partial(self._runs.remove, entry), True)):
            button = IconButton(icon, tooltip, name=f"queue_{key}", clicked=lambda _=False, act=act: act())
            button.setEnabled(possible)
            row.addWidget(button)
        return line
