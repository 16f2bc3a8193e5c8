"""JSON files of a model folder, which may come from anybody: bounded, and refused in a sentence."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from slmstudio.core import files
from slmstudio.core.errors import Problem, UserError, os_errors_as
from slmstudio.core.i18n import noop, ntr, number_text, tr
from slmstudio.core.units import format_bytes

Result = TypeVar("Result")
MAX_JSON = 4 * 2**20
"""No configuration or index file of a model that can be trained here is larger, in bytes. One of this size may take
250 MB as Python's objects."""
MAX_VALUES = 300_000
"""No configuration file holds more values; Gemma 3's tokenizer_config.json, with 6,414 added tokens, has 45,000."""
MAX_PATTERN = 2_000
"""Characters of a regular expression."""
_SIGNATURES = (
    (b"version https://git-lfs", noop("{file} is a Git LFS pointer, not the file itself. Run `git lfs pull` in that "
                                      "folder.")),
    (b"GGUF", noop("{file} is a GGUF file.")),
    (b"PK\x03\x04", noop("{file} is a zip archive, as PyTorch's pickle files are.")),
    *((b"\x80" + bytes([protocol]), noop("{file} is a Python pickle.")) for protocol in range(2, 6)),
    (b"<!doctype", noop("{file} is a web page, probably left behind by a failed download.")),
    (b"<html", noop("{file} is a web page, probably left behind by a failed download.")),
)


def what_is(file: str, head: bytes) -> str:
    """A sentence about what a file that starts with `head` really is, or "" for nothing known."""
    if not head:
        return tr("{file} is empty.", file=file)
    start = head.lstrip()[:64].lower()
    sentence = next((sentence for mark, sentence in _SIGNATURES if start.startswith(mark.lower())), "")
    return tr(sentence, file=file) if sentence else ""


def truncated(file: str, size: int, expected: int) -> str:
    """"weights is truncated: 123 MB of 270 MB.", exact where rounding would hide the difference."""
    short, whole = format_bytes(size), format_bytes(expected)
    if short == whole:
        short, whole = number_text(size), ntr("{n:,} byte", "{n:,} bytes", expected)
    return tr("{file} is truncated: {size} of {expected}.", file=file, size=short, expected=whole)


def and_more(names: Sequence[str], most: int) -> str:
    """Names with commas between them: `most` of them, and how many more there are.

    >>> and_more(["a", "b", "c", "d"], 3), and_more(["a", "b"], 3)
    ('a, b, c and 1 more', 'a, b')
    """
    shown = ", ".join(names[:most])
    more = len(names) - most
    return ntr("{names} and {n:,} more", "{names} and {n:,} more", more, names=shown) if more > 0 else shown


def put_own(file: str) -> str:
    return tr("Put the model's own {file} in its place.", file=file)


def reported(problems: list[Problem], read: Callable[[Path], Result], path: Path) -> Result | None:
    """What `read` makes of a file or a folder; None where it raises a UserError, which goes to `problems`."""
    try:
        return read(path)
    except UserError as error:
        problems.append(Problem(f"{error.what} {error.why}".strip()))
        return None


def read_json_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file of bounded size.

    Raises:
        UserError: it can't be read, is too large, or isn't a JSON object; `what` names the file.
    """
    with os_errors_as(tr("Could not read {file}.", file=path.name)), open(path, "rb", opener=files.regular) as file:
        data = file.read(MAX_JSON + 1)
    if len(data) > MAX_JSON:
        raise UserError(tr("{file} is larger than {size}.", file=path.name, size=format_bytes(MAX_JSON)))
    try:
        value = json.loads(data)
    except RecursionError as error:
        raise UserError(tr("{file} is nested too deeply.", file=path.name)) from error
    except ValueError as error:
        if looks := what_is(path.name, data[:64]):
            raise UserError(looks) from error
        where = ""
        if isinstance(error, json.JSONDecodeError):
            where = tr("The error is at line {line}, column {column}.", line=error.lineno, column=error.colno)
        raise UserError(tr("{file} isn't JSON.", file=path.name), where) from error
    if not isinstance(value, dict):
        raise UserError(tr("{file} isn't a JSON object.", file=path.name))
    return value


def walk(settings: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """(keys above, key, value) of everything in a JSON object, whatever its depth; an item of a list has the list's
    key, and has it above too."""
    todo: list[tuple[tuple[str, ...], Iterator[tuple[str, Any]]]] = [((), iter(settings.items()))]
    while todo:
        parents, items = todo[-1]
        pair = next(items, None)
        if pair is None:
            todo.pop()
            continue
        key, value = pair
        yield parents, key, value
        if isinstance(value, dict):
            todo.append(((*parents, key), iter(value.items())))
        elif isinstance(value, list):
            todo.append(((*parents, key), zip(itertools.repeat(key), value, strict=False)))


def printable(text: str, limit: int = 80) -> str:
    """`text` from a file, short and safe to print: no control characters, no half characters."""
    clean = "".join(c if c.isprintable() else "?" for c in text[:limit])
    return clean + ("…" if len(text) > limit else "")


def is_quick(pattern: str) -> bool:
    """Whether a regular expression for names of layers is certain to end within a second: it has at most three parts of
    any length, none of a group."""
    return len(pattern) <= MAX_PATTERN and not re.search(r"\)[*+{]", pattern) and len(
        re.findall(r"(?<!\\)[*+]|\{", pattern)) <= 3
