"""The trainers, one for each objective: TRL's on ready-made rows, with losses that touch no more than they must."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel
from trl import DPOConfig, DPOTrainer, SFTTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer
from trl.trainer import utils as trl_utils
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import KTOTrainer

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.kernels import gpu_attention, packed
from slmstudio.worker.kernels.head_loss import head_loss, token_log_probs
from slmstudio.worker.training.batches import IGNORED
from slmstudio.worker.training.loop import DeterministicTrainer

# -- Preference tuning by TRL: DPO and ORPO learn from pairs of answers, KTO from single ones marked good or bad.

METRICS = {"rewards/accuracies": "reward_accuracy", "rewards/margins": "reward_margin"}
"""TRL's figures and our names: how often the better answer has the higher reward, and by how much."""


class StudioDPO(DeterministicTrainer, DPOTrainer):  # type: ignore[misc]
    """DPO (Rafailov et al. 2023, arXiv 2305.18290)."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset  # tokenized already, by rows/data.py


class StudioORPO(DeterministicTrainer, ORPOTrainer):  # type: ignore[misc]
    """ORPO (Hong et al. 2024, arXiv 2403.07691): answers and preference in one loss, without a reference model."""

    def tokenize_row(self, feature: Any, model: Any = None) -> Any:
        return feature  # tokenized already, by rows/data.py

    def count_tokens(self, inputs: dict[str, Any]) -> torch.Tensor:
        return inputs["chosen_attention_mask"].sum() + inputs["rejected_attention_mask"].sum()


class StudioKTO(DeterministicTrainer, KTOTrainer):  # type: ignore[misc]
    """KTO (Ethayarajh et al. 2024, arXiv 2402.01306)."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset  # tokenized already, by rows/data.py


class _LogProbs:
    """Instead of TRL's chunked log-probabilities: without a GPU they take minutes per step with a vocabulary of 49,000
    tokens.
    Entropy and the like, which only TRL's own log shows, are zero."""

    @staticmethod
    def apply(hidden: torch.Tensor, weight: torch.Tensor, bias: Any, targets: torch.Tensor, *options: Any) -> Any:
        temperature, _, softcap, scale = options[:4]
        if bias is not None or temperature != 1.0 or softcap is not None or scale != 1.0:
            return _STOCK.apply(hidden, weight, bias, targets, *options)
        found = token_log_probs(hidden.to(weight.dtype), weight, targets)
        nothing = torch.zeros_like(found)
        return found, nothing, nothing, nothing, nothing.bool()


_STOCK = trl_utils._ChunkedLogProbFunction


def be_fast_on_the_cpu(on_cpu: bool) -> None:
    """Let TRL's preference losses use our log-probabilities, of the answers' positions alone.

    Both are private names of TRL 1.16, which is pinned; test_methods.py compares with the stock ones.
    """
    trl_utils._ChunkedLogProbFunction = _LogProbs if on_cpu else _STOCK
    trl_utils._use_triton = (lambda device: True) if on_cpu else _STOCK_USE_TRITON


_STOCK_USE_TRITON = trl_utils._use_triton


def preference_trainer(config: RunConfig) -> tuple[type, type]:
    return {"dpo": (StudioDPO, DPOConfig), "orpo": (StudioORPO, ORPOConfig), "kto": (StudioKTO, KTOConfig)}[
        config.objective]


def preference_arguments(config: RunConfig, gpu: bool) -> dict[str, Any]:
    """What the trainer is told beside the arguments that all trainers share.

    The reference model of full fine-tuning goes to the card of what learns. TRL would spread it over all cards and main
    memory ("auto" in trl/trainer/utils.py, create_model_from_path).
    """
    has_reference = gpu and not config.has_adapter and config.objective in ("dpo", "kto")
    return {"beta": config.beta, "max_length": config.max_length,
            **({"model_init_kwargs": {"device_map": {"": torch.cuda.current_device()}}} if has_reference else {})}


class WithRows:
    """TRL's collator, and the rows' lines beside it, which a NaN is told by."""

    def __init__(self, collator: Any):
        self._collator = collator

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        kept = ("row", "length")
        batch: dict[str, Any] = self._collator([{k: v for k, v in each.items() if k not in kept} for each in examples])
        return {**batch, "rows": torch.tensor([each["row"] for each in examples])}


# -- Work inside a distributed model's forward pass, so that its wrapper takes part: DDP sums the gradients of what
# was computed there, and FSDP brings the weights together for it.


def within(model: Any, work: Callable[[], Any]) -> Any:
    """What `work` returns, run as the forward pass of `model`.

    Args:
        model: a model or a part of it, wrapped or not.
        work: may call parts of the model, but not the model itself.
    """
    inner = model.module if isinstance(model, DistributedDataParallel) else model
    own = inner.__dict__.get("forward")
    inner.forward = lambda run: run()
    try:
        return model(work)
    finally:
        if own is None:
            del inner.forward
        else:
            inner.forward = own


# -- The loss of a micro-batch, padded or packed, summed over the learned positions.

SCALED_LOGITS = ("final_logit_softcapping", "logits_scaling", "logit_scale", "output_multiplier", "lm_head_multiplier")
"""Configuration keys of models whose logits are more than a matrix product; TRL's own loss serves them."""


def is_direct(causal_lm: Any) -> bool:
    """Whether `summed_loss` may call the decoder by itself: not where logits are more than a matrix product."""
    config, head = causal_lm.config.get_text_config(), causal_lm.get_output_embeddings()
    scaled = any(getattr(config, key, None) for key in SCALED_LOGITS) or getattr(head, "bias", None) is not None
    return not scaled


def summed_loss(causal_lm: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, int]:
    """Sum of the cross entropy over the learned positions, and their number. Waits for no card.

    Args:
        causal_lm: the model without PEFT's wrapper.
        inputs: a micro-batch of batches.py, padded or packed.
    """
    positions, targets, head = _learned(causal_lm, inputs)

    def loss() -> torch.Tensor:
        return head_loss(positions.to(head.weight.dtype), head.weight, targets)

    # When ranks share a model, the head's weight is whole only while the head is at work.
    found = within(head, loss) if isinstance(head, FSDPModule) else loss()
    return found, len(targets)


def per_row_losses(causal_lm: Any, inputs: dict[str, Any]) -> list[float]:
    """Mean loss of each row of a micro-batch, in its order: to name the row that spoils a step.

    A row without a learned position has NaN.
    """
    with torch.no_grad():
        positions, targets, head = _learned(causal_lm, inputs)
        positions, weight = positions.to(head.weight.dtype), head.weight
        losses, start = [], 0
        for count in _learned_per_row(inputs):
            part = slice(start, start + count)
            losses.append((head_loss(positions[part], weight, targets[part]) / count).item() if count else float("nan"))
            start += count
    return losses


def token_count(inputs: dict[str, Any]) -> int:
    """Tokens of a micro-batch without padding."""
    return sum(inputs["row_lengths"])


def _learned(causal_lm: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """Hidden states before the head at the learned positions, the tokens to foretell there, and the head."""
    layout = {name: inputs[name] for name in ("attention_mask", "position_ids", "row_lengths") if name in inputs}
    if "row_lengths" in layout and "flash" in causal_lm.config._attn_implementation:
        lengths = layout.pop("row_lengths")
        layout |= _boundaries(lengths, inputs["input_ids"].device) if "position_ids" in layout else {}
    if "row_lengths" in layout:
        layout["row_lengths"] = packed.RowLengths(layout["row_lengths"])
    if causal_lm.config._attn_implementation == packed.NAME and "position_ids" in layout:
        layout["attention_mask"] = packed.no_mask(inputs["input_ids"].device)
    decoder = causal_lm.get_decoder()
    learned, targets = inputs["learned"], inputs["targets"]
    selects = getattr(getattr(decoder, "layers", [None])[-1], "selects_positions", False)
    if selects:  # the last layer leaves out positions from which nothing is predicted (fast_layers.py)
        layout["selected"] = learned
    hidden = decoder(input_ids=inputs["input_ids"], use_cache=False, **layout).last_hidden_state
    if causal_lm.config._attn_implementation == packed.NAME and "position_ids" in layout and not packed.REACHED:
        raise UserError(tr("This architecture can't keep packed rows apart."),
                        tr("Its attention isn't told where one row ends and the next starts."),
                        tr("Switch packing off: packing=false."))
    positions = hidden[0] if selects else hidden.flatten(0, 1)[learned]
    return positions, targets, causal_lm.get_output_embeddings()


def _boundaries(lengths: list[int], device: torch.device) -> dict[str, Any]:
    """Where rows begin and end, in the words of FlashAttention's functions for sequences of varying length."""
    ends, longest = gpu_attention.ends(tuple(lengths), device), max(lengths)
    return {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": longest, "max_length_k": longest}


def _learned_per_row(inputs: dict[str, Any]) -> list[int]:
    learned = inputs["labels"] != IGNORED
    if "position_ids" not in inputs:
        return learned[:, 1:].sum(1).tolist()  # type: ignore[no-any-return]
    return [int(part.sum()) for part in learned[0].split(inputs["row_lengths"])]


class StudioTrainer(DeterministicTrainer, SFTTrainer):  # type: ignore[misc]
    """Trains on `input_ids` and `labels`, padded or packed."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._causal_lm = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        self.sums_losses = is_direct(self._causal_lm)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean cross entropy over the learned tokens of the whole effective batch.

        The head sees the learned positions only; see head_loss.py.
        """
        if not self.sums_losses or return_outputs:
            unknown = {"rows", "learned", "targets", *(() if "position_ids" in inputs else ("row_lengths",))}
            known = {name: value for name, value in inputs.items() if name not in unknown}
            if "position_ids" not in known:  # TRL counts tokens by the mask, which rows of one length don't need
                known.setdefault("attention_mask", torch.ones_like(known["input_ids"]))
            return super().compute_loss(model, known, return_outputs, num_items_in_batch)
        loss, count = self._summed_loss(model, inputs)
        if num_items_in_batch is None:
            return loss / count
        return loss / num_items_in_batch * self.args.world_size  # the ranks' gradients are averaged

    def _summed_loss(self, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, int]:
        """Sum of the cross entropy over the learned positions, and their number."""
        with self.accelerator.autocast():
            if self.args.world_size == 1:
                return summed_loss(self._causal_lm, inputs)
            return within(model, lambda: summed_loss(self._causal_lm, inputs))  # type: ignore[no-any-return]

    def eval_loss(self, inputs: dict[str, Any], rows: int) -> tuple[Any, int]:
        """Over learned tokens."""
        return self._summed_loss(self.model, inputs) if self.sums_losses else super().eval_loss(inputs, rows)

    def count_tokens(self, inputs: dict[str, Any]) -> int:
        return token_count(inputs)

    def losses_by_row(self, inputs: dict[str, Any]) -> list[float]:
        with self.accelerator.autocast():
            return per_row_losses(self._causal_lm, inputs)
