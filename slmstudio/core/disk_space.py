"""Space on the disk: checked before a job begins, kept in reserve for its last words."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from slmstudio.core import units
from slmstudio.core.errors import UserError, causes
from slmstudio.core.i18n import tr

LEAST = 256 * 1024
"""Bytes without which no job begins: there would be no room for its events and its outcome."""
RESERVE = "reserve"
RESERVE_BYTES = 64 * 1024
PART_BYTES = 16 * 1024
"""Of the reserve, for an event that must not be lost. The last part stays for the outcome."""
NOTHING = 16 * 1024
"""Bytes that are as good as none."""
LITTLE_ROOM = 10 * 1024**3
"""Bytes free below which a warning is due: a model, its checkpoints and its exports soon fill them."""
LEAST_ROOM = 2 * 1024**3
"""Bytes free below which no folder is chosen for runs and models: the starter model and one run with an export take
about one GB."""


def free(path: Path) -> int:
    """Bytes that this user can still write at `path`, or at the nearest folder above it that exists.

    Raises:
        OSError: the disk doesn't answer.
    """
    path = path.absolute()
    return shutil.disk_usage(next((p for p in (path, *path.parents) if os.path.exists(p)), path)).free


def require(folder: Path, needed: int = 0) -> None:
    """
    Args:
        needed: bytes that will be written, as far as they are known.

    Raises:
        UserError: there is hardly any room, or less than what is needed.
    """
    try:
        left = free(folder)
    except OSError:
        return  # what is wrong there shows when it is written to
    if LEAST <= left < LEAST + needed:
        raise UserError(tr("There isn't enough disk space: {size} is left on the disk with {folder}.",
                           size=units.format_bytes(left), folder=folder),
                        tr("About {size} is needed.", size=units.format_bytes(needed)),
                        tr("Free some space and start again."))
    if left < LEAST:
        raise UserError(tr("The disk is full: {size} is left on the disk with {folder}.", size=units.format_bytes(left),
                           folder=folder), tr("Nothing could be saved there."),
                        tr("Free some space and start again."))


def little_room(free: int) -> UserError | None:
    """What to say when this many bytes are free at the place; None when they will do."""
    if free >= LITTLE_ROOM:
        return None
    return UserError(tr("Only {size} is free.", size=units.format_bytes(free)),
                     tr("A model with its checkpoints and exports soon takes {size}.",
                        size=units.format_bytes(LITTLE_ROOM)),
                     tr("Choose a folder on a larger disk, or free some space."))


def keep_reserve(folder: Path) -> None:
    """Take some room now, so that the outcome can be written on a disk that filled in the meantime.

    Raises:
        OSError: there is none left.
    """
    with open(folder / RESERVE, "wb") as file:
        file.write(os.urandom(RESERVE_BYTES))  # zeros may take no room
        file.flush()
        os.fsync(file.fileno())


def give_part(folder: Path) -> None:
    """Free a part of the reserve, so that people learn now that the disk is full."""
    with contextlib.suppress(OSError):
        path = folder / RESERVE
        os.truncate(path, max(PART_BYTES, path.stat().st_size - PART_BYTES))


def give_reserve(folder: Path) -> None:
    with contextlib.suppress(OSError):
        (folder / RESERVE).unlink(missing_ok=True)


def is_full(error: BaseException, folder: Path) -> bool:
    """Whether an error came of a full disk, whatever a library made of it."""
    import sqlite3  # only where something has gone wrong

    for each in causes(error):
        if isinstance(each, OSError) and each.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if isinstance(each, sqlite3.Error) and getattr(each, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
            return True
    ours = type(error).__module__.startswith("slmstudio.")  # says what it means
    return not ours and free(folder) < NOTHING


@contextlib.contextmanager
def full_as_os_error(folder: Path) -> Iterator[None]:
    """Within, what libraries make of a full disk becomes the system's own error.

    Raises:
        OSError: there is no room at `folder`.
    """
    try:
        yield
    except (OSError, UserError):
        raise
    except Exception as error:
        if not is_full(error, folder):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
