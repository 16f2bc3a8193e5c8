"""Adds one row to a dataset, in the file's own layout, and undoes it. The file is whole at every moment.

The new file is written beside the old one, read back, and renamed into its place: a full disk, a kill or a power cut
leaves the old one.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slmstudio.core.data import given
from slmstudio.core.data.appending.new_row import NewRow, as_columns
from slmstudio.core.data.appending.target import (
    Changed,
    Target,
    beside,
    bytes_at,
    dumped,
    ends,
    look,
    new_file,
    put_in_place,
    write,
)
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.i18n import tr

ATTEMPTS = 3
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


def append(path: Path | str, row: NewRow, cancelled: Callable[[], bool] | None = None,
           said: str | None = None) -> Added:
    """Add a row to a JSONL or JSON file, or make the file.

    Args:
        said: what its columns hold, where a user chose that, as `given.parse` reads it.

    Raises:
        UserError: the row is incomplete, already in the file or of a different kind from its rows; rows can't be added
            to this file; or it can't be written. The file is unchanged then.
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
        found = look(path, row, cancelled, said) if state else new_file(path)
        text = dumped(as_columns(row, found.like, found.mapper, bool(said and found.mapper)), found)
        before, after = ends(path if state else None, found, text)
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


def _check(partial: Path, row: NewRow, found: Target, name: str, said: str | None) -> int:
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
                    tr("Open the file and fix its end, or choose a different file."))
