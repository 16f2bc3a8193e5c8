"""What one safetensors file holds, read from its header alone: names, shapes and number formats, never the weights.

Layout (https://huggingface.co/docs/safetensors, "Format"): the length of the header as u64 little-endian, the header as
JSON, then the bytes of the tensors without gaps.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from slmstudio.core import files
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.model.json_files import printable, truncated, what_is

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
        tensors[name], begin, end = _tensor(path.name, name, entry, 8 + length)
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


def _tensor(file: str, name: str, entry: Any, data_start: int) -> tuple[Tensor, int, int]:
    """Read one entry of a header: the tensor, and where its bytes begin and end behind `data_start`."""
    damaged = UserError(tr("{file} is damaged: the header's entry for {tensor} is wrong.", file=file,
                           tensor=printable(name)))
    if not isinstance(entry, dict):
        raise damaged
    dtype, shape, extent = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if isinstance(dtype, str) and dtype not in BITS:
        raise UserError(tr("{file} uses the number format {format}, which this program doesn't know.", file=file,
                           format=printable(dtype)))
    if not (isinstance(dtype, str) and _are_sizes(shape, MAX_DIMENSIONS) and _are_sizes(extent, 2)
            and len(extent) == 2):
        raise damaged
    tensor = Tensor(dtype, tuple(shape), data_start + extent[0])
    if extent[1] - extent[0] != tensor.bytes:
        raise damaged
    if not tensor.values:
        raise UserError(tr("{file} is damaged: its tensor {tensor} is empty.", file=file, tensor=printable(name)))
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
