"""Child process of the export: base model and adapter into GGUF files of several types, in one pass over the weights.

`python -P -m slmstudio.worker.export.gguf_convert REQUEST.json`, with the converter's folder first on PYTHONPATH. The
request holds base, adapter (or null), name, importance (a file of `worker.export.importance`, or null) and targets, a
list of {"path", "ftype", "weighted"}; the report goes to its "report" path.
No merged model is on the disk or in memory: rows are read, merged, turned into every type, written and forgotten.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.worker.export import gguf_source
from slmstudio.worker.export.gguf_source import GgufSource
from slmstudio.worker.model import gguf_tensors, llama_gguf
from slmstudio.worker.model.base_weights import Array
from slmstudio.worker.runtime import child

# -- Which block format each tensor gets in a quantization type: llama.cpp itself is asked, so that nothing is
# copied.

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


MOST_THREADS = 8


def convert(request: dict[str, Any], report: Callable[..., None]) -> None:
    """Write all files; `report(total_bytes=n)` comes before the first byte of a tensor is written."""
    import torch

    torch.set_num_threads(1)  # the threads here work side by side, each on its own rows
    source = gguf_source.read(Path(request["base"]), Path(request["adapter"]) if request["adapter"] else None,
                              request["name"])
    importance = _importance(request["importance"], source)
    folder = Path(request["report"]).parent
    types = [tensor_types(source, target["ftype"], folder) for target in request["targets"]]
    files = [_GgufFile(Path(target["path"]), source, target["ftype"], kinds, importance if target["weighted"] else {})
             for target, kinds in zip(request["targets"], types, strict=True)]
    report(total_bytes=sum(file.total_bytes for file in files))
    try:
        _write_all(source, files, lambda: child.rest_if_told(request))
    finally:
        for file in files:
            file.close()


def _write_all(source: GgufSource, files: list[_GgufFile], rest: Callable[[], None]) -> None:
    threads = min(os.cpu_count() or 1, MOST_THREADS)
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[list[bytearray]]] = deque()
        for tensor in source.tensors:
            for chunk in tensor.chunks(source.weights):
                rest()
                waiting.append(pool.submit(_turn, chunk, tensor.name, files))
                if len(waiting) > threads:  # a bound on the memory
                    _write(waiting.popleft(), files)
            while waiting:
                _write(waiting.popleft(), files)
            for file in files:
                file.pad()


def _turn(chunk: Callable[[], Array], name: str, files: list[_GgufFile]) -> list[bytearray]:
    rows = chunk()
    done: dict[tuple[int, bool], bytearray] = {}  # types share formats
    parts = []
    for file in files:
        key = (file.types[name], name in file.importance)
        if key not in done:
            done[key] = gguf_tensors.quantize(file.types[name], rows, file.importance.get(name))
        parts.append(done[key])
    return parts


def _write(future: Future[list[bytearray]], files: list[_GgufFile]) -> None:
    for file, data in zip(files, future.result(), strict=True):
        file.out.write(data)


class _GgufFile:
    """One file that is being written: header and key-value pairs at once, then tensor after tensor.

    Attributes:
        types: GGUF name: ggml type.
        importance: GGUF name: mean squares of the inputs; empty if none were measured.
    """

    def __init__(self, path: Path, source: GgufSource, ftype: int, types: dict[str, int],
                 importance: dict[str, Array]):
        import gguf

        kinds = gguf.GGUFValueType
        self.types, self.importance = types, importance
        self._writer = gguf.GGUFWriter(path, source.architecture)
        self._writer.kv_data[0] = {**source.values, "general.file_type": gguf.GGUFValue(ftype, kinds.UINT32)}
        if importance:
            self._writer.add_string("quantize.imatrix.dataset", "the rows that were learned")
            self._writer.add_uint32("quantize.imatrix.entries_count", len(importance))
        self.total_bytes = 0
        for tensor in source.tensors:
            size = tensor.row_count * gguf_tensors.row_bytes(types[tensor.name], tensor.width)
            self._writer.add_tensor_info(tensor.name, tensor.shape, _float32(), size,
                                         gguf.GGMLQuantizationType(types[tensor.name]))
            self.total_bytes += size
        self._writer.write_header_to_file(path=path)
        self._writer.write_kv_data_to_file()
        self._writer.write_ti_data_to_file()
        self.out: BinaryIO = self._writer.fout[0]
        self.pad()

    def pad(self) -> None:
        self._writer.write_padding(self.out, self.out.tell())

    def close(self) -> None:
        self._writer.close()


def _float32() -> Any:
    import numpy as np

    return np.dtype(np.float32)


def _importance(path: str | None, source: GgufSource) -> dict[str, Array]:
    """GGUF name: mean squares of the inputs. Where the converter rearranges rows, columns stay where they are."""
    if path is None:
        return {}
    from safetensors.numpy import load_file

    found = load_file(path)
    return {tensor.name: found[tensor.origin] for tensor in source.tensors
            if tensor.origin in found and found[tensor.origin].shape == (tensor.width,)}


def main(request_file: str) -> int:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    return child.serve(Path(request_file), convert)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
