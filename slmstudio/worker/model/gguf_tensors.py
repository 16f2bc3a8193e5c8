"""Tensors of a GGUF file as float32, a few rows at a time, found by llama.cpp's own reader; and rows of float32 as the
bytes that a GGUF file holds, by its own code for the block formats."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slmstudio.core import files
from slmstudio.worker.model.base_weights import Array


class _Parameters(ctypes.Structure):
    """`gguf_init_params` of gguf.h."""

    _fields_ = (("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p))


@functools.cache
def _library() -> Any:
    import llama_cpp
    from llama_cpp._ctypes_extensions import load_shared_library

    library = load_shared_library("ggml-base", Path(llama_cpp.__file__).parent / "lib")
    context, index, size = ctypes.c_void_p, ctypes.c_int64, ctypes.c_size_t
    for name, result, arguments in (
        ("ggml_row_size", size, (ctypes.c_int, index)),
        ("ggml_quantize_chunk", size, (ctypes.c_int, context, context, index, index, index, context)),
        ("gguf_init_from_file", context, (ctypes.c_char_p, _Parameters)),
        ("gguf_free", None, (context,)),
        ("gguf_get_data_offset", size, (context,)),
        ("gguf_get_n_tensors", index, (context,)),
        ("gguf_get_tensor_name", ctypes.c_char_p, (context, index)),
        ("gguf_get_tensor_offset", size, (context, index)),
        ("gguf_get_tensor_size", size, (context, index)),
        ("gguf_get_tensor_type", ctypes.c_int, (context, index)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class GgufTensors:
    """
    Attributes:
        types: name of every tensor: its block format, such as "Q6_K".

    Raises:
        ValueError: llama.cpp can't read the file's header.
    """

    def __init__(self, path: Path):
        from gguf import GGMLQuantizationType

        self._path = path
        library = _library()
        context = library.gguf_init_from_file(str(path).encode(), _Parameters(True, None))
        if not context:
            raise ValueError(f"{path} isn't a GGUF file")
        try:
            start = library.gguf_get_data_offset(context)
            self._places: dict[str, tuple[Any, int, int]] = {}
            for index in range(library.gguf_get_n_tensors(context)):
                self._places[library.gguf_get_tensor_name(context, index).decode()] = (
                    GGMLQuantizationType(library.gguf_get_tensor_type(context, index)),
                    start + library.gguf_get_tensor_offset(context, index),
                    library.gguf_get_tensor_size(context, index))
        finally:
            library.gguf_free(context)
        self.types = {name: kind.name for name, (kind, _, _) in self._places.items()}

    def row_count(self, name: str, width: int) -> int:
        """How many rows of `width` values a tensor has; 0 if its size isn't a multiple of it."""
        kind, _, size = self._places[name]
        row = _row_bytes(kind, width)
        return 0 if row == 0 or size % row else size // row

    def range(self, name: str, width: int, start: int, stop: int, columns: int) -> Array:
        """The first `columns` values, a multiple of the block format's, of rows of `width`: (stop - start, columns)."""
        kind, offset, _ = self._places[name]
        row = _row_bytes(kind, width)
        data = np.fromfile(self._path, np.uint8, (stop - start) * row, offset=offset + start * row)
        return _as_float(kind, np.ascontiguousarray(data.reshape(-1, row)[:, :_row_bytes(kind, columns)]))

    def rows(self, name: str, width: int, which: Sequence[int]) -> Array:
        """Single rows, whole: (which, width)."""
        kind, offset, _ = self._places[name]
        row = _row_bytes(kind, width)
        with open(self._path, "rb", opener=files.regular) as file:
            parts = [(file.seek(offset + number * row), file.read(row))[1] for number in which]
        return _as_float(kind, np.frombuffer(b"".join(parts), np.uint8).reshape(-1, row))


def _row_bytes(kind: Any, values: int) -> int:
    """Bytes of this many values; 0 if they don't fill whole blocks."""
    from gguf import GGML_QUANT_SIZES

    block, size = GGML_QUANT_SIZES[kind]
    return 0 if values % block else values // block * size


def _as_float(kind: Any, data: np.ndarray[Any, np.dtype[np.uint8]]) -> Array:
    from gguf import quants

    values: Array = quants.dequantize(data, kind)
    return values.astype(np.float32, copy=False)


def row_bytes(ggml_type: int, values: int) -> int:
    """Size of one row of this many values in a `ggml_type`."""
    return int(_library().ggml_row_size(ggml_type, values))


def quantize(ggml_type: int, rows: Array, importance: Array | None = None) -> bytearray:
    """Rows (n, values) in a `ggml_type` (ggml.h), as llama_model_quantize would write them.

    The call lets other threads run.

    Args:
        importance: mean square of each column's inputs, float32 (values,); None weighs all columns the same.
    """
    rows = np.ascontiguousarray(rows, np.float32)
    count, values = rows.shape
    out = bytearray(count * row_bytes(ggml_type, values))
    target = (ctypes.c_char * len(out)).from_buffer(out)
    weights = None if importance is None else importance.ctypes.data_as(ctypes.c_void_p)
    written = _library().ggml_quantize_chunk(
        ggml_type, rows.ctypes.data_as(ctypes.c_void_p), target, 0, count, values, weights)
    if written != len(out):
        raise ValueError(f"ggml wrote {written} bytes where {len(out)} were expected")
    return out
