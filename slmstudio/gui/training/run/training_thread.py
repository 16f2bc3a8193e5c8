"""Runs one training run: what the Training tab controls the worker with."""

from __future__ import annotations

import queue
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.gui.common.job_thread import JobThread


class TrainingThread(JobThread):
    """A job that learns can also be paused, asked for a checkpoint or for samples, and changed, between two steps.

    It knows "pause", "resume", "checkpoint", "sample", which asks the fixed prompts now, and "free", which saves a
    checkpoint and ends the worker, so that its memory is free; the outcome is "paused". The worker answers with the
    events `paused`, `resumed`, `checkpoint_saved`, `sample` and `changed`.
    """

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._changes: queue.SimpleQueue[dict[str, float]] = queue.SimpleQueue()

    def change(self, values: dict[str, float]) -> None:
        """Decide `learning_rate`, and `max_steps` or `epochs`."""
        self._changes.put(values)
        self._wake.set()

    def _pass_commands_on(self) -> None:
        super()._pass_commands_on()
        while self._listening and not self._changes.empty():
            try:
                self.job.send("change", **self._changes.get_nowait())
            except UserError as error:
                self.failed.emit(error)
