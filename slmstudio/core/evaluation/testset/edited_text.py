"""The text of a test file with one row changed or taken out; all else stays as it is written."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from typing import Any

from slmstudio.core.data.row_texts import Piece, cut, is_lines
from slmstudio.core.evaluation.testset.header import NoColumns, names_of
from slmstudio.core.evaluation.testset.reader import JSON_BEGINS, TABLE_SUFFIXES, delimiter_for
from slmstudio.core.evaluation.testset.tables import table_rows

Change = Callable[[dict[str, Any]], dict[str, Any]]
SEPARATOR_AFTER = re.compile(r"\s*,")
SEPARATOR_BEFORE = re.compile(r",\s*$")


class NotFound(Exception):
    """The row is not where it should be; the message is a sentence."""


def edited(text: str, suffix: str, line: int, change: Change | None) -> str:
    """The text with the row that begins on `line` changed, or with None without it.

    Args:
        text: without a byte order mark.
        suffix: of the file's name, in small letters.

    Raises:
        NotFound: no row or more than one begins there, or it cannot be told what the columns are.
    """
    first = text[: 1 << 20].encode("utf-8", "surrogatepass")
    if suffix in TABLE_SUFFIXES and not JSON_BEGINS.match(first):
        return _table(text, delimiter_for(suffix, first), line, change)
    return _json(text, line, change)


def _json(text: str, line: int, change: Change | None) -> str:
    data = text.encode("utf-8", "surrogatepass")
    here = [piece for piece in cut(iter([data])) if piece.line == line and not piece.trouble]
    if len(here) != 1:
        raise NotFound(f"{len(here) or 'No'} rows begin on line {line:,}.")
    piece = here[0]
    begin = _offset(text, line) + piece.column - 1
    old = piece.text.decode()
    if text[begin : begin + len(old)] != old and text[begin + 1 : begin + 1 + len(old)] == old:
        begin += 1  # a byte order mark in the middle of joined files
    if text[begin : begin + len(old)] != old:
        raise NotFound(f"The row on line {line:,} is not where it was.")
    end = begin + len(old)
    if change is not None:
        return text[:begin] + _dumped(change(json.loads(old)), old, piece) + text[end:]
    if is_lines(data):
        return text[:begin] + text[text.find("\n", end - 1) + 1 or len(text):]
    after = SEPARATOR_AFTER.match(text, end)
    if after:
        return text[:begin] + text[after.end():].lstrip()
    return SEPARATOR_BEFORE.sub("", text[:begin]) + text[end:]


def _dumped(row: dict[str, Any], old: str, piece: Piece) -> str:
    """The row as JSON, over several lines where it was so before, moved in as far."""
    ending = "\r" if old.endswith("\r") else ""
    if "\n" not in old.strip():
        return json.dumps(row, ensure_ascii=False) + ending
    inner = re.search(r"\n([ \t]+)\"", old)
    outer = " " * (piece.column - 1)
    indent = inner[1].removeprefix(outer) if inner else "  "
    return json.dumps(row, ensure_ascii=False, indent=indent).replace("\n", "\n" + outer)


def _offset(text: str, line: int) -> int:
    """Where the line begins, in characters."""
    at = 0
    for _ in range(line - 1):
        at = text.index("\n", at) + 1
    return at


def _table(text: str, delimiter: str, line: int, change: Change | None) -> str:
    rows = list(table_rows(iter([text.encode("utf-8", "surrogatepass")]), delimiter))
    try:
        names, header = names_of([row.cells for row in rows if row.trouble is None])
    except NoColumns as error:
        raise NotFound(error.why) from error
    row = next((row for row in rows if row.line == line and row.trouble is None), None)
    if row is None or len(row.cells) != len(names):
        raise NotFound(f"No row begins on line {line:,}.")
    begin = _offset(text, line)
    end = begin + _length(text[begin:], delimiter)
    if change is None:
        return text[:begin] + text[end:]
    old = {name: cell for name, cell in zip(names, row.cells, strict=True) if name}
    new = change({name: cell for name, cell in old.items() if cell.strip()})
    values = {name: each if isinstance(each, str) else json.dumps(each, ensure_ascii=False)
              for name, each in new.items()}
    added = [name for name in values if name not in names]
    cells = [values.get(name, "") if name else cell for name, cell in zip(names, row.cells, strict=True)]
    newline = "\r\n" if "\r\n" in text else "\n"
    if not added:
        tail = newline if text[begin:end].endswith("\n") else ""
        return text[:begin] + _written([cells], delimiter, newline).removesuffix(newline) + tail + text[end:]
    if any(each.trouble or len(each.cells) != len(names) for each in rows):
        raise NotFound("The table needs a new column, and some of its rows are damaged.")
    body = [[*(cells if each is row else each.cells), *(values[name] if each is row else "" for name in added)]
            for each in (rows[1:] if header else rows)]
    return _written([[*names, *added], *body], delimiter, newline)


def _length(text: str, delimiter: str) -> int:
    """Characters of the first row of a table, with its line end."""
    lines = io.StringIO(text, newline="")
    taken: list[str] = []
    next(csv.reader((taken.append(each) or each for each in lines), delimiter=delimiter))  # type: ignore[func-returns-value]
    return sum(map(len, taken))


def _written(rows: list[list[str]], delimiter: str, newline: str) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator=newline).writerows(rows)
    return out.getvalue()
