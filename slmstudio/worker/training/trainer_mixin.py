"""What all our trainers do in another way than transformers' Trainer, whatever they learn.

The order of the rows is decided by seed and epoch alone, checkpoints are complete or absent, the learning rate's
schedule can change between two steps, and a step whose loss or gradient is no number never reaches the weights.
"""

from __future__ import annotations

import contextlib
import copy
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import get_scheduler

from slmstudio.core.errors import Problem, UserError
from slmstudio.core.run import checkpoints
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.training.batches import BatchOrder

ENDLESS = 10**9
"""The trainer's own limit of steps. The real one is `total_steps`, which may change while it learns."""
SHOWN_ROWS = 20
FIGURES = ("_window", "_tokens_seen", "_metrics", "_stored_metrics", "_total_train_tokens")
"""What our trainers and TRL's add up from one micro-batch to the next."""


class Exact:
    """Mixed into a TRL trainer. `prepare` must be called right after it is made.

    Attributes:
        total_steps: length of the run; the schedule falls to zero there.
        learning_rate: peak of the schedule.
        checkpoint_parent: folder of the run's checkpoints.
        eval_loss_of_step: (step, eval loss) of the newest evaluation, for the checkpoint's manifest.
    """

    def prepare(self, config: RunConfig, checkpoint_parent: Path, lengths: np.ndarray[Any, Any],
                total_steps: int) -> None:
        """
        Args:
            lengths: tokens of each training row, [rows].
        """
        self.run_config, self.checkpoint_parent, self.lengths = config, checkpoint_parent, lengths
        self.total_steps, self.learning_rate = total_steps, config.learning_rate
        self.warmup_steps = math.ceil(config.warmup_fraction * total_steps)
        self.eval_loss_of_step: tuple[int, float] | None = None
        self._tokens_seen = torch.zeros((), dtype=torch.long)
        self._window: list[tuple[dict[str, Any], torch.Tensor]] = []

    # -- the order of the rows --------------------------------------------------------------------------------

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        config = self.run_config
        return BatchOrder(self.lengths, config.micro_batch_size, config.gradient_accumulation_steps, config.seed,
                          config.group_by_length)

    # -- the schedule -----------------------------------------------------------------------------------------

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        if self.lr_scheduler is None:
            self.lr_scheduler = self._schedule(optimizer or self.optimizer)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def _schedule(self, optimizer: Any) -> Any:
        return get_scheduler(self.run_config.lr_scheduler, optimizer, self.warmup_steps, self.total_steps)

    def change_schedule(self, total_steps: int, learning_rate: float) -> None:
        """Another length or peak from the next step on; warm-up stays where it was."""
        self.total_steps, self.learning_rate = total_steps, learning_rate
        done = self.lr_scheduler.last_epoch
        for group in self.optimizer.param_groups:
            group["initial_lr"] = learning_rate
        self.lr_scheduler = self._schedule(self.optimizer)
        self.lr_scheduler.last_epoch = done
        self.lr_scheduler.base_lrs = [learning_rate] * len(self.optimizer.param_groups)
        rates = [learning_rate * factor(done) for factor in self.lr_scheduler.lr_lambdas]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self.lr_scheduler._last_lr = rates
        self.callback_handler.lr_scheduler = self.lr_scheduler

    # -- steps that must not be made --------------------------------------------------------------------------

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        kept = dict(inputs)
        inputs.pop("rows", None)  # the models know no such argument
        with self._offloading():
            loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)  # type: ignore[misc]
        self._window.append((kept, loss.detach()))
        self._tokens_seen = self._tokens_seen.to(loss.device) + self.count_tokens(kept)
        return loss

    def _offloading(self) -> contextlib.AbstractContextManager[Any]:
        """What the backward pass needs waits in main memory, where the run says so."""
        if not self.run_config.activation_offload:
            return contextlib.nullcontext()
        return torch.autograd.graph.save_on_cpu(pin_memory=self.args.device.type == "cuda")

    def try_micro_batch(self, rows: list[int], times: int) -> None:
        """Send rows forward and backward as a step does, and leave no trace: no gradient, no figure, no random number.

        Args:
            rows: positions in the training dataset.
            times: passes; from the second on, gradients are added to those that are there.
        """
        kept = {name: copy.deepcopy(getattr(self, name)) for name in FIGURES if hasattr(self, name)}
        devices = [torch.cuda.current_device()] if self.args.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices):
                for _ in range(times):
                    batch = self.data_collator([self.train_dataset[row] for row in rows])
                    self.training_step(self.model_wrapped, batch)
        finally:
            self.model.zero_grad()
            for name, value in kept.items():
                setattr(self, name, value)

    def take_tokens(self) -> int:
        """Non-padding tokens trained on since the last call."""
        count, self._tokens_seen = int(self._tokens_seen), torch.zeros((), dtype=torch.long)
        return count

    def count_tokens(self, inputs: dict[str, Any]) -> torch.Tensor:
        """Non-padding tokens of a micro-batch."""
        return inputs["attention_mask"].sum()  # type: ignore[no-any-return]

    def _clip_grad_norm(self, model: Any) -> Any:
        """The gradient's norm before clipping; this is the last moment before the weights change.

        Looking at it waits for the GPU once a step, which the log's loss does anyway.

        Raises:
            UserError: the loss or the gradient is no number; the rows are named.
        """
        norm = super()._clip_grad_norm(model)  # type: ignore[misc]
        window, self._window = self._window, []
        loss = torch.stack([each for _, each in window]).sum()
        # With fp16 the scaler skips steps whose gradients overflow, and lowers its scale: that is its way to find it.
        scaled = self.accelerator.scaler is not None
        if math.isfinite(loss) and (scaled or norm is None or math.isfinite(norm)):
            return norm
        raise self._not_a_number(window, "loss" if not math.isfinite(loss) else "gradient")

    def _not_a_number(self, window: list[tuple[dict[str, Any], torch.Tensor]], what: str) -> UserError:
        rows, exactly = self._spoiling_rows(window)
        verb = "gives" if len(rows) == 1 else "give"
        each = "this row gives a loss that isn't a number." if exactly else "this row was in that batch."
        problems = [Problem(each, line=row) for row in rows[:SHOWN_ROWS]]
        named = ", ".join(f"{row:,}" for row in rows[:SHOWN_ROWS]) + (" …" if len(rows) > SHOWN_ROWS else "")
        lines = "line" if len(rows) == 1 else "lines"
        why = (f"The {lines} {named} of the training file {verb} no number." if exactly else
               f"Its batch holds the {lines} {named} of the training file; no single row is the cause.")
        return UserError(
            f"The {what} of step {self.state.global_step + 1:,} isn't a number (NaN or Inf).",
            f"{why} The step was not made, so the weights are as they were.",
            "Lower the learning rate, or look at these rows; bf16 or fp32 is steadier than fp16. "
            "Resume continues from the last checkpoint.", problems)

    def _spoiling_rows(self, window: list[tuple[dict[str, Any], torch.Tensor]]) -> tuple[list[int], bool]:
        """Lines of the rows whose loss is no number; else those of the whole batch. The second says which it is."""
        everyone, spoiling = [], []
        for inputs, _ in window:
            rows = inputs["rows"].tolist() if "rows" in inputs else []
            everyone += rows
            losses = self.losses_by_row(inputs)
            spoiling += [row for row, loss in zip(rows, losses, strict=False) if not math.isfinite(loss)]
        return (spoiling, True) if spoiling and len(spoiling) < len(everyone) else (everyone, False)

    def losses_by_row(self, inputs: dict[str, Any]) -> list[float]:
        """Mean loss of each row of a micro-batch; empty where a trainer cannot say."""
        return []

    # -- checkpoints ------------------------------------------------------------------------------------------

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save into `checkpoint_parent`, complete or absent.

        Raises:
            OSError: it could not be written; earlier checkpoints are untouched.
        """
        step = self.state.global_step
        eval_loss = self.eval_loss_of_step[1] if self.eval_loss_of_step and self.eval_loss_of_step[0] == step else None
        with checkpoints.writing(self.checkpoint_parent, step, eval_loss) as folder:
            self.save_model(str(folder), _internal_call=True)
            self._save_optimizer_and_scheduler(str(folder))
            self._save_scaler(str(folder))
            self._save_rng_state(str(folder))
            self.state.save_to_json(os.path.join(folder, "trainer_state.json"))
