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
            value = value_of(piece.text)
        except NotJson as error:
            yield Raw(None, piece.line, problem_of(error, piece.line, piece.column))
        else:
            yield Raw(value, piece.line)


def problem_of(error: NotJson, line: int, column: int = 1) -> Problem:
    """What is wrong with a text that begins at that place of a file."""
    at = error.column
    if at is not None and error.line == 1:
        at += column - 1
    return Problem(error.reason, line + error.line - 1, at, error.key)


def value_of(text: bytes) -> Any:
    """The JSON value in `text`, by the quick parser where nothing is doubtful.

    That one keeps the last of two values with one key. Each key has a `":` behind it, so that where there are more of
    these than keys, the strict parser has the last word, as it has for everything that the quick one refuses.

    Raises:
        NotJson: as `strict_json.parse`.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return parse(text)
    return value if text.count(b'":') == _keys(value) else parse(text)


def _keys(value: Any) -> int:
    if type(value) is dict:
        count = len(value)
        for each in value.values():
            if type(each) is list or type(each) is dict:
                count += _keys(each)
        return count
    count = 0
    if type(value) is list:
        for each in value:
            if type(each) is list or type(each) is dict:
                count += _keys(each)
    return count
