"""The user's hand on a running training: events out, commands in, at every step boundary."""

from __future__ import annotations

import math
import shutil
import time
from typing import Any

from transformers import TrainerCallback

from slmstudio.core.errors import from_os_error
from slmstudio.core.run import checkpoints
from slmstudio.core.run.config import RunConfig
from slmstudio.core.words import format_bytes
from slmstudio.worker.context import JobContext
from slmstudio.worker.trainer import StudioTrainer

POLL_SECONDS = 0.1
RECENT_STEPS = 20


class Control(TrainerCallback):  # type: ignore[misc]
    """Evaluates, saves, pauses and stops; tells what happens.

    Attributes:
        stopped: the user asked to stop.
        first_loss, last_loss: of the first and the newest step.
        first_eval, last_eval: eval loss at the start and newest.
    """

    def __init__(self, job: JobContext, config: RunConfig, total_steps: int):
        self.job, self.config, self.total_steps = job, config, total_steps
        self.trainer: StudioTrainer  # set right after the trainer is made; the two need each other
        self.stopped = False
        self.first_loss: float | None = None
        self.last_loss: float | None = None
        self.first_eval: float | None = None
        self.last_eval: float | None = None
        self._saved_step = -1
        self._evaluated_step = -1
        self._step_started = 0.0
        self._durations: list[float] = []
        self._values: dict[str, Any] = {}

    # -- what the trainer calls ---------------------------------------------------------------

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._saved_step = state.global_step if state.global_step else -1
        if state.global_step == 0:
            self._evaluate(state)
        self.job.phase("training")
        self._step_started = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        """Called once a step, after the optimizer, with what the step measured."""
        if "loss" not in logs:
            return
        seconds = time.monotonic() - self._step_started
        self._durations = [*self._durations[1 - RECENT_STEPS :], seconds]
        count = self.trainer.take_tokens()
        self.last_loss = logs["loss"]
        self.first_loss = self.last_loss if self.first_loss is None else self.first_loss
        per_step = sum(self._durations) / len(self._durations)
        self.job.emit(
            "step",
            global_step=state.global_step,
            epoch=round(state.epoch or 0.0, 4),
            train_loss=logs["loss"],
            learning_rate=logs.get("learning_rate"),
            grad_norm=_number(logs.get("grad_norm")),
            tokens=count,
            step_seconds=round(seconds, 4),
            tokens_per_second=round(count / seconds, 1),
            seconds_left=round(per_step * (self.total_steps - state.global_step), 1),
        )
        self._after_step(state, control)
        self._step_started = time.monotonic()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._evaluated_step != state.global_step and not self.stopped:
            self._evaluate(state)
        if self._saved_step != state.global_step:
            self.save(state, "stop" if self.stopped else "end")

    # -- what happens between two steps -------------------------------------------------------

    def _after_step(self, state: Any, control: Any) -> None:
        step = state.global_step
        if step % self.config.eval_steps == 0 and step < self.total_steps:
            self._evaluate(state)
        if step % self.config.save_steps == 0 and step < self.total_steps:
            self.save(state, "interval")
        paused = False
        while True:
            for command in self.job.commands():
                name = command.get("command")
                if name == "checkpoint":
                    self.save(state, "requested")
                elif name == "pause" and not paused:
                    paused = True
                    self.job.emit("paused", global_step=step)
                elif name == "resume" and paused:
                    paused = False
                    self.job.emit("resumed", global_step=step)
                elif name in ("stop", "cancel"):
                    self.stopped = control.should_training_stop = True
            if not paused or self.stopped:
                return
            time.sleep(POLL_SECONDS)

    def _evaluate(self, state: Any) -> None:
        if self.trainer.eval_dataset is None:
            return
        self.job.phase("evaluating")
        started = time.monotonic()
        loss = self.trainer.evaluate()["eval_loss"]
        self.last_eval, self._evaluated_step = loss, state.global_step
        self.first_eval = loss if self.first_eval is None else self.first_eval
        self.job.emit(
            "eval", global_step=state.global_step, eval_loss=loss, seconds=round(time.monotonic() - started, 2)
        )
        self.job.phase("training")

    def save(self, state: Any, reason: str) -> None:
        """Save a checkpoint; when the disk is full, wait for space or for the user, and lose nothing."""
        if self._saved_step == state.global_step:
            return
        told = False
        while True:
            try:
                self.trainer._save_checkpoint(self.trainer.model, None)
            except Exception as error:
                # safetensors and torch wrap the system's error, so the disk itself is asked.
                if not self._disk_is_full(error):
                    raise
                if not told:
                    self._tell_disk_full(state)
                    told = True
                if not self._wait_for_space():
                    return
                continue
            if told:
                self.job.emit("resumed", global_step=state.global_step)
            self._saved_step = state.global_step
            path = self.trainer.checkpoint_parent / checkpoints.folder_name(state.global_step)
            self.job.emit("checkpoint_saved", global_step=state.global_step, path=str(path), reason=reason)
            checkpoints.rotate(self.trainer.checkpoint_parent, self.config.keep_checkpoints)
            return

    def _bytes_needed(self) -> int:
        trainable = sum(p.numel() * p.element_size() for p in self.trainer.model.parameters() if p.requires_grad)
        return 3 * trainable + 2**20  # weights and AdamW's two moments

    def _disk_is_full(self, error: Exception) -> bool:
        full = isinstance(error, OSError) and error.errno == 28
        return full or shutil.disk_usage(self.trainer.checkpoint_parent).free < self._bytes_needed()

    def _tell_disk_full(self, state: Any) -> None:
        error = from_os_error(OSError(28, "No space left on device"), "save a checkpoint")
        needed = format_bytes(self._bytes_needed())
        self.job.warn(
            "disk_full",
            f"{error.what} {error.why} About {needed} are needed. Training waits and goes on by itself "
            "when there is space; Stop ends it with the last checkpoint kept.",
        )
        self.job.emit("paused", global_step=state.global_step, reason="disk_full")

    def _wait_for_space(self) -> bool:
        """Whether to try again: True when there is space or the user says Resume, False on Stop."""
        while True:
            for command in self.job.commands():
                if command.get("command") == "resume":
                    return True
                if command.get("command") in ("stop", "cancel"):
                    self.stopped = True
                    return False
            if shutil.disk_usage(self.trainer.checkpoint_parent).free > 1.2 * self._bytes_needed():
                return True
            time.sleep(1.0)


def _number(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else float("nan")
