"""Runs one training run: the Training tab's hand on the worker."""

from __future__ import annotations

from slmstudio.gui.job_thread import JobThread


class TrainingThread(JobThread):
    """A job that learns can be paused, and asked for a checkpoint, between two steps.

    The worker answers with the events `paused`, `resumed` and `checkpoint_saved`.
    """

    def pause(self) -> None:
        self.send("pause")

    def resume(self) -> None:
        self.send("resume")

    def checkpoint(self) -> None:
        self.send("checkpoint")
