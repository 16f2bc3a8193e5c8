"""JSON files of a model folder, which may come from anybody: bounded, and refused in a sentence."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.i18n import tr
from slmstudio.core.units import format_bytes

MAX_JSON = 4 * 2**20
"""No configuration or index file of a model that can be trained here is larger, in bytes. One of this size may take
250 MB as Python's objects."""
MAX_VALUES = 300_000
"""No configuration file holds more values; Gemma 3's tokenizer_config.json, with 6,414 added tokens, has 45,000."""
_SIGNATURES = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself: run `git lfs pull` in that folder"),
    (b"GGUF", "a GGUF file"),
    (b"PK\x03\x04", "a zip archive, as PyTorch's pickle files are"),
    *((b"\x80" + bytes([protocol]), "a Python pickle") for protocol in range(2, 6)),
    (b"<!doctype", "a web page, as a failed download leaves"),
    (b"<html", "a web page, as a failed download leaves"),
)


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
        with open(path, "rb", opener=files.regular) as file:
            data = file.read(MAX_JSON + 1)
    except OSError as error:
        raise from_os_error(error, tr("Could not read {file}.", file=path.name)) from error
    if len(data) > MAX_JSON:
        raise UserError(tr("{path} is larger than {size}.", path=path.name, size=format_bytes(MAX_JSON)))
    try:
        value = json.loads(data)
    except RecursionError as error:
        raise UserError(tr("{path} is nested too deeply.", path=path.name)) from error
    except ValueError as error:
        looks = what_is(data[:64])
        known = isinstance(error, json.JSONDecodeError) and not looks
        where = tr("It breaks at line {lineno}, column {colno}.", lineno=error.lineno, colno=error.colno) if known else ""  # type: ignore[attr-defined]
        raise UserError(f"{path.name} is {looks or tr('not JSON')}.", where) from error
    if not isinstance(value, dict):
        raise UserError(tr("{path} isn't a JSON object.", path=path.name))
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
