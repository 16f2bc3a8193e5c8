"""Reads one JSON value strictly, and says in plain words what is wrong and where."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, NoReturn

from slmstudio.core.i18n import tr
from slmstudio.core.paths import resources

SURROGATE_BYTES = re.compile(rb"\xed[\xa0-\xbf]")
TEXT_OR_CONSTANT = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|(-?Infinity|NaN)', re.DOTALL)
FOREIGN_WORDS = {"True": "true", "False": "false", "None": "null", "undefined": "null", "nan": "null", "inf": "null"}


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
        raise _bad_constant(text) from error
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
        raise _bad_bytes(data, error.start) from error


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


def _bad_bytes(data: bytes, at: int) -> NotJson:
    line_begin = data.rfind(b"\n", 0, at) + 1
    line = data.count(b"\n", 0, at) + 1
    if SURROGATE_BYTES.match(data, at):
        reason = tr("there is half a character here (a surrogate without its partner).")
    else:
        reason = tr("this isn't valid UTF-8 text: byte {byte} doesn't belong here (the column counts bytes). "
                    "Save the file as UTF-8.", byte=f"0x{data[at]:02X}")
    return NotJson(reason, line, at - line_begin + 1)


def _bad_constant(text: str) -> NotJson:
    found = next(match for match in TEXT_OR_CONSTANT.finditer(text) if match.group(1))
    at = found.start()
    return NotJson(tr("{word} isn't a JSON value; write null, or leave the key out.", word=found.group(1)),
                   text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))


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
    sign = rest[:1] or " "
    for begins, signs, sentence in _mistakes():
        if kind.startswith(begins) and (sign in signs or not signs):
            return tr(sentence, escape=repr(sign)[1:-1], code=f"U+{ord(sign):04X}")
    return _no_value(rest)


def _no_value(rest: str) -> str:
    word = re.match(r"\w+", rest)
    instead = FOREIGN_WORDS.get(word.group()) if word else None
    if word and instead:
        return tr("{word} isn't a JSON value; write {instead}.", word=word.group(), instead=instead)
    if rest[0] == "\0":
        return tr("there are NUL bytes here; the file is damaged at this place.")
    if rest[0] in ",:}]":
        return tr("a value is missing here.")
    return tr("this isn't JSON; a value begins with {brackets}, a double quote or a digit, or is true, false or null.",
              brackets="{, [")
