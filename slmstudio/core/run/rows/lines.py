"""A record as a line of JSON, and back."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import orjson

from slmstudio.core.data.record import Record


def dump(record: Record, columns: Any = None) -> bytes:
    """The record without what is empty.

    Args:
        columns: the JSON value that its row had in the file, where that is to be kept too.
    """
    if columns is None and record.text is None and not record.has_tools:
        with contextlib.suppress(orjson.JSONEncodeError):  # half a character
            return orjson.dumps(_without_empty(record, None)) + b"\n"
    return dump_spaced(record, columns)


def dump_spaced(record: Record, columns: Any = None) -> bytes:
    """As `dump` wrote each record before it took the quicker writer: with a space after each comma and colon."""
    return as_json(_without_empty(record, columns))


def _without_empty(record: Record, columns: Any) -> dict[str, Any]:
    said = {"messages": record.messages or None, "rejected": record.rejected, "desirable": record.desirable,
            "text": record.text, "tools": record.tools or None, "file": record.file or None,
            "group": record.group or None, "columns": columns}
    return {"line": record.line} | {name: value for name, value in said.items() if value is not None}


def load(line: bytes) -> tuple[Record, Any]:
    """The record, and its columns; None if none were kept.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: the line is none that `dump` has made.
    """
    state = _parsed(line)
    # Written out, so that the keys of a million messages are one text each.
    messages = tuple({"role": each["role"], "content": each["content"]} if len(each) == 2 else each
                     for each in state.get("messages", ()))
    return Record(messages, state["line"], state.get("rejected"), state.get("desirable"), state.get("text"),
                  tuple(state.get("tools", ())), state.get("file", ""), state.get("group", "")), state.get("columns")


def _parsed(line: bytes) -> Any:
    """A line's JSON. Columns and tools may hold numbers beyond 64 bits, which the quicker reader would round."""
    if b'"columns"' not in line and b'"tool' not in line:
        with contextlib.suppress(orjson.JSONDecodeError):  # half a character
            return orjson.loads(line)
    return json.loads(line)


def as_json(value: Any) -> bytes:
    """A JSON value on a line of its own. Half a character, as columns that nobody reads may hold, is escaped."""
    try:
        return json.dumps(value, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(value).encode() + b"\n"
