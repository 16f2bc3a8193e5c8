"""Which block format each tensor gets in a quantization type: llama.cpp itself is asked, so that nothing is copied.

Q4_K_M is a mixture: half of the down projections in Q6_K, rows that aren't a multiple of 256 in Q5_0, and so on. A file
with the same key-value pairs and the same tensors of two short rows each is quantized; the formats are read from it.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import numpy as np

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.worker.export.gguf_source import GgufSource
from slmstudio.worker.model import llama_gguf

# Rows behave alike when they are multiples of 256, of 32 only, or of neither (llama-quant.cpp, tensor_type_fallback).
_ROWS = ((256, 256), (32, 288), (1, 264))
_ALL_F32 = 0


def tensor_types(source: GgufSource, ftype: int, folder: Path) -> dict[str, int]:
    """GGUF name: ggml type, as llama.cpp chooses for a `llama_ftype`.

    Args:
        folder: for two files of a few megabytes, which are removed again.

    Raises:
        UserError: llama.cpp can't quantize such a model.
    """
    import gguf

    if ftype == _ALL_F32:
        return {tensor.name: int(gguf.GGMLQuantizationType.F32) for tensor in source.tensors}
    small, result = folder / "small.gguf", folder / "small.quantized.gguf"
    try:
        _write_small(source, small)
        quantize(small, result, ftype)
        return {tensor.name: int(tensor.tensor_type) for tensor in gguf.GGUFReader(result).tensors}
    finally:
        small.unlink(missing_ok=True)
        result.unlink(missing_ok=True)


def _write_small(source: GgufSource, path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(path, source.architecture)
    # The vocabulary decides nothing here, and reading its tokens back would take longer than all the rest.
    writer.kv_data[0] = {key: value for key, value in source.values.items() if not key.startswith("tokenizer.")}
    for tensor in source.tensors:
        writer.add_tensor(tensor.name, np.zeros(_small_shape(tensor.shape), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _small_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) == 1:
        return (32,)
    width = next(small for multiple, small in _ROWS if shape[-1] % multiple == 0)
    return (*shape[:-2], 2, width)


def quantize(source: Path, target: Path, ftype: int) -> None:
    """Write a GGUF file in another `llama_ftype`. llama.cpp can't be interrupted in it."""
    llama_gguf.install()
    import llama_cpp

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = ftype
    parameters.nthread = os.cpu_count() or 1
    status = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(parameters))
    if status != 0:
        raise UserError(tr("llama.cpp couldn't quantize the model."),
                        tr("It says: {message}", message=llama_gguf.last_error() or status),
                        tr("Choose another type, or keep the F16 file."))
