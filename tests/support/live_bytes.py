"""How many bytes of tensors are alive while PyTorch works, and the most of them: for real tensors and for fake ones."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the storage of each tensor that an operation returns, from then until it is freed.

    What an operation allocates and frees within itself isn't seen, but for one. Storages are rounded up to `block`
    bytes, as CUDA's caching allocator rounds them (512).

    Attributes:
        live, peak: bytes now, and at most since `reset`.
    """

    def __init__(self, block: int = 1):
        super().__init__()
        self.block, self.live, self.peak = block, 0, 0
        self._known: dict[int, Any] = {}

    def reset(self) -> int:
        """Begin to look for the peak from here; returns the one before."""
        before, self.peak = self.peak, self.live
        return before

    def hold(self, *tensors: torch.Tensor) -> None:
        """Count tensors that were made outside."""
        for tensor in tensors:
            self._see(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.logsumexp.default:  # holds the exponentials of its input (ATen's ReduceOps.cpp)
            self.peak = max(self.peak, self.live + args[0].untyped_storage().nbytes())
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self._see(leaf)
        return out

    def _see(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = -(-storage.nbytes() // self.block) * self.block

        def freed(_: Any) -> None:
            self._known.pop(key, None)
            self.live -= size

        self._known[key] = weakref.ref(storage, freed)
        self.live += size
        self.peak = max(self.peak, self.live)
