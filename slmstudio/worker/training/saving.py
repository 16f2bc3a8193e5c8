"""Checkpoints: what is in them, and saves that wait for room, so that a full disk never costs what was learned."""

from __future__ import annotations

import contextlib
import os
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.distributed import get_rank
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import TrainerState
from transformers.trainer_utils import load_sharded_checkpoint

from slmstudio.core import disk_space
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.core.run import checkpoints
from slmstudio.core.units import format_bytes
from slmstudio.worker.runtime import ranks
from slmstudio.worker.runtime.context import JobContext

# -- A model that the ranks share (FSDP2): brought together to be written, and spread again when it is read.


@dataclass(frozen=True)
class Whole:
    """What the first rank writes; the others have nothing in it.

    Attributes:
        weights: by name, on the processor; of an adapter's model only what learns.
        optimizer: the optimizer's state as `state_dict` has it in one process.
    """

    weights: dict[str, torch.Tensor]
    optimizer: dict[str, Any]


def collect(model: torch.nn.Module, optimizer: Any) -> Whole:
    """Bring a shared model and its optimizer together on the first rank, tensor by tensor. Every rank must call it."""
    adapter = hasattr(model, "peft_config")
    learning = {name for name, weight in model.named_parameters() if weight.requires_grad}
    weights = {name: _whole(value) for name, value in model.state_dict().items() if not adapter or name in learning}
    state = optimizer.state_dict()
    moments = {at: {name: _whole(value) for name, value in each.items()} for at, each in state["state"].items()}
    if get_rank() != 0:
        return Whole({}, {})
    return Whole(weights, {**state, "state": moments})


def _whole(value: Any) -> Any:
    if isinstance(value, DTensor):
        value = value.full_tensor()
    if not isinstance(value, torch.Tensor):
        return value
    return value.detach().cpu() if get_rank() == 0 else None


def load_optimizer(optimizer: Any, file: Path) -> None:
    """Load an optimizer's state; each rank keeps its part of each tensor."""
    state = torch.load(file, map_location="cpu", weights_only=True)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    spread_state = {
        at: {name: distribute_tensor(value.to(parameters[at].device), parameters[at].device_mesh,
                                     parameters[at].placements)
             if isinstance(value, torch.Tensor) and value.dim() and isinstance(parameters[at], DTensor) else value
             for name, value in each.items()}
        for at, each in state["state"].items()}
    optimizer.load_state_dict({**state, "state": spread_state})


# -- A run's curves as TensorBoard event files, for those who compare runs there.

FLUSH_SECONDS = 5.0
"""What a killed worker may lose of these files; events.jsonl has it all."""


class TensorBoardLog:
    """Writes numbers over steps. The package is imported, and the file made, with the first number.

    Each life of a run adds a file. In this process, not by tensorboardX's writer with its thread: when the disk is full
    that thread dies, and the next numbers would wait for it forever.

    Args:
        folder: TensorBoard's log folder of this run.
        after_step: the step that a resumed run continues from: TensorBoard hides what an earlier life wrote after it.
    """

    def __init__(self, folder: Path, after_step: int | None = None):
        self.folder = Path(folder)
        self._after_step = after_step
        self._records: Any = None
        self._flushed = 0.0

    def add(self, step: int, values: dict[str, Any]) -> None:
        """Add the numbers among `values`, by name. Texts and None are passed over; NaN and infinity are kept.

        Raises:
            OSError: the disk is full or gone.
        """
        numbers = {name: float(value) for name, value in values.items()
                   if isinstance(value, (int, float)) and not isinstance(value, bool)}
        if not numbers:
            return
        from tensorboardX.proto.summary_pb2 import Summary

        self._open()
        self._write(step=step, summary=Summary(
            value=[Summary.Value(tag=name, simple_value=number) for name, number in numbers.items()]))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._records.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        """Write what is waiting, and close the file. May be called twice.

        Raises:
            OSError: the disk is full or gone; the file is closed anyway.
        """
        records, self._records = self._records, None
        if records is not None:
            records.close()

    def _open(self) -> None:
        if self._records is not None:
            return
        from tensorboardX.proto.event_pb2 import SessionLog
        from tensorboardX.record_writer import RecordWriter

        self.folder.mkdir(parents=True, exist_ok=True)
        self._records = RecordWriter(str(self.folder / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"))
        self._write(file_version="brain.Event:2")
        if self._after_step is not None:
            self._write(step=self._after_step + 1, session_log=SessionLog(status=SessionLog.START))
            self._after_step = None

    def _write(self, **event: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._records.write(Event(wall_time=time.time(), **event).SerializeToString())


# -- How our trainers save checkpoints, complete or absent, and resume from them: those of one process, and those of
# several that may share the model.


class Checkpointing:
    """Mixed into a transformers trainer.

    Attributes:
        checkpoint_parent: folder of the run's checkpoints.
        eval_loss_of_step: (step, eval loss) of the newest evaluation, for the checkpoint's manifest.
    """

    checkpoint_parent: Path
    eval_loss_of_step: tuple[int, float] | None
    _whole: Whole | None = None

    def read_weights(self, checkpoint: Path) -> None:
        """Before the ranks share the model: each of them reads what one process reads."""
        if hasattr(self.model, "peft_config"):
            self.model.load_adapter(str(checkpoint), self.model.active_adapter, is_trainable=True)
        elif (file := checkpoint / "model.safetensors").exists():
            self.model.load_state_dict(load_file(file), strict=False)  # tied weights aren't in it
        else:
            load_sharded_checkpoint(self.model, str(checkpoint), strict=False)

    def read_state(self, checkpoint: Path) -> None:
        """Optimizer, schedule and step, as of one process or of several; what is random needs none: see `seed_of`.

        Raises:
            UserError: a file of the checkpoint holds other things than a run writes.
        """
        try:
            load_optimizer(self.optimizer, checkpoint / "optimizer.pt")
            self.lr_scheduler.load_state_dict(torch.load(checkpoint / "scheduler.pt", weights_only=True))
            if self.accelerator.scaler is not None and (file := checkpoint / "scaler.pt").exists():
                self.accelerator.scaler.load_state_dict(torch.load(file, weights_only=True))
        except pickle.UnpicklingError as error:  # its text advises to trust the file
            raise _not_of_a_run(checkpoint) from error
        self.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))

    @contextlib.contextmanager
    def collected(self) -> Iterator[None]:
        """Within, the first rank can write the model and the optimizer by itself. Every rank must enter it."""
        self._whole = collect(self.model, self.optimizer) if self.is_fsdp_enabled else None
        try:
            yield
        finally:
            self._whole = None

    def on_whole_model(self, work: Callable[[], Any]) -> Any:
        """What `work` returns on the first rank. Where the ranks share the model, all of them must do it together."""
        return work() if self.is_fsdp_enabled else ranks.alone(work)

    def write_model(self, folder: Path) -> None:
        self.model.save_pretrained(folder, state_dict=self._whole and self._whole.weights)
        self.processing_class.save_pretrained(folder)

    def write_checkpoint(self) -> None:
        """Save into `checkpoint_parent`, complete or absent.

        Raises:
            OSError: it couldn't be written; earlier checkpoints are untouched.
        """
        step = self.state.global_step
        eval_loss = self.eval_loss_of_step[1] if self.eval_loss_of_step and self.eval_loss_of_step[0] == step else None
        with checkpoints.writing(self.checkpoint_parent, step, eval_loss) as folder:
            self.write_model(folder)
            torch.save(self._whole.optimizer if self._whole else self.optimizer.state_dict(), folder / "optimizer.pt")
            torch.save(self.lr_scheduler.state_dict(), folder / "scheduler.pt")
            if self.accelerator.scaler is not None:
                torch.save(self.accelerator.scaler.state_dict(), folder / "scaler.pt")
            self.state.save_to_json(str(folder / "trainer_state.json"))


def _not_of_a_run(checkpoint: Path) -> UserError:
    return UserError(tr("{checkpoint} can't be used.", checkpoint=checkpoint.name),
                     tr("One of its files contains something other than the numbers that a run saves, so somebody has "
                        "replaced it. Nothing of it was run."),
                     tr("Delete {folder}. The run then resumes from the checkpoint before it.", folder=checkpoint))


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
            saved = self.with_space(self.trainer.write_checkpoint, tr("Could not save a checkpoint."))
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
                    self._report(step, trouble)
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

    def _report(self, step: int, trouble: str) -> None:
        disk_space.give_part(self.job.folder)
        error = from_os_error(OSError(28, "No space left on device"), trouble)
        self.job.warn(
            "disk_full",
            join_sentences(
                error.what, error.why, tr("About {size} is needed.", size=format_bytes(self._bytes_needed())),
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
