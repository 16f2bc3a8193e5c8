"""llama.cpp's own code for its block formats: rows of float32 become the bytes that a GGUF file holds."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Any

import numpy as np

from slmstudio.worker.model.base_weights import Array


@functools.cache
def _library() -> Any:
    import llama_cpp
    from llama_cpp._ctypes_extensions import load_shared_library

    library = load_shared_library("ggml-base", Path(llama_cpp.__file__).parent / "lib")
    library.ggml_row_size.restype = ctypes.c_size_t
    library.ggml_row_size.argtypes = (ctypes.c_int, ctypes.c_int64)
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_quantize_chunk.argtypes = (
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
    return library


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
