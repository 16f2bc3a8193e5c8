"""Adds one row to a JSONL or JSON file, in the file's own layout, and undoes it. The file is whole at every moment: the
new one is written beside it, read back, and renamed into its place."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from slmstudio.core import files, program
from slmstudio.core.data import layouts
from slmstudio.core.data.conversations import Message, Messages
from slmstudio.core.data.mapping.mapper import Mapper
from slmstudio.core.data.mapping.speakers import CONTENT_KEYS, ROLE_KEYS, role_of
from slmstudio.core.data.opening import JSON_SUFFIXES, TEXT_SUFFIXES
from slmstudio.core.data.reader import Dataset, columns_of, read_as
from slmstudio.core.data.record import Record
from slmstudio.core.data.row_texts import is_lines
from slmstudio.core.data.rows import ColumnsMissing, RowError, as_sentence, read_row
from slmstudio.core.data.source import CHUNK_BYTES, Source
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import tr

# -- a row that a user adds, written in the columns that the file's other rows have --------------------------------


@dataclass(frozen=True)
class NewRow:
    """What a user adds.

    Attributes:
        messages: as in `Record`; the last is the answer to learn, or the one that a test expects.
        rejected: the worse answer, which makes a preference pair of it.
        tags: further columns, as category and language of a test.
    """

    messages: Messages
    rejected: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """As in `layouts.kind`."""
        return "chat" if self.rejected is None else "preference"

    def equals(self, record: Record) -> bool:
        """Whether a row of a file says the same, except for white space around its texts."""
        return _said(self.messages, self.rejected) == _said(record.messages, record.rejected)

    def asks_like(self, record: Record) -> bool:
        """Whether a row of a file asks the same, perhaps in the middle of a conversation.

        The system message and the answer may differ.
        """
        return len(self.messages) > 1 and _begins(record.messages, self.messages[:-1])

    def answers_like(self, record: Record) -> bool:
        """Whether a row of a file asks the same and is answered the same."""
        return _begins(record.messages, self.messages)


def _said(messages: Messages, rejected: str | None = None) -> list[tuple[str, str]]:
    said = [(message["role"], message["content"].strip()) for message in messages]
    return said if rejected is None else [*said, ("rejected", rejected.strip())]


def _begins(messages: Messages, with_these: Messages) -> bool:
    """Whether a conversation begins with these messages; system messages don't count."""
    whole, begin = ([each for each in _said(one) if each[0] != "system"] for one in (messages, with_these))
    return whole[:len(begin)] == begin


def as_columns(row: NewRow, like: Mapping[str, Any] | None = None, mapper: Mapper | None = None,
               is_chosen: bool = False) -> dict[str, Any]:
    """The row in the columns of `like`, another row of the file; as messages, where these would be read differently.

    Args:
        mapper: reads the file's rows.
        is_chosen: whether a user chose what its columns hold, so that no others are read.

    Raises:
        UserError: the row can't be learned (an empty answer, a conversation out of turn), or the columns that
            a user chose can't hold it.
    """
    written: dict[str, Any] = {"messages": list(row.messages)} if row.rejected is None else {
        "prompt": list(row.messages[:-1]), "chosen": [row.messages[-1]], "rejected": [_reply(row.rejected)]}
    try:
        read_row(written)
    except RowError as error:
        raise error.refusal(tr("The row can't be added."), tr("Complete it and add it again.")) from error
    if like and mapper is not None and mapper.main is not None:
        mapped = _mapped(row, like, mapper.main.columns)
        found = []
        with contextlib.suppress(RowError, ColumnsMissing):
            found = [(each.messages, each.rejected) for each in mapper.read(mapped)]
        if found == [(tuple(row.messages), row.rejected)]:
            written = {**{name: mapped[name] for name in like if name in mapped}, **mapped}
        elif is_chosen:
            raise UserError(tr("The row doesn't fit into the columns that were chosen for this file."),
                            tr("They can't hold a conversation like this."),
                            tr("Choose another file, or a new one."))
    return written | {name: text for name, text in row.tags.items() if text.strip()}


def _mapped(row: NewRow, like: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """The row in the columns that hold the file's questions and answers, or its conversations, as far as they can; it
    may read back differently. What is empty in the other row is so in this one.

    Args:
        columns: by target.
    """
    asked, answered = ("prompt", "chosen") if "chosen" in columns else (
        "instruction", "output" if "output" in columns else "messages")
    has_system = "system" in columns and row.messages[0]["role"] == "system"
    turns = row.messages[has_system:]
    before = () if asked in columns else turns[:-1]
    said: dict[str, Messages] = {"input": (), "system": row.messages[:has_system], asked: turns[:-1],
                                 answered: (*before, turns[-1])}
    if row.rejected is not None:
        said["rejected"] = (*before, _reply(row.rejected))
    return {name: "" for name, value in like.items() if value == ""} | {
        column: _cell(said[target], like.get(column)) for target, column in columns.items() if target in said}


def _cell(messages: Sequence[Message], like: Any) -> Any:
    """Messages as another row has them: as a list with its keys and names of roles, or as one text, a transcript."""
    if not isinstance(like, list):
        names = {"user": "Human", "assistant": "Assistant", "system": "System"}
        return "".join(message["content"] for message in messages) if len(messages) < 2 else "".join(
            f"\n\n{names[message['role']]}: {message['content']}" for message in messages)
    first = next((each for each in like if isinstance(each, dict)), {})
    role, content = (next((key for key in keys if key in first), keys[0]) for keys in (ROLE_KEYS, CONTENT_KEYS))
    roles = {role_of(each.get(role)): each.get(role) for each in like if isinstance(each, dict)} if first else {}
    return [{role: roles.get(message["role"], message["role"]), content: message["content"]} for message in messages]


def _reply(text: str) -> Message:
    return {"role": "assistant", "content": text}


ATTEMPTS = 3
TAIL_BYTES = 65536
BLANK = " \t\r\n"
CODECS = {"UTF-8": "utf-8", "UTF-8 with BOM": "utf-8", "UTF-16 LE": "utf-16-le", "UTF-16 BE": "utf-16-be"}
_EMPTY = re.compile(rb"\s*(\[\s*\])?\s*")
_FIRST_ROW = re.compile(rb'\s*\[?\s*?(?:\n([ \t]*))?\{(?:[ \t]*\r?\n([ \t]*)")?')
"""How a JSON file begins: what its rows are moved in by, and their keys where these have lines of their own."""
_LOCK = threading.Lock()


class _Changed(Exception):
    """Another program wrote to the file meanwhile."""


@dataclass(frozen=True)
class Added:
    """A row that was added.

    Attributes:
        path: the file.
        rows: how many usable rows it has now.
        line: where the row begins, from 1.
        after, before: the bytes with which the file ends now, and those that they replaced.
        created: whether there was no such file.
    """

    path: Path
    rows: int
    line: int
    after: bytes
    before: bytes
    created: bool


class Twin(NamedTuple):
    """The line, from 1, of a row that asks what another one asks, and whether it is answered the same too."""

    line: int
    same_answer: bool


class _Target(NamedTuple):
    """What is known about a file before a row is added.

    Attributes:
        dataset: what it holds; of an empty file, its encoding and size alone.
        is_list: whether its rows are in one JSON list.
        like: the file's last usable row; None in an empty file. `mapper` reads it.
        margin, indent: what its rows are moved in by, and their keys beyond that; None if a row takes one line.
    """

    dataset: Dataset
    is_list: bool
    newline: str = "\n"
    like: dict[str, Any] | None = None
    mapper: Mapper | None = None
    margin: str = ""
    indent: str | None = None


def append(path: Path | str, row: NewRow, cancelled: Callable[[], bool] | None = None,
           said: str | None = None) -> Added:
    """Add a row to a JSONL or JSON file, or make the file.

    Args:
        said: what its columns hold, where a user chose that, as `read_options.parse` reads it.

    Raises:
        UserError: the row is incomplete, already in the file or of a different kind from its rows; rows can't be added
            to this file; or it can't be written. The file is unchanged then.
        ReadingCancelled: `cancelled` said so.
    """
    path = Path(path).resolve()
    as_columns(row)
    with _LOCK, os_errors_as(tr("Could not add the row to {file}.", file=path.name)):
        for _ in range(ATTEMPTS):
            with contextlib.suppress(_Changed):
                return _append(path, row, cancelled, said)
    raise UserError(tr("{name} keeps changing.", name=path.name), tr("Another program is writing to it."),
                    tr("Wait until that program is done, then add the row again."))


def undo(added: Added) -> None:
    """Remove the row again, and the file too if it was created for it.

    Raises:
        UserError: the row is no longer the last one of the file, or the file can't be written.
    """
    path = added.path
    try:
        with _LOCK, os_errors_as(tr("Could not remove the row from {file}.", file=path.name)):
            size = path.stat().st_size
            if _end(path, size, len(added.after)) != added.after:
                raise _Changed
            if added.created and size == len(added.after):
                path.unlink()
            else:
                _replace_end(path, _state(path), size - len(added.after), added.before)
    except _Changed:
        raise UserError(tr("Adding the row to {name} can't be undone.", name=path.name),
                        tr("The file has changed since then."),
                        tr("Open the file and delete the row there.")) from None


def find_twin(path: Path | str, row: NewRow, cancelled: Callable[[], bool] | None = None,
              said: str | None = None) -> Twin | None:
    """The row of the dataset at `path` that asks the same: one that is answered the same too, else the first.

    Args:
        said: what its columns hold, as `read_options.parse` reads it.

    Raises:
        UserError: the dataset can't be read.
    """
    found = None
    for record in read_as(Path(path), said, cancelled=cancelled).records:
        if row.answers_like(record):
            return Twin(record.line, True)
        if found is None and row.asks_like(record):
            found = Twin(record.line, False)
    return found


def _append(path: Path, row: NewRow, cancelled: Callable[[], bool] | None, said: str | None) -> Added:
    state = _state(path)
    if state is None and path.suffix.lower() not in JSON_SUFFIXES:
        raise UserError(tr("{name} can't be created.", name=path.name), tr("Rows are written as JSON."),
                        tr("Choose a name that ends in .jsonl."))
    found = _look(path, row, cancelled, said) if state else _Target(
        Dataset(path, encoding="UTF-8"), path.suffix.lower() == ".json")
    is_chosen = bool(said and found.mapper)
    before, after = _ends(path, found, as_columns(row, found.like, found.mapper, is_chosen))
    line = 0

    def check(partial: Path) -> None:
        nonlocal line
        line = _read_back(partial, row, found.dataset, said if is_chosen else None)

    _replace_end(path, state, found.dataset.bytes - len(before), after, check)
    return Added(path, found.dataset.count + 1, line, after, before, state is None)


def _state(path: Path) -> tuple[int, int, int] | None:
    """What shows whether a file is the same; None if there is none."""
    if not path.exists():
        return None
    info = path.stat()
    return info.st_ino, info.st_size, info.st_mtime_ns


def _end(path: Path, size: int, count: int) -> bytes:
    """The last `count` bytes of a file of that size, or all of it."""
    with open(path, "rb", opener=files.regular) as file:
        file.seek(max(0, size - count))
        return file.read(count)


def _replace_end(path: Path, state: tuple[int, int, int] | None, keep: int, after: bytes,
                 check: Callable[[Path], None] | None = None) -> None:
    """Write `after` behind the first `keep` bytes of a file, unless it changes meanwhile; `check` sees the new file."""
    def pieces() -> Generator[bytes, None, None]:
        if state is not None:
            with open(path, "rb", opener=files.regular) as old:
                for start in range(0, keep, CHUNK_BYTES):
                    yield old.read(min(CHUNK_BYTES, keep - start))
        yield after

    def before_renaming(partial: Path) -> None:
        if state is not None:
            shutil.copymode(path, partial)
        if check is not None:
            check(partial)
        if _state(path) != state:
            raise _Changed

    with contextlib.closing(pieces()) as content:
        files.write_atomically(path, content, check=before_renaming)


def _look(path: Path, row: NewRow, cancelled: Callable[[], bool] | None, said: str | None) -> _Target:
    """Everything that must be known about a file; it is read twice.

    Raises:
        UserError: no row can be added to it, or this one is in it.
    """
    source = Source(path, cancelled=cancelled)
    first = next(source.chunks(), b"")
    suffix = path.suffix.lower()
    if suffix not in TEXT_SUFFIXES and source.size <= TAIL_BYTES and _EMPTY.fullmatch(first):
        return _Target(Dataset(path, encoding=source.encoding, bytes=source.size), suffix == ".json" or b"[" in first)
    dataset, name = read_as(path, said, cancelled=cancelled), path.name
    if dataset.format not in ("jsonl", "json") or dataset.encoding not in CODECS or source.suffix != suffix:
        raise UserError(tr("No row can be added to {name}.", name=name),
                        tr("Rows are added to JSONL and JSON files in UTF-8 or UTF-16."),
                        tr("Convert it to JSONL ({command}), or choose another file.",
                           command=program.command("data", "convert")))
    if (kind := layouts.kind(dataset.layout)) != row.kind:
        raise UserError(tr("The row doesn't fit into {name}.", name=name), as_sentence(layouts.stray(row.kind, kind)),
                        tr("Choose another file, or a new one."))
    if (line := next((record.line for record in dataset.records if row.equals(record)), None)) is not None:
        raise UserError(tr("The row is already in {name}.", name=name), tr("Line {line:,} says the same.", line=line),
                        tr("You don't need to add it."))
    rows = columns_of(dataset, [*[False] * (dataset.count - 1), True], cancelled)
    if rows is None:
        raise _Changed
    like = rows[0] if isinstance(rows[0], dict) else {}
    begin = None if is_lines(first) else _FIRST_ROW.match(first)
    margin = (begin[1] or b"").decode() if begin else ""
    return _Target(dataset, not is_lines(first) and first.lstrip().startswith(b"["),
                   "\r\n" if b"\r\n" in first else "\n", like,
                   Mapper([dict.fromkeys(dataset.columns), like], dataset.mapping), margin,
                   begin[2].decode().removeprefix(margin) if begin and begin[2] is not None else None)


def _ends(path: Path, found: _Target, columns: dict[str, Any]) -> tuple[bytes, bytes]:
    """The end of the file: the bytes that are replaced, and what replaces them."""
    codec, newline, size = CODECS[found.dataset.encoding], found.newline, found.dataset.bytes
    end = _end(path, size, TAIL_BYTES).decode(codec, "replace").removeprefix("\ufeff") if size else ""
    if "\r" in end[:-1] and "\n" not in end:
        newline = "\r"  # an old Mac file
    text = json.dumps(columns, ensure_ascii=False, indent=found.indent).replace("\n", newline + found.margin)
    if not found.is_list:
        closed = not end or end.endswith((newline, "\n"))
        return b"", (("" if closed else newline) + text + newline).encode(codec)
    if not end.strip(BLANK):
        return b"", f"[{newline}{text}{newline}]{newline}".encode(codec)
    outside = end.rstrip(BLANK).removesuffix("]")
    inside = outside.rstrip(BLANK)
    replaced = end[len(inside):]
    comma = "" if inside.endswith(("[", ",")) else ","
    if {"\n", "\r"} & set(outside[len(inside):]):
        comma += newline + found.margin
    elif comma:
        comma += " "
    return replaced.encode(codec), (comma + text + replaced).encode(codec)


def _read_back(partial: Path, row: NewRow, before: Dataset, said: str | None) -> int:
    """The line of the new row in the new file.

    Raises:
        UserError: it doesn't hold the old rows and the new one, as the end of the old file is damaged.
    """
    with contextlib.suppress(UserError):
        dataset = read_as(partial, said)
        last = dataset.records[-1]
        if (dataset.count, dataset.problems) == (before.count + 1, before.problems) and row.equals(last):
            return last.line
    raise UserError(tr("No row can be added to {name}.", name=before.path.name),
                    tr("The end of the file is damaged, so the row couldn't be read back."),
                    tr("Open the file and fix its end, or choose a different file."))
