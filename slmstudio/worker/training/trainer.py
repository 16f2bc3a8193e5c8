"""TRL's SFTTrainer on ready-made rows, with a loss and an evaluation that touch no more than they must."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule
from trl import SFTTrainer

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.worker.kernels import gpu_attention, packed
from slmstudio.worker.kernels.head_loss import head_loss
from slmstudio.worker.training.rows.batches import IGNORED
from slmstudio.worker.training.several.wrapped import within
from slmstudio.worker.training.trainer_mixin import DeterministicTrainer

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
