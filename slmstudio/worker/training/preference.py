"""Preference tuning by TRL: DPO and ORPO learn from pairs of answers, KTO from single ones marked good or bad."""

from __future__ import annotations

from typing import Any

import torch
from trl import DPOConfig, DPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer
from trl.trainer import utils as trl_utils
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import KTOTrainer

from slmstudio.core.run.config import RunConfig
from slmstudio.worker.kernels.head_loss import token_log_probs
from slmstudio.worker.training.trainer_mixin import DeterministicTrainer

METRICS = {"rewards/accuracies": "reward_accuracy", "rewards/margins": "reward_margin"}
"""TRL's figures and our names: how often the better answer has the higher reward, and by how much."""


class StudioDPO(DeterministicTrainer, DPOTrainer):  # type: ignore[misc]
    """DPO (Rafailov et al. 2023, arXiv 2305.18290)."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset  # tokenized already, by preference_data.py


class StudioORPO(DeterministicTrainer, ORPOTrainer):  # type: ignore[misc]
    """ORPO (Hong et al. 2024, arXiv 2403.07691): answers and preference in one loss, without a reference model."""

    def tokenize_row(self, feature: Any, model: Any = None) -> Any:
        return feature  # tokenized already, by preference_data.py

    def count_tokens(self, inputs: dict[str, Any]) -> torch.Tensor:
        return inputs["chosen_attention_mask"].sum() + inputs["rejected_attention_mask"].sum()


class StudioKTO(DeterministicTrainer, KTOTrainer):  # type: ignore[misc]
    """KTO (Ethayarajh et al. 2024, arXiv 2402.01306)."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset  # tokenized already, by preference_data.py


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


def trainer_class(config: RunConfig) -> tuple[type, type]:
    return {"dpo": (StudioDPO, DPOConfig), "orpo": (StudioORPO, ORPOConfig), "kto": (StudioKTO, KTOConfig)}[
        config.objective]


def arguments(config: RunConfig, gpu: bool) -> dict[str, Any]:
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
