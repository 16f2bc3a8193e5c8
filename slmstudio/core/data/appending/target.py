"""The file that a row is added to, and its end, which is replaced completely or not at all.

A new file is written beside it and renamed over it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core import files, program
from slmstudio.core.data import given, layouts
from slmstudio.core.data.appending.new_row import NewRow
from slmstudio.core.data.mapping.mapper import Mapper
from slmstudio.core.data.opening import JSON_SUFFIXES, TEXT_SUFFIXES
from slmstudio.core.data.reader import Dataset
from slmstudio.core.data.row_texts import cut, is_lines
from slmstudio.core.data.rows import ColumnsMissing, RowError, as_sentence
from slmstudio.core.data.source import CHUNK_BYTES, Source
from slmstudio.core.data.strict_json import NotJson, parse
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import tr

TAIL_BYTES = 65536
BLANK = " \t\r\n"
EMPTY = re.compile(rb"\s*(\[\s*\])?\s*")
CODECS = {"UTF-8": "utf-8", "UTF-8 with BOM": "utf-8", "UTF-16 LE": "utf-16-le", "UTF-16 BE": "utf-16-be"}


class Changed(Exception):
    """Another program wrote to the file meanwhile."""


def beside(path: Path) -> Path:
    """Where the new file is written."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def bytes_at(path: Path, start: int, count: int) -> bytes:
    """At most `count` bytes from `start` on."""
    with open(path, "rb", opener=files.regular) as file:
        file.seek(max(0, start))
        return file.read(count)


def write(path: Path | None, partial: Path, keep: int, after: bytes) -> str:
    """Write the first `keep` bytes of a file and then `after`. Returns the checksum of the whole old file."""
    digest = hashlib.sha256()
    with contextlib.ExitStack() as stack:
        new = stack.enter_context(open(partial, "wb"))
        old = stack.enter_context(open(path, "rb", opener=files.regular)) if path else None
        while old is not None and (chunk := old.read(CHUNK_BYTES)):
            digest.update(chunk)
            new.write(chunk[:max(0, keep)])
            keep -= len(chunk)
        new.write(after)
        new.flush()
        os.fsync(new.fileno())
    if path:
        shutil.copymode(path, partial)
    return digest.hexdigest()


def put_in_place(path: Path, partial: Path, state: os.stat_result | None) -> None:
    """Rename the new file into its place, unless another program has changed the old one."""
    now = path.stat() if path.exists() else None
    was, is_now = (each and (each.st_ino, each.st_size, each.st_mtime_ns) for each in (state, now))
    if was != is_now:
        raise Changed
    os.replace(partial, path)
    files.fsync_folder(path.parent)


@dataclass
class Target:
    """What is known about a file before a row is added.

    Attributes:
        form: "lines", "list" (one JSON list) or "values" (objects over several lines each).
        like: the file's last usable row; None in an empty file. `mapper` reads it.
        indent: how its rows are moved in, and how their inner lines are; None if a row takes one line.
    """

    rows: int = 0
    problems: list[Problem] = field(default_factory=list)
    encoding: str = "UTF-8"
    sha256: str = hashlib.sha256().hexdigest()
    size: int = 0
    form: str = "lines"
    newline: str = "\n"
    like: dict[str, Any] | None = None
    mapper: Mapper | None = None
    indent: tuple[int, int | None] = (0, None)


def new_file(path: Path) -> Target:
    """A file that isn't there yet.

    Raises:
        UserError: its ending isn't one of `JSON_SUFFIXES`; ".json" makes one list of all rows.
    """
    if path.suffix.lower() not in JSON_SUFFIXES:
        raise UserError(tr("{name} can't be created.", name=path.name), tr("Rows are written as JSON."),
                        tr("Choose a name that ends in .jsonl."))
    return Target(form="list" if path.suffix.lower() == ".json" else "lines")


def look(path: Path, row: NewRow, cancelled: Callable[[], bool] | None, said: str | None) -> Target:
    """Everything that must be known about a file; it is read twice.

    Raises:
        UserError: no row can be added to it, or this one is in it.
    """
    source = Source(path, cancelled=cancelled)
    first = next(source.chunks(), b"")
    if path.suffix.lower() not in TEXT_SUFFIXES and source.size <= TAIL_BYTES and EMPTY.fullmatch(first):
        found = new_file(path) if path.suffix.lower() in JSON_SUFFIXES else Target()
        if b"[" in first:
            found.form = "list"
        found.size, found.encoding, found.sha256 = source.size, source.encoding, files.sha256_of(path)
        return found
    dataset = given.read(path, said, cancelled=cancelled)
    is_json = dataset.format in ("jsonl", "json") and dataset.encoding in CODECS
    if not is_json or source.suffix != path.suffix.lower():
        raise UserError(tr("No row can be added to {name}.", name=path.name),
                        tr("Rows are added to JSONL and JSON files in UTF-8 or UTF-16."),
                        tr("Convert it to JSONL ({command}), or choose another file.",
                           command=program.command("data", "convert")))
    _refuse(dataset, row)
    found = Target(len(dataset.records), dataset.problems, dataset.encoding, dataset.sha256, dataset.bytes,
                   newline=_newline(first))
    if not is_lines(first):
        found.form = "list" if first.lstrip().startswith(b"[") else "values"
    _read_like(found, path, dataset)
    return found


def _refuse(dataset: Dataset, row: NewRow) -> None:
    name = dataset.path.name
    kind = layouts.kind(dataset.layout)
    if kind != row.kind:
        raise UserError(tr("The row doesn't fit into {name}.", name=name), as_sentence(layouts.stray(row.kind, kind)),
                        tr("Choose another file, or a new one."))
    twin = next((record.line for record in dataset.records if row.equals(record)), None)
    if twin is not None:
        raise UserError(tr("The row is already in {name}.", name=name), tr("Line {line:,} says the same.", line=twin),
                        tr("You don't need to add it."))


def _read_like(found: Target, path: Path, dataset: Dataset) -> None:
    """Look at the last row as it is in the file."""
    record = dataset.records[-1]
    for piece in cut(Source(path).chunks()):
        if piece.line == record.line:
            with contextlib.suppress(NotJson, RowError, ColumnsMissing):
                value = parse(piece.text)
                reader = Mapper([dict.fromkeys(dataset.columns), value], dataset.given) if dataset.given else (
                    Mapper([value]))
                if any(each.messages == record.messages for each in reader.read(value)):
                    break
    else:
        raise Changed
    found.like, found.mapper = value, Mapper([dict.fromkeys(dataset.columns), value], dataset.mapping)
    inner = re.search(r"\n([ \t]*)\S", piece.text.decode("utf-8"))
    if inner and found.form != "lines":
        found.indent = (piece.column - 1, max(1, len(inner[1]) - piece.column + 1))
    elif found.form == "list":
        found.indent = (piece.column - 1, None)


def _newline(first: bytes) -> str:
    """The line ending of a file. `first` is its beginning, in which lone CRs are already LFs."""
    return "\r\n" if b"\r\n" in first else "\n"


def dumped(columns: dict[str, Any], found: Target) -> str:
    """A row as the file's other rows are written."""
    margin, inner = found.indent
    text = json.dumps(columns, ensure_ascii=False, indent=inner)
    return text.replace("\n", found.newline + " " * margin)


def ends(path: Path | None, found: Target, text: str) -> tuple[bytes, bytes]:
    """The end of the file: the bytes that are replaced, and what replaces them."""
    codec = CODECS[found.encoding]
    start = max(0, found.size - TAIL_BYTES)
    end = bytes_at(path, start, TAIL_BYTES).decode(codec, "replace").removeprefix("\ufeff") if path else ""
    newline = found.newline
    if "\r" in end[:-1] and "\n" not in end:
        newline = "\r"  # an old Mac file
    if found.form != "list":
        closed = not end or end.endswith((newline, "\n"))
        return b"", (("" if closed else newline) + text + newline).encode(codec)
    if not end.strip(BLANK):
        return b"", f"[{newline}{text}{newline}]{newline}".encode(codec)
    body = end.rstrip(BLANK)
    inside = body.removesuffix("]").rstrip(BLANK)
    gap = body.removesuffix("]")[len(inside):]
    replaced = end[len(inside):]
    comma = "" if inside.endswith(("[", ",")) else ","
    if "\n" in gap or "\r" in gap:
        comma += newline + " " * found.indent[0]
    elif comma:
        comma += " "
    return replaced.encode(codec), (comma + text + replaced).encode(codec)
