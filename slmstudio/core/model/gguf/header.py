"""A GGUF file's header: metadata and tensors. https://github.com/ggml-org/ggml/blob/master/docs/gguf.md

A header may be many megabytes of vocabulary. It is walked through once, in pieces; strings and numbers that matter are
kept, arrays are passed over, and nothing is believed before it is checked against the file's size.
"""

from __future__ import annotations

import math
import os
import struct
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

from slmstudio.core import files
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.i18n import noop, tr
from slmstudio.core.model.json_files import printable, truncated, what_is

VERSION = 3
"""The newest version that is read; 2 has the same layout."""
NEWEST, NEWEST_KIND, NEWEST_TYPE = 99, 63, 255
"""Higher numbers of a version, a kind of value or a tensor type aren't newer ones: the bytes are garbage."""
MAX_TEXT = 16 * 2**20
"""No name and no chat template is longer, in bytes."""
TENSOR_TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18),
}
"""Name, values in a block and bytes of a block, by ggml's number of the type."""
REMOVED_TYPES = {
    4: ("Q4_2", "Q4_0"), 5: ("Q4_3", "Q4_1"), 31: ("Q4_0_4_4", "Q4_0"), 32: ("Q4_0_4_8", "Q4_0"),
    33: ("Q4_0_8_8", "Q4_0"), 36: ("IQ4_NL_4_4", "IQ4_NL"), 37: ("IQ4_NL_4_8", "IQ4_NL"), 38: ("IQ4_NL_8_8", "IQ4_NL"),
}
"""Types that llama.cpp has read in the past, and what it reads in their place."""
TOKENS, TOKEN_TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
MAX_DIMENSIONS, MAX_NAME = 4, 63
"""The most dimensions of a tensor, and bytes of its name: ggml's own limits."""
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, _ARRAY = 8, 9
DOWNLOAD = noop("Download or make the file again.")
Check = Callable[[dict[str, Any], dict[str, int], int], None]
"""Looks at the scalars, the arrays' lengths and the number of tensors, and raises where the file is useless."""


@dataclass(frozen=True)
class Header:
    """What comes before the tensors' bytes.

    Attributes:
        values: scalars and texts by key.
        lengths: of the arrays, by key.
        kinds: of the arrays' items, by key: ggml's numbers.
        token_types: how many tokens are of which type, by llama.cpp's numbers.
        token_texts: of the tokens that were asked for, by id.
        types: of the tensors, by name: F16 for instance.
        shapes: of the tensors, by name; the dimension that is contiguous in memory comes first.
        bytes_by_type: bytes of all tensors of a type, F16 for instance.
    """

    values: dict[str, Any]
    lengths: dict[str, int]
    kinds: dict[str, int]
    token_types: Counter[int]
    token_texts: dict[int, str]
    types: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    bytes_by_type: Counter[str]
    file_bytes: int


def read_header(path: Path, check: Check = lambda *_: None, token_ids: Collection[int] = ()) -> Header:
    """Read a GGUF file's header, and check that all its tensors are there.

    Args:
        token_ids: whose texts are wanted.

    Raises:
        UserError: no GGUF file, a version or type that isn't known, damaged, truncated, or `check` said so.
    """
    name = printable(path.name)
    if path.exists() and not path.is_file():
        raise UserError(tr("{name} isn't a file.", name=name), tr("A GGUF model is one file."),
                        tr("Choose the file that ends in .gguf."))
    try:
        with open(path, "rb", opener=files.regular) as file:
            size = os.fstat(file.fileno()).st_size
            reader = _Reader(file, size)
            tensors = _read_preamble(reader, name)
            metadata = _read_metadata(reader, token_ids)
            values, lengths, *_ = metadata
            check(values, lengths, tensors)
            shapes, types, bytes_by_type, end = _read_tensors(reader, tensors, _alignment(values))
    except Damaged as error:
        raise UserError(tr("{name} is damaged.", name=name), str(error), tr(DOWNLOAD)) from error
    except _Unknown as error:
        raise UserError(tr("{name} is newer than this program.", name=name), str(error),
                        tr("Update SLM Studio.")) from error
    except _Removed as error:
        tensor, (label, successor) = error.args
        raise UserError(tr("{name} is of a type that no longer exists.", name=name),
                        tr("The tensor {tensor} has the type {label}, which llama.cpp has removed.",
                           tensor=printable(tensor), label=label),
                        tr("Get or make the file quantized to {successor}.", successor=successor)) from error
    except _Short as error:
        raise UserError(tr("{name} is truncated.", name=name), tr("It ends inside its header."),
                        tr(DOWNLOAD)) from error
    except OSError as error:
        raise from_os_error(error, tr("Could not read the GGUF file.")) from error
    if end > size:
        raise UserError(truncated(name, size, end), tr("The end of the file is missing."), tr(DOWNLOAD))
    return Header(*metadata, types, shapes, bytes_by_type, size)


class Damaged(Exception):
    """The header contradicts itself; the text is a sentence."""


class _Unknown(Exception):
    """The header uses something that came after this program; the text is a sentence."""


class _Removed(Exception):
    """A tensor has a type that llama.cpp has removed: the tensor's name, and the type's entry in `REMOVED_TYPES`."""


class _Short(Exception):
    """The file ends inside the header."""


class _Reader:
    """Reads little-endian values from a file, a megabyte at a time, never beyond its end."""

    def __init__(self, file: BinaryIO, size: int):
        self._file, self._size = file, size
        self._buffer, self._at, self._start = b"", 0, 0

    @property
    def position(self) -> int:
        return self._start + self._at

    @property
    def left(self) -> int:
        return self._size - self.position

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._buffer):
            self._fill(count)
        self._at += count
        return self._buffer[self._at - count:self._at]

    def peek(self, count: int) -> bytes:
        """The next bytes, at most `count`, without moving forward."""
        found = self.take(min(count, self.left))
        self._at -= len(found)
        return found

    def skip(self, count: int) -> None:
        if count > self.left:
            raise _Short
        if self._at + count <= len(self._buffer):
            self._at += count
        else:
            self._start, self._buffer, self._at = self.position + count, b"", 0
            self._file.seek(self._start)

    def _fill(self, count: int) -> None:
        if count > self.left:
            raise _Short
        rest = self._buffer[self._at:]
        self._start, self._at = self.position, 0
        self._buffer = rest + self._file.read(max(count, 2**20) - len(rest))
        if len(self._buffer) < count:  # the file was cut while it was read
            raise _Short

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def count(self, item_bytes: int, limit: int = 2**40) -> int:
        """A count of items that take at least `item_bytes` each; `limit` is far above what any model has."""
        count: int = self.number("<Q")
        if count > limit or count * item_bytes > self.left:
            # A cut file promises a little more than it holds; a wrong byte makes the promise absurd.
            raise _Short if count <= limit else Damaged(tr("A length in its header is impossible."))
        return count

    def text(self) -> str:
        return self.take(self.count(1, MAX_TEXT)).decode("utf-8", "replace")


def _read_preamble(reader: _Reader, name: str) -> int:
    """Magic, version and counts; returns the number of tensors and leaves the reader at the number of metadata keys."""
    head = reader.peek(64)
    if head[:4] != b"GGUF":
        if head[:8] in (b"ggjt\x03\0\0\0", b"tjgg\x03\0\0\0") or head[:4] in (b"lmgg", b"fmgg", b"tjgg"):
            raise UserError(tr("{name} is an old GGML file.", name=name), tr("GGUF replaced that format in 2023."),
                            tr("Choose a GGUF file."))
        raise UserError(tr("{name} isn't a GGUF file.", name=name),
                        what_is(name, head) or tr("It doesn't begin with the letters GGUF."),
                        tr("Choose a file that ends in .gguf."))
    reader.skip(4)
    version = reader.number("<I")
    if version & 0xFFFF == 0 and version:
        raise UserError(tr("{name} is a GGUF file for big-endian machines.", name=name), "",
                        tr("Choose the little-endian version of the model."))
    if version > NEWEST:
        raise Damaged(tr("Its header says GGUF version {version:,}, which doesn't exist.", version=version))
    if version > VERSION:
        raise _Unknown(tr("Its GGUF version is {version}; this program reads versions up to {newest}.",
                          version=version, newest=VERSION))
    if version < 2:
        raise UserError(tr("{name} is GGUF version {version}, which is too old.", name=name, version=version),
                        tr("llama.cpp reads version 2 and later."), tr("Choose a newer GGUF file of the model."))
    return reader.count(24, 10**6)  # a tensor's entry takes at least its lengths, its type and its offset


def _read_metadata(reader: _Reader, token_ids: Collection[int]
                   ) -> tuple[dict[str, Any], dict[str, int], dict[str, int], Counter[int], dict[int, str]]:
    """The first five fields of `Header`."""
    values: dict[str, Any] = {}
    lengths: dict[str, int] = {}
    kinds: dict[str, int] = {}
    token_types, token_texts = Counter[int](), dict[int, str]()
    # The number of keys comes right after the number of tensors, whose entries follow the keys.
    for _ in range(reader.count(13, 10**5)):
        key = reader.text()
        if not key:
            raise Damaged(tr("Its header has a key without a name."))
        if key in values or key in lengths:
            raise Damaged(tr("It has the key {key} twice.", key=printable(key)))
        kind = reader.number("<I")
        if kind == _ARRAY:
            lengths[key], kinds[key], numbers, texts = _read_array(
                reader, key == TOKEN_TYPES, token_ids if key == TOKENS else ())
            token_types.update(numbers)
            token_texts |= texts
        elif kind == STRING:
            values[key] = reader.text()
        elif kind in _SCALARS:
            values[key] = reader.number(_SCALARS[kind])
        elif kind > NEWEST_KIND:
            raise Damaged(tr("The value of {key} has the type {kind:,}, which doesn't exist.", key=printable(key),
                             kind=kind))
        else:
            raise _Unknown(tr("The value of {key} has the type {kind}, which isn't supported.", key=printable(key),
                              kind=kind))
    return values, lengths, kinds, token_types, token_texts


def _read_array(reader: _Reader, numbers_matter: bool, texts_at: Collection[int]
                ) -> tuple[int, int, tuple[Any, ...], dict[int, str]]:
    """How many items it has, of what kind, these items if they matter and are numbers, and the wanted ones of texts."""
    kind = reader.number("<I")
    if kind in _SCALARS:
        width = struct.calcsize(_SCALARS[kind])
        count = reader.count(width)
        if numbers_matter and width == 4:
            return count, kind, struct.unpack(f"<{count}{_SCALARS[kind][1]}", reader.take(count * width)), {}
        reader.skip(count * width)
        return count, kind, (), {}
    if kind != STRING:
        raise Damaged(tr("An array in its header has items of type {kind}.", kind=kind))
    count = reader.count(8, 2**24)
    unpack = struct.Struct("<Q").unpack
    texts = {}
    for place in range(count):
        if place in texts_at:
            texts[place] = reader.text()
        else:
            reader.skip(unpack(reader.take(8))[0])
    return count, kind, (), texts


def _alignment(values: dict[str, Any]) -> int:
    alignment = values.get("general.alignment", 32)
    if type(alignment) is not int or alignment <= 0 or alignment & (alignment - 1) or alignment > 2**20:
        raise Damaged(tr("Its alignment isn't a power of two."))
    return alignment


def _read_tensors(reader: _Reader, count: int, alignment: int
                  ) -> tuple[dict[str, tuple[int, ...]], dict[str, str], Counter[str], int]:
    """Walk through the tensors' entries.

    Returns:
        shapes and types by name, bytes by tensor type, and where the last tensor ends in the file.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    types: dict[str, str] = {}
    sizes, extents = Counter[str](), []
    for _ in range(count):
        name = reader.text()
        dimensions = reader.number("<I")
        if dimensions > MAX_DIMENSIONS:
            raise Damaged(tr("The tensor {tensor} has {dimensions} dimensions.", tensor=printable(name),
                             dimensions=dimensions))
        if not name or len(name.encode()) > MAX_NAME:
            raise Damaged(tr("The name of a tensor has {count:,} bytes.", count=len(name.encode())))
        shape = [reader.number("<Q") for _ in range(dimensions)]
        kind, offset = reader.number("<I"), reader.number("<Q")
        if kind > NEWEST_TYPE:
            raise Damaged(tr("The tensor {tensor} has the type {kind:,}, which doesn't exist.", tensor=printable(name),
                             kind=kind))
        if kind in REMOVED_TYPES:
            raise _Removed(name, REMOVED_TYPES[kind])
        if kind not in TENSOR_TYPES:
            raise _Unknown(tr("The tensor {tensor} has the type {kind}, which isn't supported.",
                              tensor=printable(name), kind=kind))
        label, block, block_bytes = TENSOR_TYPES[kind]
        number = math.prod(shape)
        if number > 2**48 or offset > 2**56 or offset % alignment or (shape and shape[0] % block):
            raise Damaged(tr("The entry for the tensor {tensor} is impossible.", tensor=printable(name)))
        if not number:
            raise Damaged(tr("The tensor {tensor} is empty.", tensor=printable(name)))
        size = number // block * block_bytes
        if name in shapes:
            raise Damaged(tr("It has the tensor {tensor} twice.", tensor=printable(name)))
        shapes[name], types[name] = tuple(shape), label
        sizes[label] += size
        extents.append((offset, offset + size))
    start = -(-reader.position // alignment) * alignment
    extents.sort()
    if any(end > begin for (_, end), (begin, _) in pairwise(extents)):
        raise Damaged(tr("Its tensors overlap."))
    return shapes, types, sizes, start + max((end for _, end in extents), default=0)
