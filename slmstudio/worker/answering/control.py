"""The user's control of work in batches: pause, resume, cancel; rests for heat; and how long it will take."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.hardware.heat_guard import Work
from slmstudio.core.time_left import ProgressLeft
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.runtime.cooling import Awake, Cooling

# -- Lines that are appended batch by batch, so that whoever kills the worker loses one batch at most.


class LineLog:
    """What is already there, and what is added.

    Args:
        path: of the file; half a line at its end, which a kill leaves, is cut off.
        key: what names a line.

    Attributes:
        keys: of all lines.
    """

    def __init__(self, path: Path, key: Callable[[dict[str, Any]], Hashable] = lambda line: line["id"]):
        self._path, self._key = path, key
        _cut_half_line(path)
        self.keys = set(map(key, files.LineReader(path).read()))

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Append a batch and see it on the disk before the next one begins.

        Raises:
            OSError: the disk is full, for instance; the work can continue later from the batches before.
        """
        lines = list(lines)
        with open(self._path, "ab", opener=files.regular) as file:
            file.write(b"".join(map(files.dump_line, lines)))
            file.flush()
            os.fsync(file.fileno())
        self.keys |= set(map(self._key, lines))


def _cut_half_line(path: Path) -> None:
    if not path.exists():
        return
    with open(path, "rb+", opener=files.regular) as file:
        data = file.read()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            file.truncate(end)


POLL_SECONDS = 0.1
TELL_SECONDS = 0.5


class EvaluationControl:
    """Progress and commands of an evaluation, or of other work in batches.

    Work is counted in answers, weighed by how long each takes: all of it together is as much as there are answers.

    Args:
        total: answers that are wanted in all.
        unit: what is counted; `work`: what rests where the machine must cool.

    Attributes:
        paused_seconds: in which it was paused, or rested for heat.
        seconds_left: as last told; None as long as it isn't known.
    """

    def __init__(self, job: JobContext, total: int, unit: str = "answers", work: Work = "evaluation"):
        self.job, self.total, self._unit = job, total, unit
        self.done, self.finished = 0, 0.0
        self._here = 0.0  # work done by this process, which is what its speed is known from
        self.paused_seconds = 0.0
        self.seconds_left: float | None = None
        self._left = ProgressLeft(time.monotonic())
        self._told = 0.0
        self._awake = Awake(job)
        self._awake.on()
        self._cooling = Cooling(job, work)

    def expect(self, total: int, done: int) -> None:
        """How much it is becomes known, and what of it is over; the speed is measured again from here."""
        if (total, done) != (self.total, self.done):
            self.total, self.done, self.finished = total, done, float(done)
            self._here, self._left = 0.0, ProgressLeft(time.monotonic() - self.paused_seconds)

    def skip(self, answers: int, work: float | None = None) -> None:
        """Answers that needn't be made; their work is as much as their number, unless it is known better."""
        self.done += answers
        self.finished += answers if work is None else work

    def add(self, answers: int, work: float, phase: str) -> None:
        self.skip(answers, work)
        self._here += work
        self._report(0.0, 0.0, phase, always=True)

    def gate(self, share: float, answers: int, work: float, phase: str) -> bool:
        """In the middle of a batch: tell how far it is; wait while paused, or while the machine must cool.

        Returns:
            Whether it was told now: that isn't done each time.

        Args:
            share: of the batch, 0 to 1.
            answers, work: of the whole batch.

        Raises:
            Cancelled: the user asked this job to end.
        """
        self._obey()
        return self._report(share * answers, share * work, phase)

    def close(self) -> None:
        self._cooling.close()
        self._awake.off()

    def _obey(self) -> None:
        paused = False
        since = time.monotonic()
        while True:
            self.job.check_cancelled()
            for command in self.job.commands():
                name = command.get("command")
                if name in ("pause", "resume") and paused != (name == "pause"):
                    paused = name == "pause"
                    self.job.emit("paused" if paused else "resumed")
                    # A paused evaluation lets the machine sleep.
                    self._awake.off() if paused else self._awake.on()
            if not paused and not self._cooling.must_rest():
                self.paused_seconds += time.monotonic() - since
                return
            time.sleep(POLL_SECONDS)

    def _report(self, answers: float, work: float, phase: str, always: bool = False) -> bool:
        now = time.monotonic()
        if not always and now - self._told < TELL_SECONDS:
            return False
        self._told = now
        here, rest = self._here + work, self.total - self.finished - work
        left = self._left.update(here, here + rest, now - self.paused_seconds)
        self.seconds_left = None if left is None else round(left, 1)
        self.job.emit("progress", phase=phase, done=int(self.done + answers), total=self.total, unit=self._unit,
                      seconds_left=self.seconds_left)
        return True
