"""Reads one JSON value strictly, and says in plain words what is wrong with it and where."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, NoReturn

from slmstudio.core.errors import Problem
from slmstudio.core.i18n import tr
from slmstudio.core.paths import resources

_SURROGATE = re.compile(rb"\xed[\xa0-\xbf]")
_TEXT_OR_CONSTANT = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|(-?Infinity|NaN)', re.DOTALL)
_FOREIGN_WORDS = {"True": "true", "False": "false", **dict.fromkeys(
    ("None", "undefined", "nan", "inf", "NaN", "Infinity", "-Infinity"), "null")}


class NotJson(Exception):
    """A text isn't a JSON value.

    Attributes:
        reason: what is wrong, as a sentence for people.
        line: 1-based line within the text.
        column: 1-based column in that line, in characters (in bytes where the text isn't valid UTF-8);
            None if the fault has no single place.
        key: the JSON key concerned, when there is one.
    """

    def __init__(self, reason: str, line: int = 1, column: int | None = None, key: str | None = None):
        super().__init__(reason)
        self.reason, self.line, self.column, self.key = reason, line, column, key

    def problem(self, line: int, column: int = 1) -> Problem:
        """What is wrong with a text that begins at that place of a file."""
        at = self.column + column - 1 if self.column is not None and self.line == 1 else self.column
        return Problem(self.reason, line + self.line - 1, at, self.key)


def parse(data: bytes) -> Any:
    """The value in `data`. Numbers come as floats: no row needs them, and huge ones must not take time.

    Raises:
        NotJson: no valid UTF-8, no valid JSON, NaN or Infinity, a key that occurs twice, or nesting that is too deep.
    """
    text = decode(data)
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise NotJson(_reason(error), error.lineno, error.colno) from error
    except _Constant as error:
        at = next(match.start() for match in _TEXT_OR_CONSTANT.finditer(text) if match[1])
        found = json.JSONDecodeError("Expecting value", text, at)
        raise NotJson(_reason(found), found.lineno, found.colno) from error
    except RecursionError as error:
        raise NotJson(tr("the brackets are nested too deeply.")) from error


def decode(data: bytes) -> str:
    """The text in `data`.

    Raises:
        NotJson: the text isn't valid UTF-8.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        at = error.start
        reason = tr("there is half a character here (a surrogate without its partner).") if _SURROGATE.match(
            data, at) else tr("this isn't valid UTF-8 text: byte {byte} doesn't belong here (the column counts bytes). "
                              "Save the file as UTF-8.", byte=f"0x{data[at]:02X}")
        raise NotJson(reason, data.count(b"\n", 0, at) + 1, at - data.rfind(b"\n", 0, at)) from error


def printable(name: str) -> str:
    """A key or a word from the file, fit to be shown: short, without control characters and half characters."""
    return re.sub("[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "\ufffd", name if len(name) <= 40 else name[:39] + "…")


class _Constant(Exception):
    """NaN or Infinity was met."""


def _refuse_constant(_name: str) -> NoReturn:
    raise _Constant


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON parsers keep the last of two values with one key: the other would be lost silently."""
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = printable(next(key for key in value if keys.count(key) > 1))
        raise NotJson(tr('the key "{key}" occurs twice; only one of the two values could be kept.', key=twice),
                      key=twice)
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_without_repeats, parse_constant=_refuse_constant, parse_int=float)


@lru_cache(maxsize=1)
def _mistakes() -> list[tuple[str, str, str]]:
    """The beginning of the parser's message, the signs that are there ("": any), and what is wrong."""
    table = json.loads((resources() / "importing" / "json_mistakes.json").read_text(encoding="utf-8"))
    return [(begins, signs, sentence) for begins, signs, sentence in table]


def _reason(error: json.JSONDecodeError) -> str:
    rest, kind = error.doc[error.pos:error.pos + 12], error.msg
    if kind.startswith("Expecting"):
        if not rest.strip():
            return tr("the row ends too early: a value, a closing quotation mark or a closing bracket is missing.")
        if rest[0] in "}]" and error.doc[max(0, error.pos - 200):error.pos].rstrip()[-1:] == ",":
            kind = "Illegal trailing comma"
    word = re.match(r"-?\w+", rest) if kind == "Expecting value" else None
    if word and (instead := _FOREIGN_WORDS.get(word[0])):
        return tr("{word} isn't a JSON value; write {instead}.", word=word[0], instead=instead)
    sign = rest[:1] or " "
    return next(tr(sentence, escape=repr(sign)[1:-1], code=f"U+{ord(sign):04X}", brackets="{, [")
                for begins, signs, sentence in _mistakes() if kind.startswith(begins) and (sign in signs or not signs))
