"""What a job may use: its request, its events, and the user's commands."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from slmstudio.core import disk_space, files, i18n, jobs
from slmstudio.core.i18n import tr
from slmstudio.core.jobs import processes
from slmstudio.worker.runtime import ranks

POLL_SECONDS = 0.1


class Cancelled(Exception):
    """The user cancelled the job; nothing of it is kept."""


class StartAnew(Exception):
    """This process must end, and a fresh one continue the same job: its memory can't be trusted any more."""


def running_seconds() -> float:
    """For how long this process has been running."""
    return time.time() - psutil.Process().create_time()


class JobContext:
    """One job, seen from inside its process. Only rank 0 writes events and reads commands.

    Attributes:
        commands_from: where in commands.jsonl those begin that weren't taken yet, for a process that continues the job.
        must_rest: whether the machine must cool before more work is done (`runtime.cooling.cooled` sets it).
    """

    def __init__(self, folder: Path, request: dict[str, Any]):
        self.must_rest: Callable[[], bool] = lambda: False
        self.folder = folder
        self.request = request
        self._has_folder = not jobs.Job(folder).is_gone()
        self._leads = ranks.is_first()
        # Commands of an earlier life of this folder are history; those sent while this process started count, and those
        # sent while the agent that started it waited for machines.
        self.commands_from = int(os.environ.get(processes.COMMANDS_FROM) or jobs.commands_end(folder))
        self._commands = files.LineReader(folder / jobs.COMMANDS, self.commands_from)
        self._cancelled = self._has_lost = False
        self._pending: list[dict[str, Any]] = []
        self._last_progress = 0.0

    def emit(self, type: str, **fields: Any) -> None:
        """Append one event. A full disk must not end a run: the event is lost, which is said once where there is a
        reserve, and the run continues."""
        if not self._leads:
            return
        event = i18n.with_sources({"protocol": jobs.PROTOCOL, "time": round(time.time(), 3), "type": type, **fields})
        try:
            files.append_line(self.folder / jobs.EVENTS, event)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            with contextlib.suppress(OSError):
                print(f"event lost, the disk is full: {type}", flush=True)
            if not self._has_lost:
                self._has_lost = True
                disk_space.give_part(self.folder)
                self.warn("events_lost", tr("The disk is full, so progress can't be recorded. Curves will have gaps "
                                            "until there is space."))

    def log(self, message: str, level: str = "info") -> None:
        self.emit("log", level=level, message=message)

    def warn(self, code: str, message: str, **figures: int) -> None:
        """A warning in words; `code` names its kind, and `figures` what it counts, for programs."""
        self.emit("warning", code=code, message=message, **figures)

    def phase(self, phase: str, detail: str = "") -> None:
        self.emit("phase", phase=phase, detail=detail)

    def progress(self, done: float, total: float, unit: str, phase: str) -> None:
        """Say how far it is; at most ten times a second, and always at the end."""
        now = time.monotonic()
        if done >= total or now - self._last_progress >= 0.1:
            self._last_progress = now
            self.emit("progress", phase=phase, done=done, total=total, unit=unit)

    def commands(self) -> list[dict[str, Any]]:
        """Commands that came since the last call."""
        self._receive()
        found, self._pending, self.commands_from = self._pending, [], self._commands.offset
        return found

    def is_gone(self) -> bool:
        """Whether the job's folder was moved or deleted."""
        return self._has_folder and jobs.Job(self.folder).is_gone()

    def waiting(self) -> bool:
        self._receive()
        return bool(self._pending)

    def cancelled(self) -> bool:
        """Whether the user asked this job to end. Cheap; call it often. Other commands stay for `commands`."""
        self._receive()
        return self._cancelled

    def _receive(self) -> None:
        """Raises UserError: the job's folder is gone, so that nobody could tell this process to stop any more."""
        if not self._leads:
            return
        if self.is_gone():
            raise jobs.gone(self.folder)
        found = list(self._commands.read())
        self._pending += found
        self._cancelled = self._cancelled or any(command.get("command") in ("stop", "cancel") for command in found)

    def check_cancelled(self) -> None:
        """Called between two pieces of work; rests while the machine must cool.

        Raises:
            Cancelled: the user asked this job to end.
        """
        while True:
            if self.cancelled():
                raise Cancelled
            if not self.must_rest():
                return
            time.sleep(POLL_SECONDS)
