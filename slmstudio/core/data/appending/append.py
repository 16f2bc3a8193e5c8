"""Adds one row to a dataset, in the file's own layout, and undoes it. The file is whole at every moment.

The new file is written beside the old one, read back, and renamed into its place: a full disk, a kill or a power cut
leaves the old one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core import files, program
from slmstudio.core.data import given, layouts
from slmstudio.core.data.appending.file_end import Changed, beside, bytes_at, put_in_place, write
from slmstudio.core.data.appending.new_row import NewRow, as_columns
from slmstudio.core.data.mapping.mapper import Mapper
from slmstudio.core.data.opening import TEXT_SUFFIXES
from slmstudio.core.data.reader import Dataset
from slmstudio.core.data.row_texts import cut, is_lines
from slmstudio.core.data.rows import ColumnsMissing, RowError, as_sentence
from slmstudio.core.data.source import Source
from slmstudio.core.data.strict_json import NotJson, parse
from slmstudio.core.errors import Problem, UserError, from_os_error
from slmstudio.core.i18n import tr

SUFFIXES = (".jsonl", ".ndjson", ".json")
"""Endings of a new file. ".json" makes one list of all rows."""
ATTEMPTS = 3
TAIL_BYTES = 65536
BLANK = " \t\r\n"
EMPTY = re.compile(rb"\s*(\[\s*\])?\s*")
CODECS = {"UTF-8": "utf-8", "UTF-8 with BOM": "utf-8", "UTF-16 LE": "utf-16-le", "UTF-16 BE": "utf-16-be"}
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Added:
    """A row that was added.

    Attributes:
        path: the file.
        rows: how many usable rows it has now.
        line: where the row begins, from 1.
        after: the bytes with which the file ends now.
        before: the bytes that it replaced.
        created: whether there was no such file.
    """

    path: Path
    rows: int
    line: int
    after: bytes
    before: bytes
    created: bool


@dataclass(frozen=True)
class Twin:
    """A row of a dataset that asks what another one asks.

    Attributes:
        line: where it begins, from 1.
        same_answer: whether it is answered the same too.
    """

    line: int
    same_answer: bool


@dataclass
class _Found:
    """What is known of a file before a row is added.

    Attributes:
        form: "lines", "list" (one JSON list) or "values" (objects over several lines each).
        like: the file's last usable row; None in an empty file. `mapper` reads it.
        indent: how its rows are moved in, and how their inner lines are; None where a row takes one line.
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


def append(path: Path | str, row: NewRow, cancelled: Callable[[], bool] | None = None,
           said: str | None = None) -> Added:
    """Add a row to a JSONL or JSON file, or make the file.

    Args:
        said: what its columns hold, where a user chose that, as `given.parse` reads it.

    Raises:
        UserError: the row is incomplete, already in the file or of another kind than its rows; rows can't be added to
            this file; or it can't be written. The file is unchanged then.
        ReadingCancelled: `cancelled` said so.
    """
    path = Path(path)
    as_columns(row, None)
    with _LOCK:
        for _ in range(ATTEMPTS):
            with contextlib.suppress(Changed):
                return _append(path.resolve(), row, cancelled, said)
    raise UserError(tr("{name} keeps changing.", name=path.name), tr("Another program is writing to it."),
                    tr("Wait until that program is done, then add the row again."))


def undo(added: Added) -> None:
    """Remove the row again, and the file too if it was created for it.

    Raises:
        UserError: the row is no longer the last one of the file, or the file can't be written.
    """
    path, name = added.path, added.path.name
    with _LOCK:
        try:
            state = path.stat()
            keep = state.st_size - len(added.after)
            if bytes_at(path, keep, len(added.after)) != added.after:
                raise UserError(tr("Adding the row to {name} can't be undone.", name=name),
                                tr("The file has changed since then."), tr("Open the file and delete the row there."))
            if added.created and keep == 0:
                path.unlink()
                return
            partial = beside(path)
            try:
                write(path, partial, keep, added.before)
                put_in_place(path, partial, state)
            finally:
                partial.unlink(missing_ok=True)
        except Changed:
            raise UserError(tr("Adding the row to {name} can't be undone.", name=name),
                            tr("The file is being changed."), tr("Try again when the other program is done.")) from None
        except OSError as error:
            raise from_os_error(error, tr("Could not remove the row from {file}.", file=name)) from error


def find_twin(path: Path | str, row: NewRow, cancelled: Callable[[], bool] | None = None,
              said: str | None = None) -> Twin | None:
    """The row of the dataset at `path` that asks the same: one that is answered the same too, else the first.

    Args:
        said: what its columns hold, as `given.parse` reads it.

    Raises:
        UserError: the dataset can't be read.
    """
    found = None
    for record in given.read(Path(path), said, cancelled=cancelled).records:
        if row.answers_like(record):
            return Twin(record.line, True)
        if found is None and row.asks_like(record):
            found = Twin(record.line, False)
    return found


def _append(path: Path, row: NewRow, cancelled: Callable[[], bool] | None, said: str | None) -> Added:
    partial = beside(path)
    try:
        state = path.stat() if path.exists() else None
        found = _look(path, row, cancelled, said) if state else _new(path)
        text = _dumped(as_columns(row, found.like, found.mapper, bool(said and found.mapper)), found)
        before, after = _ends(path if state else None, found, text)
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = write(path if state else None, partial, found.size - len(before), after)
        if digest != found.sha256:
            raise Changed
        line = _check(partial, row, found, path.name, said if found.mapper is not None else None)
        put_in_place(path, partial, state)
    except OSError as error:
        raise from_os_error(error, tr("Could not add the row to {file}.", file=path.name)) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return Added(path, found.rows + 1, line, after, before, state is None)


# -- what is there -------------------------------------------------------------------------------------------


def _new(path: Path) -> _Found:
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(tr("{name} can't be created.", name=path.name), tr("Rows are written as JSON."),
                        tr("Choose a name that ends in .jsonl."))
    return _Found(form="list" if path.suffix.lower() == ".json" else "lines")


def _look(path: Path, row: NewRow, cancelled: Callable[[], bool] | None, said: str | None) -> _Found:
    """Everything that must be known about a file; it is read twice.

    Raises:
        UserError: no row can be added to it, or this one is in it.
    """
    source = Source(path, cancelled=cancelled)
    first = next(source.chunks(), b"")
    if path.suffix.lower() not in TEXT_SUFFIXES and source.size <= TAIL_BYTES and EMPTY.fullmatch(first):
        found = _new(path) if path.suffix.lower() in SUFFIXES else _Found()
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
    found = _Found(len(dataset.records), dataset.problems, dataset.encoding, dataset.sha256, dataset.bytes,
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


def _read_like(found: _Found, path: Path, dataset: Dataset) -> None:
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


# -- what is written -----------------------------------------------------------------------------------------


def _dumped(columns: dict[str, Any], found: _Found) -> str:
    margin, inner = found.indent
    text = json.dumps(columns, ensure_ascii=False, indent=inner)
    return text.replace("\n", found.newline + " " * margin)


def _ends(path: Path | None, found: _Found, text: str) -> tuple[bytes, bytes]:
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


def _check(partial: Path, row: NewRow, found: _Found, name: str, said: str | None) -> int:
    """Read the new file back. Returns the line of the new row.

    Raises:
        UserError: it doesn't hold the old rows and the new one, as the end of the old file is damaged.
    """
    with contextlib.suppress(UserError):
        dataset = given.read(partial, said)
        last = dataset.records[-1]
        if (len(dataset.records), dataset.problems) == (found.rows + 1, found.problems) and row.equals(last):
            return last.line
    raise UserError(tr("No row can be added to {name}.", name=name),
                    tr("The end of the file is damaged, so the row couldn't be read back."),
                    tr("Open the file and fix its end, or choose another one."))
