"""Weights of a model folder, read a few rows at a time: no tensor is ever whole in memory unless it is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model.safetensors_header import Tensor, read_header
from slmstudio.core.model.weights import read_weights

Array = np.ndarray[Any, np.dtype[np.float32]]
_NUMPY = {"F32": np.float32, "F16": np.float16, "F64": np.float64}
_STATE = "quant_state.bitsandbytes__"
_BESIDE = ("absmax", "quant_map", "nested_absmax", "nested_quant_map")


class BaseWeights:
    """All tensors of a folder of safetensors, as float32.

    Files are read, not mapped: mapped pages count as this process's memory. A tensor that bitsandbytes packed in 4 bits
    has its plain name and shape here, and is unpacked as a whole when its first row is asked for.

    Attributes:
        tensors: name: number format and shape on the disk, without what is beside packed tensors.
        packed: names of the 4-bit tensors.

    Raises:
        UserError: a file is missing or damaged.
    """

    def __init__(self, folder: Path):
        problems: list[Problem] = []
        found = read_weights(folder, problems)
        if found is None:
            raise UserError(tr("The weights of {folder} can't be read.", folder=folder.name), problems=tuple(problems))
        self._files: dict[str, Path] = {}
        every: dict[str, Tensor] = {}
        for file in found.files:
            for name, tensor in read_header(file).items():
                every[name], self._files[name] = tensor, file
        self._every = every
        self.packed = {name: shape for name in every if (shape := self._packed_shape(name)) is not None}
        self._latest: tuple[str, Array] = ("", np.empty(0, np.float32))
        beside = tuple(f"{name}." for name in self.packed)
        self.tensors = {name: tensor for name, tensor in every.items() if not (beside and name.startswith(beside))}

    def shape(self, name: str) -> tuple[int, ...]:
        return self.packed.get(name) or self.tensors[name].shape

    def rows(self, name: str, start: int, stop: int) -> Array:
        """Rows of a tensor, float32 (stop - start, ...). A vector is one row of itself."""
        if name in self.packed:
            return self._unpacked(name)[start:stop]
        tensor = self.tensors[name]
        shape = tensor.shape if len(tensor.shape) > 1 else (1, *tensor.shape)
        row = int(np.prod(shape[1:]))
        values = self._values(name, tensor, start * row, (stop - start) * row)
        return values.reshape((stop - start, *shape[1:]))

    def whole(self, name: str) -> Array:
        """A tensor in its own shape, float32."""
        shape = self.shape(name)
        return self.rows(name, 0, shape[0] if len(shape) > 1 else 1).reshape(shape)

    def _values(self, name: str, tensor: Tensor, first: int, count: int) -> Array:
        if tensor.dtype == "BF16":
            raw = self._raw(name, tensor, np.uint16, first, count)
            return (raw.astype(np.uint32) << 16).view(np.float32)
        if tensor.dtype not in _NUMPY:
            raise UserError(tr("The tensor {tensor} can't be read.", tensor=name),
                            tr("Its number format is {format}.", format=tensor.dtype),
                            tr("Use the same model with plain bf16, fp16 or fp32 weights."))
        return self._raw(name, tensor, _NUMPY[tensor.dtype], first, count).astype(np.float32, copy=False)

    def _raw(self, name: str, tensor: Tensor, dtype: Any, first: int, count: int) -> np.ndarray[Any, Any]:
        size = np.dtype(dtype).itemsize
        values = np.fromfile(self._files[name], dtype, count, offset=tensor.offset + first * size)
        if values.size != count:
            raise UserError(tr("{file} ends before its last tensor.", file=self._files[name].name),
                            tr("It changed while it was read."), tr("Download or copy the model again."))
        return values

    def _packed_shape(self, name: str) -> tuple[int, ...] | None:
        if self._every[name].dtype != "U8" or f"{name}.absmax" not in self._every:
            return None
        return tuple(self._state(name)["shape"])

    def _state(self, name: str) -> dict[str, Any]:
        """The JSON that bitsandbytes stores as bytes beside a packed tensor."""
        key = next(key for key in self._every if key.startswith(f"{name}.{_STATE}"))
        tensor = self._every[key]
        state: dict[str, Any] = json.loads(self._raw(key, tensor, np.uint8, 0, tensor.values).tobytes())
        return state

    def _unpacked(self, name: str) -> Array:
        """The latest one is kept: its rows are asked for in parts."""
        if self._latest[0] != name:
            self._latest = name, self._unpack(name)
        return self._latest[1]

    def _unpack(self, name: str) -> Array:
        import torch
        from bitsandbytes import functional

        parts: dict[str, torch.Tensor] = {}
        formats = {"U8": np.uint8, "F32": np.float32, "F16": np.float16}
        for key, tensor in self._every.items():
            ending = key.removeprefix(f"{name}.")
            if key.startswith(f"{name}.") and (ending in _BESIDE or ending.startswith("quant_state.")):
                raw = self._raw(key, tensor, formats[tensor.dtype], 0, tensor.values)
                parts[ending] = torch.from_numpy(raw).reshape(tensor.shape)
        state = functional.QuantState.from_dict(parts, device=torch.device("cpu"))
        data = torch.from_numpy(self._raw(name, self._every[name], np.uint8, 0, self._every[name].values))
        weight: Array = functional.dequantize_4bit(data.reshape(-1, 1), state).float().numpy()
        return weight
