"""What all our trainers do in another way than transformers' Trainer, whatever they learn.

The order of the rows is decided by seed and epoch alone, and what is random in a micro-batch by seed, step and the
micro-batch's place in it: neither depends on how many ranks share the work. The learning rate's schedule can change
between two steps, and a step whose loss or gradient isn't a number never reaches the weights.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.data_loader import DataLoaderShard
from transformers import get_scheduler

from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import join_sentences, ntr, tr
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.runtime import ranks
from slmstudio.worker.training.rows.batches import IGNORED, BatchOrder
from slmstudio.worker.training.saving import Checkpointing
from slmstudio.worker.training.several import sharded
from slmstudio.worker.training.several.dealing import Figures, RankBatches, Share, deal

ENDLESS = 10**9
"""The trainer's own limit of steps. The real one is `total_steps`, which may change while it learns."""
SHOWN_ROWS = 20
FIGURES = ("_window", "_sent", "_figures", "_tokens_seen", "_metrics", "_stored_metrics", "_total_train_tokens")
"""What our trainers and TRL's add up from one micro-batch to the next."""


def seed_of(seed: int, step: int, micro_batch: int) -> int:
    """What seeds dropout and the like in a micro-batch; the exported script has the same formula."""
    return seed * 1_000_003 + step * 4_099 + micro_batch


def may_split(config: RunConfig, world_size: int) -> bool:
    """Whether a micro-batch may be divided among ranks where there are fewer of them than ranks.

    Not where its loss is more than a sum over its rows. What is random is another thing in a part than in the whole, so
    with dropout it is divided only where some ranks would never have anything to do.
    """
    random = (config.has_adapter and config.lora_dropout > 0) or config.neftune_noise_alpha > 0
    return config.objective not in ("orpo", "kto") and \
        (not random or config.gradient_accumulation_steps < world_size)


def activations_in_main_memory(model: torch.nn.Module, pinned: bool) -> contextlib.AbstractContextManager[Any]:
    """`save_on_cpu` without the weights: autograd saves those that it multiplies with, transposed too, and they stay
    where they are."""
    held = (getattr(each, "_local_tensor", each) for each in (*model.parameters(), *model.buffers()))  # FSDP's shard
    weights = {each.untyped_storage().data_ptr() for each in held}
    to_memory = torch.autograd.graph.save_on_cpu(pin_memory=pinned)

    def pack(tensor: torch.Tensor) -> Any:
        return tensor if tensor.untyped_storage().data_ptr() in weights else to_memory.pack_hook(tensor)

    def unpack(packed: Any) -> torch.Tensor:
        return packed if isinstance(packed, torch.Tensor) else to_memory.unpack_hook(packed)  # type: ignore

    return torch.autograd.graph.saved_tensors_hooks(pack, unpack)


class DeterministicTrainer(Checkpointing):
    """Mixed into a TRL trainer. `prepare` must be called right after it is made.

    Attributes:
        total_steps: length of the run; the schedule falls to zero there.
        learning_rate: peak of the schedule.
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
        self.eval_loss_of_step = None
        self._tokens_seen: torch.Tensor | int = 0
        self._window: list[tuple[dict[str, Any], torch.Tensor]] = []
        self._sent, self._factor = 0, 1.0
        self._figures = Figures()
        count = self.args.world_size
        self._batches = RankBatches(
            self._get_train_sampler(), config.micro_batch_size, config.gradient_accumulation_steps,
            self.args.process_index, count, may_split(config, count))
        if self._by_itself:
            self.accelerator.gather = self.accelerator.gather_for_metrics = lambda value, **options: value

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()  # type: ignore[misc]
        sharded.also_on_processors(self)

    @property
    def epochs_done(self) -> float:
        """Epochs over the rows of one process, however many ranks there are."""
        whole, steps = divmod(self.state.global_step, self._batches.steps)
        micro_batches = math.ceil(len(self.lengths) / self._batches.micro_batch)
        return whole + steps * self.run_config.gradient_accumulation_steps / micro_batches

    # -- the order of the rows --------------------------------------------------------------------------------

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        config = self.run_config
        return BatchOrder(self.lengths, config.micro_batch_size, config.gradient_accumulation_steps, config.seed,
                          config.group_by_length)

    def get_train_dataloader(self) -> Any:
        if self.args.world_size == 1:
            return super().get_train_dataloader()  # type: ignore[misc]
        return DataLoaderShard(self.train_dataset, device=self.accelerator.device, batch_sampler=self._batches,
                               collate_fn=self.data_collator, pin_memory=self.args.dataloader_pin_memory)

    def _shares(self) -> list[Share]:
        """What this rank sends through the model in the present step."""
        return self._batches.shares(self.state.global_step % self._batches.steps)

    @property
    def _by_itself(self) -> bool:
        """Whether each micro-batch's loss and figures are of itself alone, whatever the other ranks have: TRL's
        preference trainers would put some of them together, and KTO's loss would be another one."""
        return self.args.world_size > 1 and self.run_config.is_preference

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: torch.device) -> Any:
        """Learned tokens of the step, of all ranks; what only keeps a rank in step doesn't count."""
        if self.args.world_size > 1 and "labels" in batch_samples[0]:
            batch_samples = [batch if share.part else {**batch, "labels": torch.full_like(batch["labels"], IGNORED)}
                             for batch, share in zip(batch_samples, self._shares(), strict=True)]
        return super()._get_num_items_in_batch(batch_samples, device)  # type: ignore[misc]

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
        shares = self._shares()
        share = shares[min(self._sent, len(shares) - 1)]  # the last again where one is only tried
        torch.manual_seed(seed_of(self.run_config.seed, self.state.global_step, share.micro_batch))
        self._factor = self._weight_of(share, num_items_in_batch)
        with self._offloading():
            loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)  # type: ignore[misc]
        self._factor, self._sent = 1.0, self._sent + 1
        if self._by_itself:
            self._figures.take(self, "train", share.part)
        if share.part:
            self._window.append((kept, loss.detach()))
            self._tokens_seen = self._tokens_seen + self.count_tokens(kept)
        return loss

    def _weight_of(self, share: Share, tokens: Any) -> float:
        """By what a micro-batch's loss is multiplied, so that the mean over the ranks is what one process has.

        A sum over tokens is divided by those of the whole step already, and so are TRL's; a mean over rows is divided
        by the number of this rank's micro-batches instead of by that of the step.
        """
        if self.args.world_size == 1:
            return 1.0
        if tokens is not None:
            return float(share.part > 0)
        return share.part * self.args.world_size * self.current_gradient_accumulation_steps / share.micro_batches

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(model, inputs, *args, **kwargs)  # type: ignore[misc]
        return loss if self._factor == 1.0 else loss * self._factor

    def _offloading(self) -> contextlib.AbstractContextManager[Any]:
        """What the backward pass needs waits in main memory, where the run says so."""
        if not self.run_config.activation_offload:
            return contextlib.nullcontext()
        return activations_in_main_memory(self.model, pinned=self.args.device.type == "cuda")

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
        """Non-padding tokens trained on since the last call, by all ranks; every rank must call it."""
        count, self._tokens_seen = int(self._tokens_seen), 0
        return sum(ranks.gather(count))

    def count_tokens(self, inputs: dict[str, Any]) -> torch.Tensor | int:
        """Tokens of a micro-batch without padding; on a card they may stay there until `take_tokens`."""
        return inputs["attention_mask"].sum()  # type: ignore[no-any-return]

    def _clip_grad_norm(self, model: Any) -> Any:
        """The gradient's norm before clipping; this is the last moment before the weights change.

        Looking at it waits for the GPU once a step, which the log's loss does anyway.

        Raises:
            UserError: the loss or the gradient isn't a number; the rows are named.
        """
        norm = super()._clip_grad_norm(model)  # type: ignore[misc]
        window, self._window, self._sent = self._window, [], 0
        loss = sum(ranks.gather(sum(float(each) for _, each in window)))
        # With fp16 the scaler skips steps whose gradients overflow, and lowers its scale: that is its way to find it.
        scaled = self.accelerator.scaler is not None
        if math.isfinite(loss) and (scaled or norm is None or math.isfinite(norm)):
            return norm
        raise self._not_a_number(window, not math.isfinite(loss))

    def _not_a_number(self, window: list[tuple[dict[str, Any], torch.Tensor]], of_loss: bool) -> UserError:
        rows, exactly = self._spoiling_rows(window)
        each = tr("This row gives a loss that isn't a number.") if exactly else tr("This row was in that batch.")
        problems = [Problem(each, line=row) for row in rows[:SHOWN_ROWS]]
        named = ", ".join(f"{row:,}" for row in rows[:SHOWN_ROWS]) + (" …" if len(rows) > SHOWN_ROWS else "")
        why = (ntr("Line {lines} of the training file gives a loss that isn't a number.",
                   "Lines {lines} of the training file give a loss that isn't a number.",
                   len(rows), lines=named) if exactly else
               ntr("Its batch has line {lines} of the training file; no single row stands out as the cause.",
                   "Its batch has lines {lines} of the training file; no single row stands out as the cause.",
                   len(rows), lines=named))
        step = self.state.global_step + 1
        return UserError(tr("The loss of step {step:,} isn't a number (NaN or Inf).", step=step) if of_loss else
                         tr("The gradient of step {step:,} isn't a number (NaN or Inf).", step=step),
                         join_sentences(why, tr("The step wasn't applied, so the weights are unchanged.")),
                         tr("Lower the learning rate, or look at these rows; bf16 or fp32 is more stable than fp16. "
                            "Resume continues from the last checkpoint."), problems)

    def _spoiling_rows(self, window: list[tuple[dict[str, Any], torch.Tensor]]) -> tuple[list[int], bool]:
        """Lines of the rows whose loss isn't a number; otherwise those of the whole batch. The second says which it
        is."""
        everyone, spoiling = [], []
        for inputs, _ in window:
            rows = inputs["rows"].tolist() if "rows" in inputs else []
            everyone += rows
            # Where the ranks share the model, none can use it by itself.
            losses = [] if self.is_fsdp_enabled else self.losses_by_row(inputs)
            spoiling += [row for row, loss in zip(rows, losses, strict=False) if not math.isfinite(loss)]
        found = ranks.gather((everyone, spoiling))
        everyone, spoiling = (sorted(row for rank in found for row in rank[which]) for which in (0, 1)) \
            if len(found) > 1 else found[0]
        return (spoiling, True) if spoiling and len(spoiling) < len(everyone) else (everyone, False)

    def losses_by_row(self, inputs: dict[str, Any]) -> list[float]:
        """Mean loss of each row of a micro-batch; empty if a trainer can't say."""
        return []

    # -- what the ranks put together ----------------------------------------------------------------------------

    def eval_batches(self) -> Iterator[tuple[Share, dict[str, Any]]]:
        """This rank's batches of an evaluation, as many on each rank."""
        for share in deal(range(len(self.eval_dataset)), self.run_config.micro_batch_size, self.args.world_size,
                          splits=False)[self.args.process_index]:
            yield share, self._prepare_inputs(self.data_collator(self.eval_dataset.__getitems__(list(share.rows))))
            self.callback_handler.on_prediction_step(self.args, self.state, self.control)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """As the stock trainer does, with the batches dealt out to the ranks."""
        if self.args.world_size == 1:
            return dict(super().evaluate(*args, **kwargs))  # type: ignore[misc]
        was_training, found = self.model.training, []
        self.model.eval()
        for share, batch in self.eval_batches():
            loss, _, _ = self.prediction_step(self.model, batch, prediction_loss_only=True)
            self._figures.take(self, "eval", share.part * len(share.rows))
            found.append((float(loss) * share.part, len(share.rows) * share.part))
        everyone = [each for rank in ranks.gather(found) for each in rank]
        metrics = {"eval_loss": sum(loss * rows for loss, rows in everyone) / sum(rows for _, rows in everyone)}
        self.log(metrics)
        self.model.train(was_training)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if self._by_itself:
            self._figures.give_back(self, "train" if self.model.training else "eval")
        super().log(logs, start_time)  # type: ignore[misc]
