"""A base model with its adapter, merged a few rows at a time; nothing of it is ever whole in memory or on the disk."""

from __future__ import annotations

from pathlib import Path

import torch

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.worker.model.adapter import Adapter
from slmstudio.worker.model.base_weights import Array, BaseWeights
from slmstudio.worker.model.disk_names import names_on_disk

CHUNK_VALUES = 2 * 2**20
"""Values that are merged at a time: 8 MB of float32."""


class MergedWeights:
    """The weights that were trained, float32, under the base model's names.

    Attributes:
        names: of all tensors; where the adapter brought one that the base doesn't have, that too.
        adapter: what is added to them, under the same names; None if nothing is.

    Raises:
        UserError: the weights can't be read, or the adapter is of another base.
    """

    def __init__(self, base: Path, adapter: Path | None):
        self.base = BaseWeights(base)
        self.adapter = Adapter(adapter) if adapter is not None else None
        self.names = list(self.base.tensors)
        if self.adapter is None:
            return
        if not self.adapter.targets <= self.base.tensors.keys():
            self.adapter.rename(names_on_disk(base, self.names))
        for name in sorted(self.adapter.targets - self.base.tensors.keys()):
            if self.adapter.replacement(name) is None:
                raise UserError(tr("The adapter doesn't belong to this base model."),
                                tr("The base has no {tensor}.", tensor=name),
                                tr("Choose the base model that the adapter was trained on."))
            self.names.append(name)
        self._check_shapes(self.adapter)

    def _check_shapes(self, adapter: Adapter) -> None:
        for name, shape in adapter.shapes().items():
            if name in self.base.tensors and self.base.shape(name) != shape:
                raise UserError(tr("The adapter doesn't belong to this base model."),
                                tr("{tensor} has the shape {theirs} in the base, but {own} in the adapter.",
                                   tensor=name, theirs=self.base.shape(name), own=shape),
                                tr("Choose the base model that the adapter was trained on."))

    def is_changed(self, name: str) -> bool:
        return self.adapter is not None and name in self.adapter.targets

    def shape(self, name: str) -> tuple[int, ...]:
        replaced = self.adapter.replacement(name) if self.adapter else None
        return self.base.shape(name) if replaced is None else tuple(replaced.shape)

    def row_count(self, name: str) -> int:
        """A vector counts as one row."""
        shape = self.shape(name)
        return shape[0] if len(shape) > 1 else 1

    def rows(self, name: str, start: int, stop: int) -> Array:
        """Rows of a merged tensor, float32 (stop - start, ...)."""
        if self.adapter is None or name not in self.adapter.targets:
            return self.base.rows(name, start, stop)
        replaced = self.adapter.replacement(name)
        if replaced is not None:
            return replaced.reshape(self.row_count(name), -1)[start:stop].numpy()
        weight = torch.from_numpy(self.base.rows(name, start, stop))
        return self.adapter.rows(name, weight, start, stop).numpy()

    def whole(self, name: str) -> Array:
        """A merged tensor in its own shape, float32."""
        return self.rows(name, 0, self.row_count(name)).reshape(self.shape(name))

    def chunks(self, name: str) -> list[tuple[int, int]]:
        """Parts of a tensor of about `CHUNK_VALUES` values, as (first row, end)."""
        shape = self.shape(name)
        count = self.row_count(name)
        return row_ranges(count, torch.Size(shape).numel() // max(1, count))


def row_ranges(count: int, width: int) -> list[tuple[int, int]]:
    """`count` rows of `width` values in parts of about `CHUNK_VALUES` values."""
    step = max(1, CHUNK_VALUES // max(1, width))
    return [(start, min(count, start + step)) for start in range(0, count, step)]
