"""What safetensors files hold, read from their headers alone: names, shapes and number formats, never the weights.

Layout of a file (https://huggingface.co/docs/safetensors, "Format"): the header's length as u64 little-endian, the
header as JSON, then the tensors' bytes without gaps.
"""

from __future__ import annotations

import json
import math
import os
import re
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from slmstudio.core.errors import Problem, UserError, from_os_error
from slmstudio.core.units import format_bytes

MAX_HEADER = 100_000_000
"""The format's own limit on the header, in bytes."""
MAX_JSON = 64 * 2**20
"""No configuration, index or template file is larger, in bytes."""
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
        "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64,
        "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
"""Bits of one value, by safetensors' name of the number format."""
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
"""Endings of weight files that hold Python pickles."""
_SIGNATURES = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself: run `git lfs pull` in that folder"),
    (b"GGUF", "a GGUF file"),
    (b"PK\x03\x04", "a zip archive, as PyTorch's pickle files are"),
    (b"\x80\x02", "a Python pickle"),
    (b"<!doctype", "a web page, as a failed download leaves"),
    (b"<html", "a web page, as a failed download leaves"),
)
# What quantised layers and old checkpoints store beside the parameters: scales, lookup tables, masks.
_NOT_PARAMETERS = re.compile(
    r"\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\..*|SCB|weight_format|inv_freq|masked_bias)$")
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file.

    Attributes:
        dtype: its number format, safetensors' name.
        offset: of its first byte in the file; known where it was read from one.
    """

    dtype: str
    shape: tuple[int, ...]
    offset: int = 0

    @property
    def values(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return (self.values * BITS[self.dtype] + 7) // 8


@dataclass(frozen=True)
class Weights:
    """All tensors of a model folder.

    Attributes:
        tensors: by name, each once, however many files there are.
        files: the files that hold them.
        disk_bytes: their size together.
    """

    tensors: dict[str, Tensor]
    files: tuple[Path, ...]
    disk_bytes: int

    def parameters(self, tied: bool) -> int:
        """How many parameters there are. A head that is tied to the embeddings counts once.

        bitsandbytes packs two 4-bit values in a byte of a flat U8 tensor, beside which it stores ".absmax" and more:
        that tensor counts twice its bytes, and what lies beside it not at all.
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
        """How many decoder layers have weights; None where the names do not tell."""
        found = {int(match[1]) for name in self.tensors
                 if "vision" not in name and "audio" not in name and (match := _LAYER.search(name))}
        return len(found) or None


def what_is(head: bytes) -> str:
    """Say what a file that starts with `head` looks like, or "" for nothing known."""
    if not head:
        return "empty"
    start = head.lstrip()[:64].lower()
    return next((name for mark, name in _SIGNATURES if start.startswith(mark.lower())), "")


def truncated(size: int, expected: int) -> str:
    """"truncated: 123 MB of 270 MB", exact where rounding would hide the difference."""
    short, whole = format_bytes(size), format_bytes(expected)
    if short == whole:
        short, whole = f"{size:,}", f"{expected:,} bytes"
    return f"truncated: {short} of {whole}"


def read_json_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file of bounded size.

    Raises:
        UserError: it cannot be read, is too large, or is no JSON object; `what` names the file.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_JSON + 1)
    except OSError as error:
        raise from_os_error(error, f"read {path.name}") from error
    if len(data) > MAX_JSON:
        raise UserError(f"{path.name} is larger than {format_bytes(MAX_JSON)}.")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        looks = what_is(data[:64])
        known = isinstance(error, json.JSONDecodeError) and not looks
        where = f"It breaks at line {error.lineno}, column {error.colno}." if known else ""  # type: ignore[union-attr]
        raise UserError(f"{path.name} is {looks or 'no JSON'}.", where) from error
    if not isinstance(value, dict):
        raise UserError(f"{path.name} is no JSON object.")
    return value


def read_header(path: Path) -> dict[str, Tensor]:
    """The tensors of one safetensors file, after checking that the file holds all of them.

    Raises:
        UserError: it cannot be read, is no safetensors file, is truncated, or contradicts itself.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            head = start + file.read(64)
            # The JSON object begins right after the length; anything else is another kind of file.
            if not 2 <= length <= MAX_HEADER or head[8:9] != b"{":
                looks = what_is(head) or "no safetensors file: its header is not one"
                raise UserError(f"{path.name} is {looks}.")
            if 8 + length > size:
                raise UserError(f"{path.name} is truncated: it ends inside its header.")
            file.seek(8)
            header = json.loads(file.read(length))
    except OSError as error:
        raise from_os_error(error, f"read {path.name}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path.name} is damaged: its header is no JSON.") from error
    if not isinstance(header, dict):
        raise UserError(f"{path.name} is damaged: its header is no JSON object.")
    header.pop("__metadata__", None)
    tensors, ends = {}, []
    for name, entry in header.items():
        tensors[name], begin, end = _tensor(path.name, name, entry, 8 + length)
        ends.append((begin, end))
    _check_extents(path.name, sorted(ends), size - 8 - length, 8 + length)
    return tensors


def _tensor(file: str, name: str, entry: Any, data_start: int) -> tuple[Tensor, int, int]:
    """Read one entry of a header: the tensor, and where its bytes begin and end behind `data_start`."""
    damaged = UserError(f"{file} is damaged: the header's entry for {printable(name)} is wrong.")
    if not isinstance(entry, dict):
        raise damaged
    dtype, shape, extent = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if isinstance(dtype, str) and dtype not in BITS:
        raise UserError(f"{file} uses the number format {printable(dtype)}, which this program does not know.")
    if not (isinstance(dtype, str) and _are_sizes(shape, 16) and _are_sizes(extent, 2) and len(extent) == 2):
        raise damaged
    tensor = Tensor(dtype, tuple(shape), data_start + extent[0])
    if extent[1] - extent[0] != tensor.bytes:
        raise damaged
    return tensor, extent[0], extent[1]


def _are_sizes(value: Any, most: int) -> TypeGuard[list[int]]:
    return (isinstance(value, list) and len(value) <= most
            and all(type(item) is int and 0 <= item < 2**63 for item in value))


def _check_extents(file: str, extents: list[tuple[int, int]], held: int, before: int) -> None:
    """The tensors must lie one after the other, from the first byte after the header to the last of the file."""
    reached = 0
    for begin, end in extents:
        if begin != reached:
            raise UserError(f"{file} is damaged: its tensors overlap, or there is a gap between them.")
        reached = end
    if reached > held:
        raise UserError(f"{file} is {truncated(before + held, before + reached)}.")
    if reached < held:
        raise UserError(f"{file} is damaged: {held - reached:,} bytes follow the last tensor.")


def read_weights(folder: Path, problems: list[Problem]) -> Weights | None:
    """All tensors of a model folder; what is wrong goes to `problems`, all of it.

    As transformers does, the one file `model.safetensors` is taken before the shards that an index names.

    Returns:
        None where a file is missing or wrong.
    """
    count = len(problems)
    names = [SINGLE] if (folder / SINGLE).is_file() else _shards(folder, problems)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        listed = ", ".join(missing)
        problems.append(Problem(f"{len(missing)} of {len(names)} weight files are missing: {listed}."))
    tensors: dict[str, Tensor] = {}
    size = 0
    for name in names:
        if name in missing:
            continue
        try:
            tensors.update(read_header(folder / name))
            size += (folder / name).stat().st_size
        except UserError as error:
            problems.append(Problem(error.what))
    if len(problems) == count and not tensors:
        problems.append(Problem("The weight files hold no tensor."))
    return Weights(tensors, tuple(folder / name for name in names), size) if len(problems) == count else None


def _shards(folder: Path, problems: list[Problem]) -> list[str]:
    """The shards that the index names, or nothing and the reason why there are none."""
    if not (folder / INDEX).is_file():
        problems.append(Problem(_why_no_weights(folder)))
        return []
    try:
        index = read_json_object(folder / INDEX).get("weight_map")
    except UserError as error:
        problems.append(Problem(f"{error.what} {error.why}".strip()))
        return []
    if not isinstance(index, dict) or not index or not all(isinstance(name, str) for name in index.values()):
        problems.append(Problem(f"{INDEX} does not say which file holds which tensor."))
        return []
    names = sorted(set(index.values()))
    # An index may name files of its own folder only, and nothing that a library would unpickle.
    wrong = [name for name in names if not re.fullmatch(r"[\w.\-]+\.safetensors", name)]
    if wrong:
        problems.append(Problem(f"{INDEX} names files that are no safetensors files of this folder: "
                                + ", ".join(printable(name) for name in wrong[:5]) + "."))
    return [name for name in names if name not in wrong]


def _why_no_weights(folder: Path) -> str:
    try:
        present = sorted(printable(path.name) for path in folder.iterdir() if path.is_file())
    except OSError as error:
        return f"The folder cannot be read: {error.strerror or error}."
    wanted = f"{SINGLE} or {INDEX}"
    for endings, sentence in (
        (PICKLES, "The weights are pickle files ({}). A pickle can run code when it is opened, so this program opens "
                  "none. Choose a version of the model with safetensors files, or convert it to safetensors."),
        ((".safetensors",), f"There is no {wanted}, only {{}}. Shards need their index."),
        ((".gguf",), "The folder holds a GGUF file ({}) and no safetensors. GGUF is for running a model: import it, or "
                     "choose the folder it was made from."),
        ((".incomplete", ".part", ".partial", ".crdownload", ".aria2"),
         "The download is not complete ({}). Download the model again."),
    ):
        found = [name for name in present if name.lower().endswith(endings)]
        if found:
            return sentence.format(", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else ""))
    return f"There are no weights: neither {SINGLE} nor {INDEX} is there."


def printable(text: str, limit: int = 80) -> str:
    """`text` from a file, short and safe to print: no control characters, no half characters."""
    clean = "".join(c if c.isprintable() else "?" for c in text[:limit])
    return clean + ("…" if len(text) > limit else "")
