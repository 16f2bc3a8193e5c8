"""Follows a job in a thread of its own: the window never waits for a file or a process."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

from PySide6.QtCore import Signal

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.run.store import RUNS
from slmstudio.gui.common.living_thread import LivingThread

SECONDS_BETWEEN_BATCHES = 0.05
BATCH_LIMIT = 5000
"""Events in one signal: few enough that the UI thread takes them within a frame."""
GRACE_SECONDS = 60.0
"""How long a worker that was asked to end may go without a sign of work, and how long it may continue with steps."""
CLOSING_SECONDS = 3.0
"""How long a worker may take to write its last events once its outcome is there."""


class JobThread(LivingThread):
    """Starts a job's worker, or attaches to it, and turns its events into signals.

    The worker is a process of its own: when this thread ends, it works on.

    Attributes:
        was_over: whether the job had ended before this thread began.

    Signals:
        caught_up(RunHistory): once, before all else: what had happened before this thread began. It is the receiver's
            from now on. A long run is so attached to in no UI time.
        events(list[dict]): the later events in their order; at most 20 signals a second.
        ended(Outcome): the job is over, once, after its last event.
        failed(Exception): the job couldn't be started, commanded or followed. If it was running already, it is
            followed all the same.
    """

    events = Signal(list)
    caught_up = Signal(object)
    ended = Signal(object)

    def __init__(self, job: Job, *, start_worker: bool = False, grace_seconds: float = GRACE_SECONDS):
        super().__init__()
        self.job, self.was_over = job, False
        self._start_worker, self._grace = start_worker, grace_seconds
        self._commands: queue.SimpleQueue[tuple[str, dict[str, Any]]] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._detached = self._end_now = False
        self._asked_to_end: float | None = None
        self._doesnt_obey = False
        self._cancelling = False
        self._last_sign = 0.0
        self._last_batch = 0.0
        self._said_farewell = False

    def send(self, command: str, **arguments: Any) -> None:
        """Hand a command to the worker; it obeys at its next step boundary.

        "stop" asks it to finish its step, save and end; "cancel" to end and keep nothing. One that shows no sign of
        work then is ended. One that learns knows "pause", "resume", "checkpoint", "sample", which asks the fixed
        prompts now, "change" of `learning_rate`, and of `max_steps` or `epochs`, and "free", which saves a checkpoint
        and ends the worker, so that its memory is free; the outcome is "paused". It answers with the events `paused`,
        `resumed`, `checkpoint_saved`, `sample` and `changed`.
        """
        self._commands.put((command, arguments))
        self._wake.set()

    def end_now(self) -> None:
        """End the worker's process tree without waiting for its answer."""
        self._end_now = True
        self._wake.set()

    def leave(self) -> None:
        """End this thread, not the worker."""
        self._detached = True
        self._wake.set()

    def work(self) -> None:
        with os_errors_as(tr("Could not follow the job.")):
            reader = self._catch_up()
            if self._start_worker:
                self._start()
            self._follow(reader)

    def _catch_up(self) -> files.LineReader:
        outcome = self.job.outcome()  # looked at before reading: what came before it is read below
        history, reader = RUNS.continued(self.job.folder, lambda: self._detached)
        if not self._start_worker:
            self.was_over = outcome is not None
            self._said_farewell = bool(history.told) and history.told[-1].get("type") == "job_ended"
        self.caught_up.emit(history)
        return reader

    def _start(self) -> None:
        try:
            self.job.start()
        except UserError as error:
            if not self.job.is_alive():
                raise
            self.failed.emit(error)

    def _follow(self, reader: files.LineReader) -> None:
        over_since = None
        while not self._detached:
            outcome = self.job.outcome()  # looked at before reading: what came before it is read below
            self._read(reader)
            if outcome is not None:
                over_since = over_since or time.monotonic()
                late = time.monotonic() - over_since > CLOSING_SECONDS
                if self._said_farewell or late or not self.job.is_alive():
                    self._read(reader)
                    self.ended.emit(outcome)
                    return
            elif self.job.is_gone():
                raise jobs.gone(self.job.folder)
            self._pass_commands_on()
            self._climb_ladder()
            self._wake.wait(jobs.POLL_SECONDS)
            self._wake.clear()
        self._pass_commands_on()

    def _read(self, reader: files.LineReader) -> None:
        batch: list[dict[str, Any]] = []
        for event in reader.read():
            self._notice(event)
            batch.append(event)
            if len(batch) == BATCH_LIMIT:
                self._emit(batch)
                batch = []
            if self._detached:
                return
        if batch:
            self._emit(batch)

    def _emit(self, batch: list[dict[str, Any]]) -> None:
        rest = self._last_batch + SECONDS_BETWEEN_BATCHES - time.monotonic()
        if rest > 0:
            time.sleep(rest)
        self._last_batch = time.monotonic()
        self.events.emit(batch)

    def _notice(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        now = time.monotonic()
        if kind == "step" and self._asked_to_end is not None and now - self._asked_to_end > self._grace:
            self._doesnt_obey = True
        # Sensors speak from a thread that outlives a hung step.
        if kind != "sensors" and not self._doesnt_obey:
            self._last_sign = now
        self._said_farewell = kind == "job_ended"

    def _pass_commands_on(self) -> None:
        """Append the commands; a worker that is still starting will read them."""
        while not self._commands.empty():
            command, arguments = self._commands.get()
            if command in ("stop", "cancel"):
                self._asked_to_end = self._asked_to_end or time.monotonic()
                self._cancelling = command == "cancel"
            try:
                self.job.send(command, **arguments)
            except UserError as error:
                self.failed.emit(error)

    def _climb_ladder(self) -> None:
        """Cooperative, grace, process tree: the last rung."""
        if self._asked_to_end is not None:
            silent_since = max(self._asked_to_end, self._last_sign)
            self._end_now = self._end_now or time.monotonic() - silent_since > self._grace
        if not self._end_now or not self.job.is_alive():
            return
        self._end_now = False
        self.job.end(self._cancelling)
