"""How the user and the heat guard control a running training: events out, commands in, at every step boundary. With
several ranks, the first decides and tells the others what to do; see `_all` and `_follow`.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable
from typing import Any

from transformers import TrainerCallback

from slmstudio.core.hardware.guard import SpillWatch, can_spill
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.core.run import adjust
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.curves import MOST_TRIED_ON, EvalWatch
from slmstudio.worker.runtime import ending, ranks
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.runtime.sensors import Sensors
from slmstudio.worker.training import strength
from slmstudio.worker.training.heat import HeatPauses
from slmstudio.worker.training.samples import Samples
from slmstudio.worker.training.saving import Saver, TensorBoardLog
from slmstudio.worker.training.step_times import Clock, FirstSteps
from slmstudio.worker.training.trainer import METRICS

POLL_SECONDS = 0.1
BOARD = "tensorboard"
MOST_STEPS = 10**9
OLD_CHECKPOINT_SECONDS = 600.0
"""Before a pause for heat, a checkpoint is saved if the newest is older than this; before a long one always."""


class TrainingControl(TrainerCallback):  # type: ignore[misc]
    """Evaluates, samples, saves, pauses, changes and stops, and reports what happens.

    Attributes:
        freed: the user asked to pause and to free the memory.
        early: the run was stopped early.
        watch: the evaluations so far.
    """

    def __init__(self, job: JobContext, config: RunConfig, trainer: Any, steps_per_epoch: int, samples: Samples,
                 sensors: Sensors, first: FirstSteps, rests: HeatPauses):
        self.job, self.config, self.trainer, self.samples, self.sensors = job, config, trainer, samples, sensors
        self.steps_per_epoch, self.first, self.rests = steps_per_epoch, first, rests
        self.saver = Saver(job, config.keep_checkpoints, trainer)
        self.watch = EvalWatch(config.early_stopping_patience)
        self.stopped = self.freed = self.early = False
        self.last_loss: float | None = None
        self._awake = rests.awake
        self._spill = SpillWatch() if can_spill() else None
        draws = config.tensorboard and trainer.is_world_process_zero()
        self._board = TensorBoardLog(job.folder / BOARD) if draws else None
        self._evaluated: tuple[int, float] = -1, math.nan  # step and loss of the newest evaluation
        self._clock = Clock(config, trainer, sensors, self.saver, first, rests)
        self._changes: list[dict[str, Any]] = []
        self._changed_before = False

    def replay(self, evaluations: Iterable[tuple[int, float, float]], schedule: list[dict[str, Any]], step: int
               ) -> None:
        """Restore, at `step`, what an earlier start of this run knew.

        Args:
            evaluations: (step, eval loss, seconds) in their order.
            schedule: changes of learning rate and length; those after `step` are repeated when the run reaches them.
        """
        for at, loss, seconds in evaluations:
            if at <= step:
                self._clock.left.took("evaluation", seconds)
                self.watch.update(at, loss)
                self.watch.turned()
                self._evaluated = at, loss
        if self._board:
            self._board = TensorBoardLog(self.job.folder / BOARD, after_step=step)
        self._changes = [change for change in schedule if change["global_step"] > step]
        for change in schedule:
            if change["global_step"] <= step:
                self.trainer.total_steps = change["total_steps"]
                self.trainer.learning_rate = change["learning_rate"] or self.trainer.learning_rate
                self._changed_before = True

    # -- what the trainer calls ---------------------------------------------------------------

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.saver.saved_step = state.global_step if state.global_step else -1
        self._awake.on()
        if self._changed_before:  # the checkpoint may be from just before the change
            self.trainer.change_schedule(self.trainer.total_steps, self.trainer.learning_rate)
        self.first.begin()
        self.rests.work_begins()
        if state.global_step == 0:
            with self._clock.timed("evaluation"):
                self._evaluate()
        self.job.phase("training")
        if state.global_step >= self.trainer.total_steps:
            control.should_training_stop = True
        self._clock.start()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        """Called once per step, after the optimizer, with what the step measured."""
        if "learning_rate" not in logs:
            return
        seconds = self._clock.step_made()
        count = self.trainer.take_tokens()
        self.last_loss = logs["loss"]
        self.sensors.step_made()
        left = self._clock.seconds_left(state.global_step)
        values = {
            "train_loss": logs["loss"],
            "learning_rate": logs.get("learning_rate"),
            "grad_norm": _number(logs.get("grad_norm")),
            "tokens_per_second": round(count / seconds, 1),
            **{ours: logs[theirs] for theirs, ours in METRICS.items() if theirs in logs},
        }
        self.job.emit(
            "step", global_step=state.global_step, epoch=round(self.trainer.epochs_done, 4), **values, tokens=count,
            step_seconds=round(seconds, 4), seconds_left=None if left is None else round(left, 1))
        self._draw(state.global_step, values)
        self._look_for_spill(seconds, count)
        self.first.step_made(seconds, count, last=state.global_step >= self.trainer.total_steps)
        self._after_step(state, control)
        self.first.next_begins()
        self._clock.start()

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called after each batch of an evaluation."""
        self.rests.between_batches(state.global_step, ranks.broadcast)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.rests.end(state.global_step)
        if not (self.stopped or self.freed) and self._evaluated[0] != state.global_step:
            with self._clock.timed("evaluation"):
                self._evaluate()
        self.saver.checkpoint("stop" if self.stopped else "free" if self.freed else "end")
        self.first.close(self._clock.idle)
        self.rests.end(state.global_step)
        self.close()

    def choose_strength(self) -> dict[float, float]:
        """Eval losses of the last weights by the strength of their adapter, after the end; {} where it isn't chosen.
        The model keeps the best, so nothing can be trained after it."""
        step, full = self._evaluated
        if not self.config.chooses_strength or self.stopped or step != self.trainer.state.global_step:
            return {}
        self.job.phase("evaluating")
        self._awake.on()
        rows = self.trainer.eval_dataset
        some = rows.select(range(0, len(rows), math.ceil(len(rows) / MOST_TRIED_ON)))

        def loss(of: Any = rows) -> float:
            self.trainer.eval_dataset = of
            return float(self.trainer.evaluate()["eval_loss"])

        try:
            return strength.choose(self.trainer.model, loss, full,
                                   None if len(some) == len(rows) else lambda: loss(some))
        finally:
            self.trainer.eval_dataset = rows
            self.rests.end(self.trainer.state.global_step)
            self._awake.off()

    def close(self) -> None:
        """Release what outlives a run that ended in the middle."""
        self._awake.off()
        board, self._board = self._board, None
        if board:
            with contextlib.suppress(OSError):  # events.jsonl has it all
                board.close()

    def _draw(self, step: int, values: dict[str, Any]) -> None:
        """Also for TensorBoard, as long as its files can be written."""
        try:
            if self._board:
                self._board.add(step, values)
        except OSError as error:
            self._board = None
            self.job.warn("tensorboard_stopped", tr(
                "TensorBoard's files can't be written any more: {error}. The run continues, and its own curves are "
                "complete.", error=error.strerror))

    # -- what happens between two steps -------------------------------------------------------

    def _after_step(self, state: Any, control: Any) -> None:
        step = state.global_step
        if self.trainer.is_world_process_zero():
            self._decide(step)
        else:
            self._follow()
        self.stopped, self.freed, self.early = ranks.broadcast((self.stopped, self.freed, self.early))
        if self.stopped or self.freed or self.early or step >= self.trainer.total_steps:
            control.should_training_stop = True

    def _all(self, what: str, *given: Any) -> Any:
        """Call a method of this class on every rank, this one included."""
        ranks.broadcast((what, given))
        return getattr(self, what)(*given)

    def _follow(self) -> None:
        """Do what the first rank says, until it says that the next step begins."""
        while (order := ranks.broadcast(None)) is not None:
            what, given = order
            getattr(self, what)(*given)

    def _decide(self, step: int) -> None:
        if lost := self.sensors.lost:
            self._all("_leave_lost_card", lost)
        for change in [each for each in self._changes if each["global_step"] == step]:
            self._all("_set_schedule", change["total_steps"], change["learning_rate"])
        if step % self.config.eval_steps == 0 and step < self.trainer.total_steps:
            with self._clock.timed("evaluation"):
                self._all("_evaluate")
        if step % self.config.save_steps == 0 and step < self.trainer.total_steps and self.saver.saved_step != step:
            with self._clock.timed("checkpoint"):
                self._all("_save", "interval")
        if self.watch.wants_to_stop():
            self.early = True
            self.job.emit("early_stop", global_step=step, best_step=self.watch.best_step)
        self.rests.piece_done(step)
        self._obey(step, last=self.early or step >= self.trainer.total_steps)
        ranks.broadcast(None)

    def _leave_lost_card(self, message: str) -> None:
        """Save what can still be read from the card, and end.

        Raises:
            UserError: always. Resume continues from the last checkpoint.
        """
        try:
            self.saver.checkpoint("interval")
        except Exception as error:  # of any kind: the card is lost, and the previous checkpoint is intact
            self.job.log(f"{type(error).__name__}: {error}", "warning")
        raise ending.gpu_gone(self.job, message)

    def _set_schedule(self, total_steps: int, learning_rate: float | None) -> None:
        self.trainer.change_schedule(total_steps, learning_rate or self.trainer.learning_rate)

    def _obey(self, step: int, last: bool) -> None:
        """Do what the user asked for. While the run is paused, or rests for the heat guard, wait for more.

        Args:
            last: no step comes after it, and so no rest before one.
        """
        paused = False
        while True:
            for command in self.job.commands():
                name = command.get("command")
                if name == "checkpoint":
                    self._all("_save", "requested")
                elif name == "sample":
                    self._all("_sample")
                elif name == "change":
                    self._change(command, step)
                elif name == "guard":
                    self.rests.change(command, step)
                elif name in ("stop", "cancel"):
                    self.stopped = True
                elif name == "free":
                    self.freed = True
                elif name in ("pause", "resume") and paused != (name == "pause"):
                    paused = name == "pause"
                    self.rests.end(step)
                    self.job.emit("paused" if paused else "resumed", global_step=step)
                    # A paused run lets the machine sleep.
                    self._awake.off() if paused else self._awake.on()
            if self.stopped or self.freed or (last and not paused):
                return
            if paused:
                self._all("_wait", POLL_SECONDS)
            elif seconds := self.rests.wait(step, self._before_rest):
                ranks.broadcast(("_wait", (seconds,)))
                self.rests.rest(seconds)
            else:
                return

    def _wait(self, seconds: float) -> None:
        self.sensors.step_made()  # no steps are made because the run is paused
        time.sleep(seconds)

    def _before_rest(self, long: bool) -> None:
        if long or time.monotonic() - self.saver.saved_at >= OLD_CHECKPOINT_SECONDS:
            self._all("_save", "rest")

    def _save(self, reason: str) -> None:
        if not self.saver.checkpoint(reason):
            self.stopped = True

    def _evaluate(self) -> None:
        if self.trainer.eval_dataset is None:
            self._sample()
            return
        self.job.phase("evaluating")
        started, idle, step = time.monotonic(), self._clock.idle, self.trainer.state.global_step
        metrics = self.trainer.evaluate()
        loss = metrics["eval_loss"]
        self.trainer.eval_loss_of_step = self._evaluated = step, loss
        figures = {ours: metrics[f"eval_{theirs}"] for theirs, ours in METRICS.items() if f"eval_{theirs}" in metrics}
        seconds = max(0.0, time.monotonic() - started - (self._clock.idle - idle))
        self.job.emit("eval", global_step=step, eval_loss=loss, seconds=round(seconds, 2), **figures)
        self._draw(step, {"eval_loss": loss, **{f"eval_{name}": value for name, value in figures.items()}})
        best = self.watch.update(step, loss)
        if self.watch.turned():
            self.job.emit("overfitting", global_step=self.watch.best_step, eval_loss=self.watch.best_loss)
        self._sample()
        if best and step and self.config.use_best_checkpoint:
            self._save("end" if step >= self.trainer.total_steps else
                       "interval" if step % self.config.save_steps == 0 else "best")
        self.job.phase("training")

    def _sample(self) -> None:
        if self.samples:
            self.job.phase("sampling")
            taken = self.trainer.on_whole_model(lambda: self.samples.take(self.trainer.model))
            self.job.emit("sample", global_step=self.trainer.state.global_step, **taken)
            self.job.phase("training")

    def _change(self, command: dict[str, Any], step: int) -> None:
        """Another learning rate or length, kept for every later start of the run."""
        total, rate, reason = self.trainer.total_steps, command.get("learning_rate"), ""
        try:
            rate = None if rate is None else float(rate)
            if command.get("max_steps") is not None:
                total = int(command["max_steps"])
            elif command.get("epochs") is not None:
                total = math.ceil(float(command["epochs"]) * self.steps_per_epoch)
            if not step < total <= MOST_STEPS:
                reason = (tr("Step {step:,} is already done; Stop ends the run now.", step=step) if total <= step
                          else tr("A run can have at most {count:,} steps.", count=MOST_STEPS))
            elif rate is not None and not 0 < rate <= 1:
                reason = tr("{rate!r} isn't a learning rate; it must be above 0 and at most 1.", rate=rate)
            else:
                adjust.record_schedule(self.job.folder, step, rate, total)
        except (TypeError, ValueError, OverflowError):
            reason = tr("The command contains something that isn't a number.")
        except OSError as error:
            reason = tr("It can't be saved: {error}.", error=error.strerror)
        if reason:
            self.job.warn("change_refused", join_sentences(tr("The change wasn't made."), reason))
            return
        self._all("_set_schedule", total, rate)
        asked = {key: value for key, value in command.items() if key in ("learning_rate", "max_steps", "epochs")}
        self.job.emit("changed", global_step=step, learning_rate=self.trainer.learning_rate, total_steps=total,
                      asked=asked)

    def _look_for_spill(self, seconds: float, tokens: int) -> None:
        reading = self.sensors.newest
        if self._spill is None or reading is None or not reading.gpus:
            return
        gpu = reading.gpus[0]
        if message := self._spill.update(seconds, tokens, gpu.memory_used, gpu.memory_total):
            self.job.warn("memory_spill", message)


def _number(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else float("nan")
