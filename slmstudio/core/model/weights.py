"""The weights of a model folder: its safetensors files together, with their index, read from the headers alone.

Layout of a file (https://huggingface.co/docs/safetensors, "Format"): the length of the header as u64 little-endian, the
header as JSON, then the bytes of the tensors without gaps.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import struct
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from slmstudio.core import files
from slmstudio.core.errors import Problem, UserError, from_os_error
from slmstudio.core.i18n import noop, ntr, tr
from slmstudio.core.model.json_files import and_more, printable, read_json_object, reported, truncated, what_is

MAX_HEADER = 6 * 2**20
"""The largest header, in bytes. The format allows 100 MB; that of a model which can be trained here has below 1 MB."""
MAX_TENSORS = 80_000
"""The most tensors of a model, all files together."""
MAX_DIMENSIONS = 8
BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
        "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64,
        "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
"""Bits of one value, by safetensors' name of the number format."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file.

    Attributes:
        dtype: its number format, safetensors' name.
        offset, file: of its first byte, and which file that is; known where it was read from one.
    """

    dtype: str
    shape: tuple[int, ...]
    offset: int = 0
    file: Path = field(default=Path(), repr=False, compare=False)

    @property
    def values(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return (self.values * BITS[self.dtype] + 7) // 8


def read_header(path: Path) -> dict[str, Tensor]:
    """The tensors of one safetensors file, after checking that the file holds all of them.

    Raises:
        UserError: it can't be read, isn't a safetensors file, is truncated, or contradicts itself.
    """
    try:
        with open(path, "rb", opener=files.regular) as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            head = start + file.read(64)
            # The JSON object begins right after the length; anything else is another kind of file.
            if length < 2 or head[8:9] != b"{":
                raise UserError(what_is(path.name, head) or tr("{file} isn't a safetensors file: its header is wrong.",
                                                               file=path.name))
            if length > MAX_HEADER:
                raise UserError(tr("{file} isn't a safetensors file of a model: its header claims {length:,} bytes, "
                                   "and no model needs more than {most:,}.", file=path.name, length=length,
                                   most=MAX_HEADER))
            if 8 + length > size:
                raise UserError(tr("{file} is truncated: it ends inside its header.", file=path.name))
            file.seek(8)
            header = json.loads(file.read(length), object_pairs_hook=_without_repeats)
    except OSError as error:
        raise from_os_error(error, tr("Could not read {file}.", file=path.name)) from error
    except _Repeated as error:
        raise UserError(tr("{file} is damaged: its header has {tensor} twice.", file=path.name,
                           tensor=printable(str(error)))) from error
    except (ValueError, RecursionError) as error:
        raise UserError(tr("{file} is damaged: its header isn't JSON.", file=path.name)) from error
    if not isinstance(header, dict):
        raise UserError(tr("{file} is damaged: its header isn't a JSON object.", file=path.name))
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise UserError(tr("{file} lists {tensors:,} tensors. No model that can be trained here has more than "
                           "{most:,}.", file=path.name, tensors=len(header), most=MAX_TENSORS))
    tensors, ends = {}, []
    for name, entry in header.items():
        tensors[name], begin, end = _tensor(path, name, entry, 8 + length)
        ends.append((begin, end))
    _check_extents(path.name, sorted(ends), size - 8 - length, 8 + length)
    return tensors


class _Repeated(ValueError):
    """A JSON object has a key twice."""


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Which of two tensors with one name is meant, each library would answer in its own way."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _Repeated(Counter(key for key, _ in pairs).most_common(1)[0][0])
    return value


def _tensor(path: Path, name: str, entry: Any, data_start: int) -> tuple[Tensor, int, int]:
    """Read one entry of a header: the tensor, and where its bytes begin and end behind `data_start`."""
    damaged = UserError(tr("{file} is damaged: the header's entry for {tensor} is wrong.", file=path.name,
                           tensor=printable(name)))
    if not isinstance(entry, dict):
        raise damaged
    dtype, shape, extent = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if isinstance(dtype, str) and dtype not in BITS:
        raise UserError(tr("{file} uses the number format {format}, which this program doesn't know.", file=path.name,
                           format=printable(dtype)))
    if not (isinstance(dtype, str) and _are_sizes(shape, MAX_DIMENSIONS) and _are_sizes(extent, 2)
            and len(extent) == 2):
        raise damaged
    tensor = Tensor(dtype, tuple(shape), data_start + extent[0], path)
    if extent[1] - extent[0] != tensor.bytes:
        raise damaged
    if not tensor.values:
        raise UserError(tr("{file} is damaged: its tensor {tensor} is empty.", file=path.name, tensor=printable(name)))
    return tensor, extent[0], extent[1]


def _are_sizes(value: Any, most: int) -> TypeGuard[list[int]]:
    return (isinstance(value, list) and len(value) <= most
            and all(type(item) is int and 0 <= item < 2**63 for item in value))


def _check_extents(file: str, extents: list[tuple[int, int]], held: int, before: int) -> None:
    """The tensors must be one after the other, from the first byte after the header to the last of the file."""
    reached = 0
    for begin, end in extents:
        if begin != reached:
            raise UserError(tr("{file} is damaged: its tensors overlap, or there is a gap between them.", file=file))
        reached = end
    if reached > held:
        raise UserError(truncated(file, before + held, before + reached))
    if reached < held:
        raise UserError(ntr("{file} is damaged: {n:,} byte follows the last tensor.",
                            "{file} is damaged: {n:,} bytes follow the last tensor.", held - reached, file=file))


# -- Tells two base models of the same architecture apart without reading all of their weights.

SAMPLES = 64
SAMPLE_BYTES = 16 * 1024


def fingerprint(folder: Path) -> str | None:
    """SHA-256 over samples of a model's safetensors files, or None if there are none.

    Names don't count, so a copied or renamed folder has the same one. Training changes weights everywhere, so the
    samples, a megabyte of each file from its first byte to its last, differ from those of another version.

    Raises:
        OSError: a file can't be read.
    """
    weights = sorted(folder.glob("*.safetensors"))
    digest = hashlib.sha256()
    for path in weights:
        with open(path, "rb", opener=files.regular) as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(size.to_bytes(8, "little"))
            last = max(0, size - SAMPLE_BYTES)
            for place in sorted({last * number // (SAMPLES - 1) for number in range(SAMPLES)}):
                file.seek(place)
                digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest() if weights else None


MAX_FILES = 500
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
"""Endings of weight files that hold Python pickles."""
_INSTEAD = {
    PICKLES: noop("The weights are pickle files ({files}). A pickle can run code when it is opened, so this program "
                  "opens none. Choose a version of the model with safetensors files, or convert it to safetensors."),
    (".safetensors",): noop("There is neither {single} nor {index}, only {files}. Shards need their index."),
    (".gguf",): noop("The folder contains GGUF files ({files}) and no safetensors. GGUF is for running a model: "
                     "import it, or choose the folder it was made from."),
    (".incomplete", ".part", ".partial", ".crdownload", ".aria2"): noop(
        "The download is incomplete ({files}). Complete it, or choose another model."),
}
"""By the endings of what is there instead of weights: what is said about it."""
# What quantised layers and old checkpoints store beside the parameters: scales, lookup tables, masks.
_NOT_PARAMETERS = re.compile(
    r"\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\..*|SCB|weight_format|inv_freq|masked_bias)$")
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")


@dataclass(frozen=True)
class Weights:
    """All tensors of a model folder.

    Attributes:
        tensors: by name, each once, however many files there are.
    """

    tensors: dict[str, Tensor]
    disk_bytes: int

    def parameters(self, tied: bool) -> int:
        """How many parameters there are. A head that is tied to the embeddings counts once.

        bitsandbytes packs two 4-bit values in a byte of a flat U8 tensor, beside which it stores ".absmax" and more:
        that tensor counts twice its bytes, and what is beside it not at all.
        """
        total = 0
        twin = self.head() if tied and self.embedding() else None
        for name, tensor in self.tensors.items():
            mask = name.endswith("attn.bias") and len(tensor.shape) == 4
            if mask or name == twin or _NOT_PARAMETERS.search(name):
                continue
            total += tensor.values * (2 if self._is_packed(name, tensor) else 1)
        return total

    def _is_packed(self, name: str, tensor: Tensor) -> bool:
        return tensor.dtype == "U8" and f"{name}.absmax" in self.tensors

    def dtype(self) -> str:
        """The number format that holds most bytes, in the field's short names: bf16, fp16, fp32, nf4, int8 ..."""
        sizes: Counter[str] = Counter()
        for name, tensor in self.tensors.items():
            if not _NOT_PARAMETERS.search(name):
                sizes["packed" if self._is_packed(name, tensor) else tensor.dtype] += tensor.bytes
        if not sizes:
            return "none"
        most = sizes.most_common(1)[0][0]
        if most == "packed":
            return "fp4" if any(name.endswith("bitsandbytes__fp4") for name in self.tensors) else "nf4"
        return {"BF16": "bf16", "F16": "fp16", "F32": "fp32", "F64": "fp64", "I8": "int8"}.get(most, most.lower())

    def embedding(self) -> Tensor | None:
        """The table of token embeddings: rows of the vocabulary, columns of the hidden size."""
        for ending in ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight"):
            for name, tensor in self.tensors.items():
                if name.endswith(ending) and len(tensor.shape) == 2 and "vision" not in name and "audio" not in name:
                    return tensor
        return None

    def head(self) -> str | None:
        """The name of the head's own weight; None when it has none and uses the embeddings."""
        return next((name for name in self.tensors if name.endswith(("lm_head.weight", "embed_out.weight"))), None)

    def layers(self) -> int | None:
        """How many decoder layers have weights; None if the names don't tell."""
        found = {int(match[1]) for name in self.tensors
                 if "vision" not in name and "audio" not in name and (match := _LAYER.search(name))}
        return len(found) or None


def read_weights(folder: Path, problems: list[Problem]) -> Weights | None:
    """All tensors of a model folder; what is wrong goes to `problems`, all of it.

    As transformers does, the one file `model.safetensors` is taken before the shards that an index names.

    Returns:
        None if a file is missing or wrong.
    """
    count = len(problems)
    listed = None if (folder / SINGLE).is_file() else _index(folder, problems)
    names = [SINGLE] if listed is None and len(problems) == count else sorted(set((listed or {}).values()))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        problems.append(Problem(ntr("{n} of {all} weight files is missing: {files}.",
                                    "{n} of {all} weight files are missing: {files}.", len(missing), all=len(names),
                                    files=", ".join(missing))))
    held: dict[str, dict[str, Tensor]] = {}
    size = 0
    for name in names:
        if name in missing:
            continue
        try:
            held[name] = read_header(folder / name)
            size += (folder / name).stat().st_size
        except UserError as error:
            problems.append(Problem(error.what))
        if sum(map(len, held.values())) > MAX_TENSORS:
            problems.append(Problem(tr("The weight files list more than {most:,} tensors. No model that can be "
                                       "trained here has that many.", most=MAX_TENSORS)))
            return None
    if listed is not None and len(problems) == count:
        _compare_with_index(listed, held, problems)
    tensors = {name: tensor for each in held.values() for name, tensor in each.items()}
    if len(problems) == count and not tensors:
        problems.append(Problem(tr("The weight files contain no tensors.")))
    return Weights(tensors, size) if len(problems) == count else None


def _index(folder: Path, problems: list[Problem]) -> dict[str, str] | None:
    """Which shard holds which tensor, as the index says; or None and the reason why it can't be used."""
    if not (folder / INDEX).is_file():
        problems.append(Problem(_why_no_weights(folder)))
        return None
    index = reported(problems, read_json_object, folder / INDEX)
    if index is None:
        return None
    listed = index.get("weight_map")
    if not isinstance(listed, dict) or not listed or not all(isinstance(name, str) for name in listed.values()):
        problems.append(Problem(tr("{index} doesn't say which file contains which tensor.", index=INDEX)))
        return None
    names = sorted(set(listed.values()))
    # An index may name files of its own folder only, and nothing that a library would unpickle.
    wrong = [name for name in names if not re.fullmatch(r"[\w.\-]+\.safetensors", name)]
    if wrong:
        problems.append(Problem(tr("{index} names files that aren't safetensors files in this folder: {files}.",
                                   index=INDEX, files=", ".join(printable(name) for name in wrong[:5]))))
    if len(names) > MAX_FILES:
        problems.append(Problem(tr("{index} names {count:,} files. No model that can be trained here has more than "
                                   "{most}.", index=INDEX, count=len(names), most=MAX_FILES)))
        return None
    metadata = index.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    if total is not None and not (type(total) in (int, float) and 0 < total < 2**60):
        problems.append(Problem(tr("{index} gives an impossible total size: {size}.", index=INDEX,
                                   size=printable(str(total), 40))))
    return {tensor: name for tensor, name in listed.items() if name not in wrong}


def _compare_with_index(listed: dict[str, str], held: dict[str, dict[str, Tensor]], problems: list[Problem]) -> None:
    """The index must name each tensor once, in the file that holds it, and no other."""
    places: dict[str, list[str]] = {}
    for file, tensors in held.items():
        for tensor in tensors:
            places.setdefault(tensor, []).append(file)
    twice = [tensor for tensor, files in places.items() if len(files) > 1]
    absent = [tensor for tensor in listed if tensor not in places]
    moved = [tensor for tensor, file in listed.items() if places.get(tensor, [file]) != [file] and tensor not in twice]
    unknown = [tensor for tensor in places if tensor not in listed]

    def shown(found: list[str]) -> str:
        return ", ".join(printable(name) for name in found[:3]) + (", …" if len(found) > 3 else "")

    for found, sentence in (
        (twice, ntr("{n:,} tensor is in two weight files at once: {names}.",
                    "{n:,} tensors are in two weight files at once: {names}.", len(twice), names=shown(twice))),
        (absent, ntr("{index} names {n:,} tensor that no weight file contains: {names}.",
                     "{index} names {n:,} tensors that no weight file contains: {names}.", len(absent), index=INDEX,
                     names=shown(absent))),
        (moved, ntr("{index} names the wrong file for {n:,} tensor: {names}.",
                    "{index} names the wrong file for {n:,} tensors: {names}.", len(moved), index=INDEX,
                    names=shown(moved))),
        (unknown, ntr("The weight files contain {n:,} tensor that {index} doesn't list: {names}.",
                      "The weight files contain {n:,} tensors that {index} doesn't list: {names}.", len(unknown),
                      index=INDEX, names=shown(unknown))),
    ):
        if found:
            problems.append(Problem(sentence))


def _why_no_weights(folder: Path) -> str:
    try:
        present = sorted(printable(path.name) for path in folder.iterdir() if path.is_file())
    except OSError as error:
        return tr("The folder can't be read: {reason}.", reason=error.strerror or error)
    for endings, sentence in _INSTEAD.items():
        if found := [name for name in present if name.lower().endswith(endings)]:
            return tr(sentence, files=and_more(found, 3), single=SINGLE, index=INDEX)
    return tr("There are no weights: both {single} and {index} are missing.", single=SINGLE, index=INDEX)
