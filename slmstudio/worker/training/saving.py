"""Saves that wait for room: a full disk never ends a run, and never costs what was learned."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from slmstudio.core import disk_space
from slmstudio.core.errors import from_os_error
from slmstudio.core.i18n import together, tr
from slmstudio.core.run import checkpoints
from slmstudio.core.units import format_bytes
from slmstudio.worker.runtime import ranks
from slmstudio.worker.runtime.context import JobContext

POLL_SECONDS = 0.5
LOOK_SECONDS = 1.0
"""How long Stop may take to be noticed while a run waits for space, and how often the disk is looked at."""


class Saver:
    """Writes for a run; when the disk is full it says so, waits, and tries again.

    Attributes:
        saved_step: of the newest checkpoint, which was saved at `saved_at` by the monotonic clock.
        waited: seconds spent waiting for room so far.
    """

    def __init__(self, job: JobContext, keep: int, trainer: Any):
        self.job, self.keep, self.trainer = job, keep, trainer
        self.saved_step, self.saved_at, self.waited = -1, time.monotonic(), 0.0
        self._gave_up = False

    def checkpoint(self, reason: str) -> bool:
        """Save a checkpoint of the present step, unless there is one; False when the user stopped the waiting."""
        step = self.trainer.state.global_step
        if self.saved_step == step:
            return True
        with self.trainer.collected():
            saved = self.with_space(lambda: self.trainer._save_checkpoint(self.trainer.model, None),
                                    tr("Could not save a checkpoint."))
        if not saved:
            return False
        self.saved_step, self.saved_at = step, time.monotonic()
        if not self.trainer.is_world_process_zero():
            return True
        path = self.trainer.checkpoint_parent / checkpoints.folder_name(step)
        self.job.emit("checkpoint_saved", global_step=step, path=str(path), reason=reason)
        checkpoints.rotate(self.trainer.checkpoint_parent, self.keep)
        return True

    def with_space(self, write: Callable[[], Any], trouble: str) -> bool:
        """Write, on the first rank; while the disk is full, wait for space, for Resume, or for Stop, which gives up
        (False). Every rank must call it."""
        return bool(ranks.alone(lambda: self._write_with_space(write, trouble)))

    def _write_with_space(self, write: Callable[[], Any], trouble: str) -> bool:
        step, told = self.trainer.state.global_step, False
        while True:
            try:
                write()
            except Exception as error:
                # safetensors and torch wrap the system's error, so the disk itself is asked.
                if not self._disk_is_full(error):
                    raise
                if self._gave_up:
                    return False  # whoever stopped the waiting once doesn't want to wait for the next file either
                if not told:
                    self._tell(step, trouble)
                    told = True
                since = time.monotonic()
                self._gave_up = not self._wait()
                self.waited += time.monotonic() - since
                continue
            if told:
                self._keep_reserve()
                self.job.emit("resumed", global_step=step)
            return True

    def _keep_reserve(self) -> None:
        with contextlib.suppress(OSError):  # without it, what is told on a full disk may be lost
            disk_space.keep_reserve(self.job.folder)

    def _bytes_needed(self) -> int:
        learning = sum(p.numel() * p.element_size() for p in self.trainer.model.parameters() if p.requires_grad)
        return 3 * learning + 2**20  # weights and AdamW's two moments

    def _disk_is_full(self, error: Exception) -> bool:
        full = isinstance(error, OSError) and error.errno == 28
        return full or disk_space.free(self.job.folder) < self._bytes_needed()

    def _tell(self, step: int, trouble: str) -> None:
        disk_space.give_part(self.job.folder)
        error = from_os_error(OSError(28, "No space left on device"), trouble)
        self.job.warn(
            "disk_full",
            together(error.what, error.why, tr("About {size} is needed.", size=format_bytes(self._bytes_needed())),
                     tr("The run waits and continues by itself when there is space; Stop ends it and keeps the last "
                        "checkpoint.")))
        self.job.emit("paused", global_step=step, reason="disk_full")

    def _wait(self) -> bool:
        while True:
            for command in self.job.commands():
                if command.get("command") == "resume":
                    return True
                if command.get("command") in ("stop", "cancel", "free"):
                    return False
            if disk_space.free(self.job.folder) > 1.2 * self._bytes_needed():
                time.sleep(LOOK_SECONDS)  # what freed it may still be at work
                return True
            time.sleep(POLL_SECONDS)
