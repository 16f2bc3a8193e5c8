"""JSON values of a text, one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from slmstudio.core.data.row_texts import Piece
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.data.strict_json import NotJson, parse
from slmstudio.core.errors import Problem


def values_of(pieces: Iterator[Piece]) -> Iterator[Raw]:
    """The value of each piece, or what is wrong with it."""
    for piece in pieces:
        if piece.trouble:
            yield Raw(None, piece.line, Problem(piece.trouble, piece.line))
            continue
        try:
            yield Raw(value_of(piece.text), piece.line)
        except NotJson as error:
            yield Raw(None, piece.line, error.problem(piece.line, piece.column))


def value_of(text: bytes) -> Any:
    """As `parse`, by the quick parser where nothing is doubtful.

    That one keeps the last of two values with one key. Each key has a `":` behind it, so that where there are more of
    these than keys, the strict parser has the last word, as it has for everything that the quick one refuses.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return parse(text)
    return value if text.count(b'":') == _keys(value) else parse(text)


def _keys(value: Any) -> int:
    """How many keys a value and what is in it have."""
    inner = value.values() if type(value) is dict else value if type(value) is list else ()
    count = len(value) if type(value) is dict else 0
    for each in inner:
        if type(each) is list or type(each) is dict:
            count += _keys(each)
    return count
