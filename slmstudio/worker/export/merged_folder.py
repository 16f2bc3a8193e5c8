"""A run as a Hugging Face model folder: base and adapter merged row by row into safetensors, for vLLM and the like."""

from __future__ import annotations

import json
import math
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch

from slmstudio.core import files
from slmstudio.core.model.hub import place
from slmstudio.core.model.weights import INDEX, SINGLE
from slmstudio.worker.model.export_source import MergedWeights

SHARD_BYTES = 4 * 2**30
DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
HOW_TO_TALK = ("chat_template.jinja", "generation_config.json")
"""Files beside an adapter that say how its model is talked to."""
BYTES = {"BF16": 2, "F16": 2, "F32": 4}
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx", ".index.json")

OF_A_RUN = ("manifest.json", "manifest.sha256", "training_args.bin")
"""Files of a run's result that say nothing to other programs: what it was saved with and how."""
_OF_THE_BASE = ("config.json", place.SOURCE, place.RECORD, *OF_A_RUN)
"""Files that aren't copied: the first is written, the next two say where the base is from."""


def write(base: Path, weights: MergedWeights, target: Path, progress: Callable[[int, int], None]) -> None:
    """Write the whole folder into `target`, which exists and is empty.

    Weights keep the base's number format; those unpacked from 4 bits become bf16.

    Args:
        progress: called with bytes written and bytes in all.
    """
    shards = _shards(weights)
    total = sum(_bytes(weights, name) for shard in shards for name in shard)
    done = 0
    index: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        file = SINGLE if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        with open(target / file, "wb") as out:
            for written in _write_shard(out, weights, names):
                done += written
                progress(done, total)
        index.update(dict.fromkeys(names, file))
    if len(shards) > 1:
        files.write_atomically(target / INDEX, files.dump_pretty(
            {"metadata": {"total_size": total}, "weight_map": dict(sorted(index.items()))}))
    for path in base.iterdir():
        if path.is_file() and not path.name.endswith(_WEIGHTS) and path.name not in _OF_THE_BASE:
            shutil.copyfile(path, target / path.name)
    files.write_atomically(target / "config.json", files.dump_pretty(_config(base, weights)))


def add_how_to_talk(adapter: Path, target: Path) -> None:
    """Copy the chat template that an adapter was learned in, and the tokens at which generation ends, over the base's.

    Raises:
        OSError: they can't be copied.
    """
    for name in HOW_TO_TALK:
        if (adapter / name).is_file():
            shutil.copyfile(adapter / name, target / name)


def add_older_names(folder: Path) -> None:
    """Say in the names of transformers 4 too what a model or an adapter says in those of 5, which reads both.

    TGI and other programs still read the older ones. Without them they compute positions from a default, and find
    neither the chat template nor the tokenizer's class.

    Raises:
        OSError: a file can't be written.
    """
    config, named = folder / "config.json", folder / "tokenizer_config.json"
    if found := files.read_json(config):
        if isinstance(text := found.get("text_config"), dict):
            found["text_config"] = {**_older_names(text), **text}
        files.write_atomically(config, files.dump_pretty({**_older_names(found), **found}))
    tokenizer = files.read_json(named) or {}
    if (template := folder / HOW_TO_TALK[0]).is_file():
        tokenizer["chat_template"] = files.read_text(template)
    if tokenizer.get("tokenizer_class") == "TokenizersBackend":
        tokenizer["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(tokenizer.get("extra_special_tokens"), list):  # a dictionary in transformers 4
        tokenizer["additional_special_tokens"] = tokenizer.pop("extra_special_tokens")
    if tokenizer:
        files.write_atomically(named, files.dump_pretty(tokenizer))


def _older_names(config: dict[str, Any]) -> dict[str, Any]:
    rope = config.get("rope_parameters") or {}
    whole, local = rope.get("full_attention", rope), rope.get("sliding_attention") or {}
    older = {name: whole[name] for name in ("rope_theta", "partial_rotary_factor") if name in whole}
    if whole.get("rope_type", "default") != "default":
        older["rope_scaling"] = whole
    if "rope_theta" in local:
        older["rope_local_base_freq"] = local["rope_theta"]
    return {**older, "torch_dtype": config["dtype"]} if "dtype" in config else older


def _config(base: Path, weights: MergedWeights) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(files.read_text(base / "config.json"))
    if config.pop("quantization_config", None):
        config["dtype"] = "bfloat16"
        config.pop("torch_dtype", None)
    # A head that was trained by itself is no longer the embeddings.
    if weights.is_changed("lm_head.weight") and "lm_head.weight" not in weights.base.tensors:
        config["tie_word_embeddings"] = False
    return config


def _format(weights: MergedWeights, name: str) -> str:
    tensor = weights.base.tensors.get(name)
    if tensor is None or name in weights.base.packed or tensor.dtype not in BYTES:
        return "BF16" if weights.base.packed else _most_common(weights)
    return tensor.dtype


def _most_common(weights: MergedWeights) -> str:
    found = [tensor.dtype for tensor in weights.base.tensors.values() if tensor.dtype in BYTES]
    return max(set(found), key=found.count, default="BF16")


def _bytes(weights: MergedWeights, name: str) -> int:
    return math.prod(weights.shape(name)) * BYTES[_format(weights, name)]


def _shards(weights: MergedWeights) -> list[list[str]]:
    shards: list[list[str]] = [[]]
    size = 0
    for name in weights.names:
        length = _bytes(weights, name)
        if shards[-1] and size + length > SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += length
    return shards


def _write_shard(out: BinaryIO, weights: MergedWeights, names: list[str]) -> Iterator[int]:
    """One safetensors file (https://huggingface.co/docs/safetensors, "Format"); yields the bytes of each part."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name in names:
        end = offset + _bytes(weights, name)
        header[name] = {"dtype": _format(weights, name), "shape": list(weights.shape(name)),
                        "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    out.write(struct.pack("<Q", len(text)) + text)
    for name in names:
        dtype = DTYPES[_format(weights, name)]
        for start, stop in weights.chunks(name):
            rows = torch.from_numpy(weights.rows(name, start, stop)).to(dtype)
            data = rows.contiguous().view(torch.uint8).numpy().tobytes()
            out.write(data)
            yield len(data)
