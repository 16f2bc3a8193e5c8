"""Which rank learns which rows of a step: the micro-batches that one process would make, dealt out like cards.

So the rows of a step, what is random in a micro-batch and what a mean over a micro-batch is taken of don't depend on
the number of ranks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Share:
    """What one rank sends through the model at once.

    Attributes:
        rows: positions in the dataset.
        micro_batch: which of the step's `micro_batches` they are of.
        part: how much of that they are. 0 for rows that only keep this rank in step with the others: they count for
            nothing.
    """

    rows: Sequence[int]
    micro_batch: int
    micro_batches: int
    part: float = 1.0


def deal(rows: Sequence[int], micro_batch: int, ranks: int, splits: bool) -> list[list[Share]]:
    """The shares of each rank in one step, the same number for each.

    Args:
        rows: of the step, in their order.
        splits: whether a micro-batch may be divided if there are fewer of them than ranks.
    """
    whole = [rows[start : start + micro_batch] for start in range(0, len(rows), micro_batch)]
    count = len(whole)
    idle = Share(rows[-1:], count - 1, count, 0.0)
    if not splits or count >= ranks:
        slots = range(math.ceil(count / ranks))
        return [[Share(whole[at], at, count) if (at := slot * ranks + rank) < count else idle for slot in slots]
                for rank in range(ranks)]
    found = []
    for rank in range(ranks):
        at, which = rank % count, rank // count
        parts, size = len(range(at, ranks, count)), len(whole[at])
        part = whole[at][size * which // parts : size * (which + 1) // parts]
        found.append([Share(part, at, count, len(part) / size) if len(part) else idle])
    return found


class RankBatches(torch.utils.data.Sampler[list[int]]):
    """What one rank sends through the model in an epoch, share by share.

    Args:
        order: of the rows, as one process would learn them.
        micro_batch: rows of a micro-batch.
        accumulation: micro-batches of a step.
    """

    def __init__(self, order: Any, micro_batch: int, accumulation: int, rank: int, ranks: int, splits: bool):
        self.order, self.micro_batch, self.size = order, micro_batch, micro_batch * accumulation
        self.rank, self.ranks, self.splits = rank, ranks, splits

    def set_epoch(self, epoch: int) -> None:
        if hasattr(self.order, "set_epoch"):
            self.order.set_epoch(epoch)

    @property
    def steps(self) -> int:
        return math.ceil(len(self.order) / self.size)

    def __len__(self) -> int:
        return sum(len(self.shares(step)) for step in range(max(0, self.steps - 2), self.steps)) + \
            max(0, self.steps - 2) * len(self.shares(0))

    def __iter__(self) -> Iterator[list[int]]:
        rows = list(self.order)
        for start in range(0, len(rows), self.size):
            for share in self._mine(rows[start : start + self.size]):
                yield list(share.rows)

    def shares(self, step: int) -> list[Share]:
        """This rank's shares of a step of the epoch; their rows are places within the order."""
        start = step * self.size
        return self._mine(range(start, min(start + self.size, len(self.order))))

    def _mine(self, rows: Sequence[int]) -> list[Share]:
        return deal(rows, self.micro_batch, self.ranks, self.splits)[self.rank]
