"""The loop of a training, and what all our trainers do in another way than transformers' Trainer, whatever they learn.

The loop is our own, so that nothing of it depends on private methods of transformers. The order of the rows is decided
by seed and epoch alone, and what is random in a micro-batch by seed, step and the micro-batch's place in it: neither
depends on how many ranks share the work. The learning rate's schedule can change between two steps, and a step whose
loss or gradient isn't a number never reaches the weights.
"""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import DistributedType, FullyShardedDataParallelPlugin
from torch.distributed.fsdp import register_fsdp_forward_method
from transformers import get_scheduler
from transformers.integrations.neftune import activate_neftune
from transformers.trainer_utils import align_special_tokens

from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import join_sentences, ntr, tr
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.runtime import ranks
from slmstudio.worker.training.batches import BatchOrder
from slmstudio.worker.training.dealing import Share, deal, may_split
from slmstudio.worker.training.saving import Checkpointing

SHOWN_ROWS = 20


def seed_of(seed: int, step: int, micro_batch: int) -> int:
    """What seeds dropout and the like in a micro-batch; the exported script has the same formula."""
    return seed * 1_000_003 + step * 4_099 + micro_batch


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
    """Mixed into a TRL trainer, whose loss it learns by. `prepare` must be called right after it is made.

    Attributes:
        total_steps: length of the run; the schedule falls to zero there.
        learning_rate: peak of the schedule.
        sums_losses: whether `eval_loss` is more exact than the stock trainer's.
        order: positions of the rows in an epoch, as one process would learn them.
        micro_batch, accumulation: rows of a micro-batch, and micro-batches of a step.
    """

    sums_losses = False

    def prepare(self, config: RunConfig, checkpoint_parent: Path, lengths: np.ndarray[Any, Any],
                total_steps: int) -> None:
        """
        Args:
            lengths: tokens of each training row, [rows].
        """
        self.run_config, self.checkpoint_parent, self.lengths = config, checkpoint_parent, lengths
        self.total_steps, self.learning_rate = total_steps, config.learning_rate
        self.warmup_steps = math.ceil(config.warmup_fraction * total_steps)
        self.micro_batch, self.accumulation = config.micro_batch_size, config.gradient_accumulation_steps
        # KTO's rows were shuffled when the dataset was made: its estimate of the KL divergence pairs each question with
        # the answer of the row before it, so that rows keep their order within a micro-batch.
        self.order: Any = range(len(lengths)) if config.objective == "kto" else BatchOrder(
            lengths, self.micro_batch, self.accumulation, config.seed, config.group_by_length)
        self.eval_loss_of_step = None
        self._tokens_seen: torch.Tensor | int = 0
        if self._by_itself:
            self.accelerator.gather = self.accelerator.gather_for_metrics = lambda value, **options: value

    def create_accelerator_and_postprocess(self) -> None:
        """Also for processors that share a model: accelerate would take DDP there, whatever it is told."""
        super().create_accelerator_and_postprocess()  # type: ignore[misc]
        if self.args.fsdp_plugin_args is not None and not self.is_fsdp_enabled:
            state = self.accelerator.state
            state.distributed_type = DistributedType.FSDP
            state.fsdp_plugin = FullyShardedDataParallelPlugin(**self.args.fsdp_plugin_args)
            self.is_fsdp_enabled = True

    @property
    def _by_itself(self) -> bool:
        """Whether each micro-batch's loss and figures are of itself alone, whatever the other ranks have: TRL's
        preference trainers would put some of them together, and KTO's loss would be another one."""
        return self.args.world_size > 1 and self.run_config.is_preference

    # -- the loop ----------------------------------------------------------------------------------------------

    def train(self, checkpoint: Path | None = None) -> None:
        """Learn until a callback ends it, from a checkpoint if one is given: of one process or of several, which share
        the model or don't.

        Raises:
            UserError: the loss or the gradient of a step isn't a number; or a file of the checkpoint holds other things
                than a run writes.
        """
        self.is_in_train = True
        self._set_up(checkpoint)
        self.control = self.callback_handler.on_train_begin(self.args, self.state, self.control)
        while not self.control.should_training_stop:
            for shares in self._steps_of_epoch():
                self._make_step(shares)
                if self.control.should_training_stop:
                    break
        self.control = self.callback_handler.on_train_end(self.args, self.state, self.control)

    def _set_up(self, checkpoint: Path | None) -> None:
        """Wrap the model for the ranks, make optimizer and schedule, and read the checkpoint."""
        self.accelerator.free_memory()
        if self.args.activation_checkpointing:
            self.model.activation_checkpointing_enable(
                activation_checkpointing_kwargs=self.args.activation_checkpointing_kwargs)
        align_special_tokens(self.model, self.processing_class)
        if self.neftune_noise_alpha is not None:
            activate_neftune(self.model, self.neftune_noise_alpha, self.accelerator)
        if checkpoint is not None:
            self.read_weights(checkpoint)
        self.create_optimizer()
        self.model_wrapped, self.optimizer = self.accelerator.prepare(self.model, self.optimizer)
        if self.is_fsdp_enabled:
            self.model = self.model_wrapped
            register_fsdp_forward_method(self.model, "generate")
        self.lr_scheduler = self._schedule()
        if checkpoint is not None:
            self.read_state(checkpoint)

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.order) / (self.micro_batch * self.accumulation))

    @property
    def epochs_done(self) -> float:
        """Epochs over the rows of one process, however many ranks there are."""
        whole, steps = divmod(self.state.global_step, self.steps_per_epoch)
        return whole + steps * self.accumulation / math.ceil(len(self.order) / self.micro_batch)

    def _steps_of_epoch(self) -> Iterator[list[Share]]:
        """This rank's shares of each step of the present epoch that is still to come."""
        epoch, done = divmod(self.state.global_step, self.steps_per_epoch)
        if isinstance(self.order, BatchOrder):
            self.order.set_epoch(epoch)
        rows, size, count = list(self.order), self.micro_batch * self.accumulation, self.args.world_size
        splits = may_split(self.run_config, count)
        for start in range(done * size, len(rows), size):
            yield deal(rows[start : start + size], self.micro_batch, count, splits)[self.args.process_index]

    def _make_step(self, shares: list[Share]) -> None:
        """Learn one effective batch: all of its micro-batches forward and backward, and one update of the weights."""
        batches = [self.batch(self.train_dataset, share.rows) for share in shares]
        tokens, figures = self._learned_tokens(shares, batches), []
        loss = torch.tensor(0.0, device=self.args.device)
        self._notify("on_step_begin")
        for share, batch in zip(shares, batches, strict=True):
            last = share is shares[-1]
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model_wrapped):
                loss += self.training_step(self.model_wrapped, batch, tokens, share)
            if self._by_itself:
                figures.append((self._noted(), share.part))
            if share.part:
                self._tokens_seen = self._tokens_seen + self.count_tokens(batch)
            if not last:
                self._notify("on_substep_end")
        norm = self.accelerator.clip_grad_norm_(self.model_wrapped.parameters(), self.args.max_grad_norm)
        mean_loss = torch.tensor(ranks.gather(loss.item())).mean().item()
        self._need_numbers(mean_loss, norm, [batch for share, batch in zip(shares, batches, strict=True) if share.part])
        self._notify("on_pre_optimizer_step")
        self.optimizer.step()
        self._notify("on_optimizer_step")
        learning_rate = self.optimizer.param_groups[0]["lr"]
        if not self.accelerator.optimizer_step_was_skipped:
            self.lr_scheduler.step()
        self.model_wrapped.zero_grad()
        self.state.global_step += 1
        self.state.epoch = self.epochs_done
        self._notify("on_step_end")
        self.log({"loss": mean_loss, "grad_norm": float(norm), "learning_rate": learning_rate, **_means(figures)})

    def _notify(self, event: str) -> None:
        self.control = getattr(self.callback_handler, event)(self.args, self.state, self.control)

    def batch(self, dataset: Any, rows: Sequence[int]) -> dict[str, Any]:
        """Rows at these positions of a dataset as one micro-batch, where the model is."""
        on_card = self.args.device.type == "cuda"
        return {name: (value.pin_memory() if on_card else value).to(self.args.device, non_blocking=on_card)
                if isinstance(value, torch.Tensor) else value
                for name, value in self.data_collator(dataset.__getitems__(list(rows))).items()}

    def _learned_tokens(self, shares: list[Share], batches: list[dict[str, Any]]) -> torch.Tensor | None:
        """Learned tokens of the step, of all ranks; what only keeps a rank in step doesn't count. None where a loss is
        a mean over its micro-batch."""
        if "targets" not in batches[0] or not self.model_accepts_loss_kwargs:
            return None
        mine = sum(len(batch["targets"]) for share, batch in zip(shares, batches, strict=True) if share.part)
        return torch.tensor(float(sum(ranks.gather(mine))), device=self.args.device)

    def training_step(self, model: Any, inputs: dict[str, Any], tokens: torch.Tensor | None, share: Share
                      ) -> torch.Tensor:
        """Send one micro-batch forward and backward.

        Args:
            tokens: as of `_learned_tokens`.

        Returns:
            Its part of the loss of the step, a number.
        """
        model.train()
        torch.manual_seed(seed_of(self.run_config.seed, self.state.global_step, share.micro_batch))
        known = {name: value for name, value in inputs.items() if name != "rows"}  # the models know no such argument
        with self._offloading():
            loss: torch.Tensor = self.compute_loss(model, known, num_items_in_batch=tokens)
            # A sum over tokens is divided by those of the whole step already, and so are TRL's; a mean over rows is one
            # of the step's micro-batches. DDP and FSDP take the mean of the ranks' gradients.
            if tokens is None:
                loss = loss * (share.part * self.args.world_size) / share.micro_batches
            elif not share.part:
                loss = loss * 0.0
            self.accelerator.backward(loss)
        return loss.detach()

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
        devices = [torch.cuda.current_device()] if self.args.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices):
                for _ in range(times):
                    self.training_step(self.model_wrapped, self.batch(self.train_dataset, rows), None,
                                       Share(rows, 0, 1))
        finally:
            self.model.zero_grad()
            self._noted()

    # -- the schedule -----------------------------------------------------------------------------------------

    def _schedule(self) -> Any:
        return get_scheduler(self.run_config.lr_scheduler, self.optimizer, self.warmup_steps, self.total_steps)

    def change_schedule(self, total_steps: int, learning_rate: float) -> None:
        """Another length or peak from the next step on; warm-up stays where it was."""
        self.total_steps, self.learning_rate = total_steps, learning_rate
        done = self.lr_scheduler.last_epoch
        for group in self.optimizer.param_groups:
            group["initial_lr"] = learning_rate
        self.lr_scheduler = self._schedule()
        self.lr_scheduler.last_epoch = done
        self.lr_scheduler.base_lrs = [learning_rate] * len(self.optimizer.param_groups)
        for group, factor in zip(self.optimizer.param_groups, self.lr_scheduler.lr_lambdas, strict=True):
            group["lr"] = learning_rate * factor(done)

    # -- what is measured -------------------------------------------------------------------------------------

    def take_tokens(self) -> int:
        """Non-padding tokens trained on since the last call, by all ranks; every rank must call it."""
        count, self._tokens_seen = int(self._tokens_seen), 0
        return sum(ranks.gather(count))

    def count_tokens(self, inputs: dict[str, Any]) -> torch.Tensor | int:
        """Tokens of a micro-batch without padding; on a card they may stay there until `take_tokens`."""
        return inputs["attention_mask"].sum()  # type: ignore[no-any-return]

    def _noted(self) -> dict[str, float]:
        """What TRL noted beside the loss since the last time: its `log` puts that together."""
        self.log({"loss": 0.0} if self.model.training else {})
        return {name: value for name, value in self.state.log_history.pop().items()
                if name not in ("loss", "epoch", "step")}

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Eval loss as the mean over all that is evaluated, with the batches dealt out to the ranks. In one process
        preference trainers evaluate as the stock trainer does: it averages batches."""
        if self.args.world_size == 1 and not self.sums_losses:
            return dict(super().evaluate(*args, **kwargs))  # type: ignore[misc]
        was_training, found, figures = self.model.training, [], []
        self.model.eval()
        for share in deal(range(len(self.eval_dataset)), self.run_config.micro_batch_size, self.args.world_size,
                          splits=False)[self.args.process_index]:
            with torch.no_grad():
                loss, weight = self.eval_loss(self.batch(self.eval_dataset, share.rows), len(share.rows))
            if self._by_itself:
                figures.append((self._noted(), weight * share.part))
            if share.part:
                found.append((share.micro_batch, loss, weight))
            self.callback_handler.on_prediction_step(self.args, self.state, self.control)
        self.model.train(was_training)
        mine = [(at, float(loss), weight) for at, loss, weight in found]
        total, count = torch.zeros(()), 0
        # In the order of the rows, whichever rank read them: a sum of floats depends on it.
        for _, loss, weight in sorted(each for rank in ranks.gather(mine) for each in rank):
            total, count = total + loss, count + weight
        metrics = {"eval_loss": (total / count).item(), **_means(figures)}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def eval_loss(self, inputs: dict[str, Any], rows: int) -> tuple[Any, int]:
        """A sum of losses of a batch, and of how many: here of its rows."""
        loss, _, _ = self.prediction_step(self.model, inputs, prediction_loss_only=True)
        return loss * rows, rows

    # -- steps that must not be made --------------------------------------------------------------------------

    def _need_numbers(self, loss: float, norm: Any, batches: list[dict[str, Any]]) -> None:
        """This is the last moment before the weights change. Looking waits for the GPU once a step, as the log does.

        Args:
            norm: of the gradient before clipping.
            batches: micro-batches of this rank.

        Raises:
            UserError: the loss or the gradient isn't a number; the rows are named.
        """
        # With fp16 the scaler skips steps whose gradients overflow, and lowers its scale: that is its way to find it.
        if math.isfinite(loss) and (self.accelerator.scaler is not None or math.isfinite(norm)):
            return
        rows, exactly = self._spoiling_rows(batches)
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
        raise UserError(tr("The gradient of step {step:,} isn't a number (NaN or Inf).", step=step)
                        if math.isfinite(loss) else
                        tr("The loss of step {step:,} isn't a number (NaN or Inf).", step=step),
                        join_sentences(why, tr("The step wasn't applied, so the weights are unchanged.")),
                        tr("Lower the learning rate, or look at these rows; bf16 or fp32 is more stable than fp16. "
                           "Resume continues from the last checkpoint."), problems)

    def _spoiling_rows(self, batches: list[dict[str, Any]]) -> tuple[list[int], bool]:
        """Lines of the rows whose loss isn't a number; otherwise those of the whole batch. The second says which it
        is."""
        everyone, spoiling = [], []
        for inputs in batches:
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


def _means(figures: list[tuple[dict[str, float], float]]) -> dict[str, float]:
    """Mean of each figure over the micro-batches of all ranks.

    Args:
        figures: of each micro-batch of this rank, with its weight; 0 drops it.
    """
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for noted, weight in [each for rank in ranks.gather(figures) for each in rank if each[1]]:
        for name, value in noted.items():
            found[name].append((value, weight))
    return {name: sum(value * weight for value, weight in values) / sum(weight for _, weight in values)
            for name, values in found.items()}
