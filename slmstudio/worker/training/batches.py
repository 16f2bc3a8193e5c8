"""Which rows go together, and how a micro-batch is laid out: padded, or packed end to end."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from slmstudio.core.run import curves
from slmstudio.core.run.config import RunConfig

# -- The micro-batches of a run in their order, and the longest of them.

MOST_EPOCHS = 3
"""Epochs that are looked at; each has another order, and after some the longest is hardly longer."""


Rows = np.ndarray[Any, Any]
"""[micro-batches, rows]: positions in a dataset."""


def of_run(trainer: Any, config: RunConfig) -> Rows:
    """The rows of each micro-batch that the run will meet, as positions in its dataset; only whole ones, if there are
    any."""
    order, size, found = trainer.order, config.micro_batch_size, []
    per_epoch = curves.steps_per_epoch(config, len(trainer.train_dataset))
    for epoch in range(min(MOST_EPOCHS, math.ceil(trainer.total_steps / per_epoch))):
        if isinstance(order, BatchOrder):
            order.set_epoch(epoch)
        found.append(groups(np.fromiter(order, dtype=np.int64), size))
    return np.concatenate(found)[: trainer.total_steps * config.gradient_accumulation_steps]


def groups(order: np.ndarray[Any, Any], size: int) -> Rows:
    """An order of rows, cut into micro-batches; only whole ones, if there are any."""
    whole = len(order) // size
    return order[: whole * size].reshape(-1, size) if whole else order[None]


def tokens(batches: Rows, lengths: np.ndarray[Any, Any], config: RunConfig) -> np.ndarray[Any, Any]:
    """Tokens that each micro-batch holds in memory: packed rows end to end, others filled up to the longest."""
    each = lengths[batches]
    return each.sum(axis=1) if config.packing else each.shape[1] * each.max(axis=1)


def longest(batches: Rows, lengths: np.ndarray[Any, Any], config: RunConfig) -> list[int]:
    found: list[int] = batches[int(tokens(batches, lengths, config).argmax())].tolist()
    return found


IGNORED = -100
"""Label of a position that isn't learned."""

POOL = 50
"""Effective batches that are sorted by length together."""


class BatchOrder(torch.utils.data.Sampler[int]):
    """The order of the rows in each epoch: decided by the seed and the epoch alone, so that a resumed run repeats it.

    Which rows an optimizer update sees depends on the effective batch (`micro_batch * accumulation`) only: halving the
    micro-batch and doubling the accumulation changes nothing but memory. With `by_length`, the shuffled rows are sorted
    by length within pools of 50 effective batches, and the effective batches are shuffled: little padding, still
    random. Inside an effective batch the longest rows come first, so that micro-batches (consecutive slices) hold like
    lengths. A short last group stays last.

    Args:
        lengths: tokens of each row, [rows].
        micro_batch: rows in one forward pass.
        accumulation: micro-batches in one optimizer update.
    """

    def __init__(self, lengths: Sequence[int] | np.ndarray[Any, Any], micro_batch: int, accumulation: int,
                 seed: int, by_length: bool):
        self.lengths, self.seed, self.by_length = np.asarray(lengths), seed, by_length
        self.effective_batch = micro_batch * accumulation
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).numpy()
        if self.by_length:
            size = self.effective_batch
            for start in range(0, len(order), size * POOL):
                pool = order[start : start + size * POOL]
                pool[:] = pool[np.argsort(-self.lengths[pool], kind="stable")]
            full = len(order) // size
            shuffled = torch.randperm(full, generator=generator).numpy()
            order[: full * size] = order[: full * size].reshape(full, size)[shuffled].reshape(-1)
        return map(int, order)


class PaddedCollator:
    """Rows as one batch, padded at the end to the longest.

    Returns:
        `input_ids`, `labels`, and where something is padded `attention_mask`: [rows, longest]; `row_lengths`: a list of
        whole numbers; `learned`, `targets`: as of `learned_positions`; `rows`: [rows], the dataset's `row` column.
    """

    def __init__(self, pad_token_id: int):
        self.pad_token_id = pad_token_id

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        lengths = [len(example["input_ids"]) for example in examples]
        shape = (len(examples), max(lengths))
        input_ids, labels = torch.full(shape, self.pad_token_id), torch.full(shape, IGNORED)
        attention_mask = torch.zeros(shape, dtype=torch.long)
        for i, (example, length) in enumerate(zip(examples, lengths, strict=True)):
            input_ids[i, :length] = torch.tensor(example["input_ids"])
            labels[i, :length] = torch.tensor(_learnable(example["labels"]))
            attention_mask[i, :length] = 1
        padded = {"attention_mask": attention_mask} if min(lengths) < max(lengths) else {}
        return {"input_ids": input_ids, "labels": labels, **padded, "row_lengths": lengths,
                **learned_positions(labels), **_rows(examples)}


class PackedCollator:
    """Rows laid end to end as one, without padding; packed.py keeps their attention apart.

    Returns:
        `input_ids`, `labels`, `position_ids` (from 0 in each row): [1, tokens]; `row_lengths`: a list of whole numbers;
        `learned`, `targets`: as of `learned_positions`; `rows`: [rows], the dataset's `row` column.
    """

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        lengths = [len(example["input_ids"]) for example in examples]
        labels = torch.tensor([[label for example in examples for label in _learnable(example["labels"])]])
        return {
            "input_ids": torch.tensor([[token for example in examples for token in example["input_ids"]]]),
            "labels": labels,
            "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
            "row_lengths": lengths,
            **learned_positions(labels),
            **_rows(examples),
        }


def learned_positions(labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Where something is learned: found here, while the batch is in main memory, since a card would be waited for.

    Args:
        labels: [batch, tokens].

    Returns:
        `learned`: [learned], positions among all `batch * tokens` whose next token is learned; `targets`: [learned],
        these tokens.
    """
    learned = torch.nn.functional.pad(labels[:, 1:] != IGNORED, (0, 1)).flatten().nonzero()[:, 0]
    return {"learned": learned, "targets": labels.flatten()[learned + 1]}


def _learnable(labels: list[int]) -> list[int]:
    """A row's first token has nothing before it that could foretell it."""
    return [IGNORED, *labels[1:]]


def _rows(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    return {"rows": torch.tensor([example["row"] for example in examples])} if "row" in examples[0] else {}
