"""Child process of the export: the adapter alone as a GGUF LoRA, to be put on a GGUF of the base at any strength.

`python -P -m slmstudio.worker.export.gguf_lora REQUEST.json`, with the converter's folder first on PYTHONPATH. The
request holds base, adapter, target and name. llama.cpp reads it with `--lora`, Ollama with ADAPTER, the chat with
its slider. Format: llama.cpp's convert_lora_to_gguf.py and src/llama-adapter.cpp.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from slmstudio.worker.export import gguf_source
from slmstudio.worker.model.export_source import Adapter
from slmstudio.worker.runtime import child


def convert(request: dict[str, Any], report: Callable[..., None]) -> None:
    """Write request["target"].

    The file knows one alpha for all tensors and divides it by each tensor's rank; what differs is put into B.

    Raises:
        UserError: the adapter does more than add B · A, or doesn't belong to the base.
    """
    import gguf

    Adapter(Path(request["adapter"])).low_rank()  # whether it can be one, before the base is read
    source = gguf_source.read(Path(request["base"]), Path(request["adapter"]), request["name"])
    adapter = source.weights.adapter
    assert adapter is not None
    low_rank = adapter.low_rank()
    writer = gguf.GGUFWriter(Path(request["target"]), source.architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string("adapter.type", "lora")
    writer.add_name(request["name"])
    alpha = float(max(a.shape[0] for a, _ in low_rank.values()))
    writer.add_float32("adapter.lora.alpha", alpha)
    arrays = []
    for name, (a, b) in sorted(low_rank.items()):
        new_name, changed = source.modify(name, b * (adapter.scales[name] * a.shape[0] / alpha))
        for ending, tensor in ((".lora_a", a), (".lora_b", changed)):
            arrays.append(array := np.ascontiguousarray(tensor.float().numpy()))
            writer.add_tensor_info(new_name + ending, array.shape, array.dtype, array.nbytes)
    report(total_bytes=sum(array.nbytes for array in arrays))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    out = writer.fout[0]
    for array in arrays:
        writer.write_padding(out, out.tell())
        out.write(array.tobytes())  # numpy's tofile wouldn't say why it failed
    writer.write_padding(out, out.tell())
    writer.close()


if __name__ == "__main__":
    sys.exit(child.serve(Path(sys.argv[1]), convert))
