"""Tags, references and rows of a test file changed in place: the whole file is written anew and renamed over the old
one, or nothing is changed. What was there before can be put back."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.data.file_end import Changed, beside, put_in_place
from slmstudio.core.data.rows import RowError
from slmstudio.core.data.source import Source
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.evaluation.testset import edited_text
from slmstudio.core.evaluation.testset.column_names import column
from slmstudio.core.evaluation.testset.header import NoColumns
from slmstudio.core.evaluation.testset.item import TestItem, TestSet
from slmstudio.core.evaluation.testset.reader import TABLE_SUFFIXES, items_of
from slmstudio.core.evaluation.testset.row_kinds import (
    ANSWERS,
    CATEGORIES,
    EXACT,
    LANGUAGES,
    REFERENCES,
    read_test_row,
)

LARGEST = 512 << 20
"""Bytes of a file that is edited here; it is held in memory as a whole."""
CODECS = {"UTF-8": "utf-8", "UTF-8 with BOM": "utf-8-sig", "UTF-16 LE": "utf-16-le", "UTF-16 BE": "utf-16-be"}
AGAIN = "Open it again, and make the change once more."
Row = dict[str, Any]


@dataclass(frozen=True)
class Edited:
    """A change that was made.

    Attributes:
        path: the file.
        before: all bytes it had.
        sha256: of the bytes it has now.
    """

    path: Path
    before: bytes
    sha256: str


def set_tags(test: TestSet, item: TestItem, *, category: str | None = None, language: str | None = None) -> Edited:
    """Write a row's category, its language, or both; None leaves a tag as it is, "" takes it away.

    A table that has no such column gets one.

    Raises:
        UserError: the file has changed since it was read, the row cannot be found, or it cannot be written.
    """

    def change(row: Row) -> Row:
        for value, names in ((category, CATEGORIES), (language, LANGUAGES)):
            if value is not None:
                name = _column(row, names) or names[0]
                row = {**row, name: value} if value else {key: each for key, each in row.items() if key != name}
        return row

    return _edit(test, item, change)


def set_references(test: TestSet, item: TestItem, references: Sequence[str]) -> Edited:
    """Write a row's references in place of those it has.

    Raises:
        UserError: as `set_tags`; or it is a multiple choice, or a reference is blank.
    """
    if item.kind == "choice" or not references or not all(text.strip() for text in references):
        raise UserError("The reference was not changed.", "Its right answer is one of its choices."
                        if item.kind == "choice" else "A reference is empty.",
                        "Change the choices in the file." if item.kind == "choice" else "Write what a good answer is.")
    return _edit(test, item, lambda row: _with_references(row, list(references)), tuple(dict.fromkeys(references)))


def remove(test: TestSet, item: TestItem) -> Edited:
    """Take a row out of the file.

    Raises:
        UserError: as `set_tags`; or it is the file's only usable row.
    """
    if len(test.items) < 2:
        raise UserError("The row was not removed.", "It is the only row of the test set.", "Delete the file instead.")
    return _edit(test, item, None)


def undo(edited: Edited) -> None:
    """Put back what the file held before.

    Raises:
        UserError: it has changed since, or cannot be written.
    """
    _replace(edited.path, edited.sha256, edited.before, "undo the change")


def moved(before: TestSet, after: TestSet, removed: TestItem | None = None) -> dict[int, int]:
    """For each row of a file, by its line before a change, on which line it is now: a row may take more lines or fewer.

    Args:
        removed: the row that was taken out.

    Raises:
        UserError: the rows are others.
    """
    left = [item.line for item in before.items if removed is None or item.line != removed.line]
    if len(left) != len(after.items):
        raise UserError(f"{after.path.name} has other rows now.", "Another program has written to it.", AGAIN)
    return dict(zip(left, (item.line for item in after.items), strict=True))


def _edit(test: TestSet, item: TestItem, change: Callable[[Row], Row] | None,
          references: tuple[str, ...] = ()) -> Edited:
    """Change a row, or with None remove it; `references` are those it must have then, if they are changed."""
    path = test.path
    encoding, before = _content(path, test.sha256)
    codec = CODECS[encoding]
    bom = "\ufeff" if codec.startswith("utf-16") and before[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
    checked = None if change is None else lambda row: _still_good(path, row, change(row))
    try:
        text = before.decode(codec).removeprefix(bom)
        edited = edited_text.edited(text, path.suffix.lower(), item.line, checked)
        _check_reading(test, item, edited, None if change is None else references or item.references)
        after = (bom + edited).encode(codec)
    except UnicodeError as error:
        raise UserError(f"{path.name} was not changed.", "Parts of it are no valid text.",
                        "Mend those parts first.") from error
    except edited_text.NotFound as error:
        raise UserError(f"{path.name} was not changed.", str(error), "Change the row in the file itself.") from error
    return Edited(path, before, _replace(path, test.sha256, after, f"change {path.name}"))


def _content(path: Path, sha256: str) -> tuple[str, bytes]:
    """The file's encoding and its bytes, which must be those that were read.

    Raises:
        UserError: they are others, or the file is gone or too large.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path.name} is too large to be changed here.", f"It has more than {LARGEST >> 20} MB.",
                            "Change it in another program.")
        before = path.read_bytes()
    except OSError as error:
        raise from_os_error(error, f"read {path.name}") from error
    if hashlib.sha256(before).hexdigest() != sha256:
        raise UserError(f"{path.name} was not changed.", "Another program has written to it since it was read.", AGAIN)
    source = Source(path)
    next(source.chunks(), b"")
    return source.encoding, before


def _replace(path: Path, sha256: str, after: bytes, doing: str) -> str:
    """Write the bytes in place of those with the checksum `sha256`. Returns the new ones' checksum."""
    partial = beside(path)
    try:
        state = path.stat()
        if files.sha256_of(path) != sha256:
            raise Changed
        files.write_atomically(partial, after)
        shutil.copymode(path, partial)
        put_in_place(path, partial, state)
    except Changed:
        raise UserError(f"{path.name} was not changed.", "Another program has written to it since it was read.",
                        AGAIN) from None
    except OSError as error:
        raise from_os_error(error, doing) from error
    finally:
        partial.unlink(missing_ok=True)
    return hashlib.sha256(after).hexdigest()


def _still_good(path: Path, before: Row, after: Row) -> Row:
    """The changed row, unless it would be of no use any more."""
    try:
        read_test_row(before)
        read_test_row(after)
    except RowError as error:
        raise UserError(f"{path.name} was not changed.", error.findings[0][1], "Choose another value.") from error
    return after


def _check_reading(test: TestSet, item: TestItem, edited: str, references: tuple[str, ...] | None) -> None:
    """Refuse a change after which the file would be read otherwise: how answers count the choices, say, is told by all
    rows together.

    Args:
        edited: the file's text after it.
        references: those that the row must have then; None where it is taken out.

    Raises:
        UserError: another row would have another kind or another right answer, or be of no use; or this one would not
            be read as it is meant.
    """
    try:
        items = items_of(edited, test.path.suffix.lower())
    except NoColumns:
        items = []
    at = test.items.index(item)
    before = [_judged(each) for each in (*test.items[:at], *test.items[at + 1:])]
    others = items if references is None else [*items[:at], *items[at + 1:]]
    if list(map(_judged, others)) != before:
        raise UserError(f"{test.path.name} was not changed.", "Its other rows would be read in another way then: what "
                        "an answer means can be told by all rows together only.",
                        "Change the file itself: write each right choice as a letter, or the kind of each row into a "
                        'column "kind".')
    if references is not None and (len(items) <= at or items[at].references != references):
        if len(references) > 1 and test.path.suffix.lower() in TABLE_SUFFIXES:
            raise UserError(f"{test.path.name} was not changed.", "A row of this table can have one answer: a list in "
                            "its column would be read as one text.", 'Call the column "references" in the file; its '
                            'cells may hold lists, ["one", "two"].')
        raise UserError(f"{test.path.name} was not changed.", "The row would be read with other references than those.",
                        "Change the row in the file itself.")


def _judged(item: TestItem) -> tuple[Any, ...]:
    """What an answer to the item is held against."""
    return item.kind, item.messages, item.references, item.choices, item.answer, item.pattern


def _column(row: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The row's own spelling of the first of `names` that is filled, else of the first that it has."""
    own: dict[str, str] = {}
    for name in row:
        known = column(name)
        if known not in own or known == name:
            own[known] = name
    here = [own[name] for name in names if name in own]
    return next((name for name in here if row[name] not in (None, "")), here[0] if here else None)


def _with_references(row: Row, references: list[str]) -> Row:
    name = _column(row, (*EXACT, *REFERENCES)) or _column(row, ANSWERS)
    value: Any = references if len(references) > 1 else references[0]
    if name is None and isinstance(row.get("messages"), list):
        name = "messages"
    if name is None:
        return {**row, "references": references}
    old = row[name]
    if isinstance(old, list) and old and isinstance(old[-1], dict) and "content" in old[-1] and len(references) == 1:
        return {**row, name: [*old[:-1], {**old[-1], "content": references[0]}]}
    if isinstance(old, list) or name.casefold() == "references":
        value = references
    if isinstance(old, str) and old.lstrip().startswith("[") and len(references) > 1:
        value = json.dumps(references, ensure_ascii=False)  # a cell of a table
    if name == "messages":  # several good answers have no place in a conversation
        return {**row, "messages": old[:-1], "references": references}
    return {**row, name: value}
