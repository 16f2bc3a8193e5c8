"""Whether a model ever learned to say a token: its row of the head, read from the files by its place.

Vocabularies have reserved tokens whose rows nothing ever trained: they hold almost nothing, or the same for all of
them, so that the model can't tell one from the other. An adapter leaves the head alone, so such a token stays what it
is. The embeddings tell nothing where the head has weights of its own: PyTorch never trains the padding token's row, and
that token often ends a text too.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Collection
from pathlib import Path
from statistics import median
from typing import BinaryIO

from slmstudio.core import files
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.model.safetensors_header import Tensor, read_header
from slmstudio.core.model.weights import Weights, read_weights

SAMPLED = 64
"""Rows, spread over the vocabulary, that show how long a usual one is."""
EMPTY = 0.02
"""A row shorter than this share of the usual one holds nothing: of trained models the shortest rows have a third."""
NEAR = 0.15
"""Distance of two rows, as a share of their length, below which a base model hardly tells one from the other. In Gemma
3 270M, 4,254 special tokens are nearer than that to the end of a turn, the nearest at 0.10, and none to EOS (1.16). Of
models that chat, SmolLM2 has 0.14 there."""
_FORMATS = {"F32": 4, "F16": 2, "BF16": 2}


def untrained(folder: Path, tokens: Collection[int], others: Collection[int], *, only_pretrained: bool = False
              ) -> set[int]:
    """Those of `tokens` whose row of the head is empty, or equal to the row of one of the `others`.

    Args:
        tokens: ids that are asked about.
        others: ids of all special tokens, the asked ones included.
        only_pretrained: whether the model was never taught to chat. Then a row that is nearly another's is untrained
            too; of a model that chats, the end of a turn may have been learned by moving it so little.

    Returns:
        Nothing where the weights are packed or can't be read: then nobody knows, and nothing is said.
    """
    problems: list[Problem] = []
    found = read_weights(folder, problems)
    name = _head(found) if found is not None else None
    if found is None or name is None:
        return set()
    try:
        file = next(file for file in found.files if name in read_header(file))
        with open(file, "rb", opener=files.regular) as opened:
            return _in_table(opened, found.tensors[name], tokens, others, NEAR if only_pretrained else 0.0)
    except (OSError, UserError, struct.error):
        return set()


def _head(found: Weights) -> str | None:
    """Name of the head's weights, which may be the embeddings'; None if they aren't plain numbers."""
    embedding = found.embedding()
    name = found.head() or next((name for name, tensor in found.tensors.items() if tensor is embedding), None)
    table = found.tensors[name] if name is not None else None
    return name if table is not None and table.dtype in _FORMATS and len(table.shape) == 2 else None


def _in_table(file: BinaryIO, table: Tensor, tokens: Collection[int], others: Collection[int], near: float) -> set[int]:
    rows, width = table.shape
    size = width * _FORMATS[table.dtype]

    def row(number: int) -> bytes:
        file.seek(table.offset + number * size, os.SEEK_SET)
        return file.read(size)

    def length(row: bytes) -> float:
        return math.hypot(*_values(row, table.dtype))

    def alike(one: bytes, other: bytes) -> bool:
        return one == other or (near > 0 and (
            math.dist(_values(one, table.dtype), _values(other, table.dtype)) < near * length(one)))

    sample = {number * rows // SAMPLED for number in range(SAMPLED)}
    usual = median(length(row(number)) for number in sample)
    if not usual > 0:  # weights of zeros, or no numbers: nothing was trained at all
        return set()
    # What fills a table up behind the last token is as untrained as a row can be.
    known = [(number, row(number)) for number in {*others, *tokens, *range(max(0, rows - 4), rows)} if number < rows]
    return {token for token in tokens if token < rows and (
        length(mine := row(token)) < EMPTY * usual
        or any(other != token and alike(mine, theirs) for other, theirs in known))}


def _values(row: bytes, dtype: str) -> tuple[float, ...]:
    if dtype == "BF16":  # the upper half of a float32
        wide = bytearray(2 * len(row))
        wide[2::4], wide[3::4] = row[0::2], row[1::2]
        row = bytes(wide)
    letter = "e" if dtype == "F16" else "f"
    return struct.unpack(f"<{len(row) // struct.calcsize(letter)}{letter}", row)
