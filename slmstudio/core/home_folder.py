"""The folder with runs, models and chats: which one it is, whether another can be used, and changing it.

Nothing is moved. A run remembers where its base model is by its path, and the queue its runs; if those moved, they
would be lost. That's why existing files stay where they are, and the user is told how to bring them along.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from slmstudio.core import disk_space, files, formats, paths, program
from slmstudio.core.errors import UserError, from_os_error, os_errors_as
from slmstudio.core.i18n import tr
from slmstudio.core.units import format_bytes

KEPT = ("runs", "models", "datasets", "documents", "chats", "evaluations", "benchmarks", "votes.jsonl")
"""What a user would miss."""
_SETTINGS = "settings.json"
PRIVATE = ".private"
"""The presence of this file means that the folder was made private once."""
_OF_THE_SYSTEM = frozenset({PRIVATE, "lost+found", "System Volume Information", "$RECYCLE.BIN",
                            "desktop.ini", ".DS_Store"})


def is_fixed() -> bool:
    """Whether SLMSTUDIO_HOME names the folder; then nothing else can change it."""
    return bool(os.environ.get("SLMSTUDIO_HOME"))


def missing() -> UserError | None:
    """Why the chosen folder can't be used now, or None. New, empty folders in its place would look like lost data."""
    if is_fixed():
        return None
    try:
        folder = paths.chosen_home()
    except UserError as error:
        return error
    if folder is None or _has(folder, KEPT):
        return None
    there = os.path.isdir(folder)
    return UserError(tr("The folder with your runs and models ({folder}) is missing.", folder=folder),
                     tr("It exists but contains no runs or models; its disk may not be connected.") if there
                     else tr("It is missing; its disk may not be connected."),
                     tr("Connect the disk and start again, or choose another folder: {command} ({usual_command} for "
                        "the usual one).", command=program.command("place", "FOLDER"),
                        usual_command=program.command("place", "--usual")))


def require() -> None:
    """Stop before anything is read or written where the chosen folder is missing.

    Raises:
        UserError: see `missing`.
    """
    error = missing()
    if error is not None:
        raise error


def keep_private(home: Path) -> None:
    """Close the folder to the machine's other users: in it are rows, chats, logs and samples.

    A new one is made for its owner alone. An older one is made private once: if its owner opens it to others
    afterwards, to share models for example, it stays open. On Windows a folder in the user's profile is private anyway.
    """
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):  # a folder that can't be written to is reported when something is written
        home.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            home.mkdir(mode=0o700)
        about = home.stat()
        # A folder for everybody, such as /tmp, is never closed, nor is one that holds nothing of ours.
        if about.st_uid == os.getuid() and not about.st_mode & stat.S_ISVTX and not (home / PRIVATE).exists() and (
                _has(home, (*KEPT, _SETTINGS, "environment")) or not os.listdir(home)):
            home.chmod(stat.S_IMODE(about.st_mode) & ~0o077)
            (home / PRIVATE).touch(mode=0o600)


def explain(error: OSError, what: str) -> UserError:
    """A system error as a sentence; where it is about the folder that everything is kept in, it says so.

    Args:
        what: see `from_os_error`.
    """
    said = from_os_error(error, what)
    named = error.filename2 or error.filename
    with contextlib.suppress(UserError, OSError, TypeError):
        home = absolute(paths.home())
        if named is not None and absolute(Path(named)).is_relative_to(home):
            why = tr("Runs, models and chats are kept in {folder}.", folder=home)
            return UserError(said.what, f"{said.why} {why}", _another_place())
    return said


def _another_place() -> str:
    if is_fixed():
        return tr("Make that folder writable, or set SLMSTUDIO_HOME to another one.")
    return tr("Make that folder writable, or choose another one: {command}", command=program.command("place", "FOLDER"))


def kept(folder: Path) -> list[str]:
    """Names of what a user would miss in `folder`, as in ["runs", "chats"]."""
    found = []
    for name in KEPT:
        with contextlib.suppress(OSError):  # absent, or on a disk that was removed
            path = folder / name
            if any(path.iterdir()) if path.is_dir() else path.stat().st_size:
                found.append(name)
    return found


def what_stays(old: Path, new: Path) -> str:
    """A sentence on what was kept in the place before, and how to bring it along; "" when that was nothing."""
    names = kept(old) if old != new else []
    if not names:
        return ""
    return tr("Your earlier work stays in {old}: {names}. To bring it along, copy these into {new}. Copy them, don't "
              "move them: runs remember where their base model was.", old=old, names=", ".join(names), new=new)


def check(folder: Path) -> list[UserError]:
    """Whether `folder` can be the place. Nothing is made or changed.

    Returns:
        warnings: it can, but the user should know this first.

    Raises:
        UserError: it can't.
    """
    import tempfile

    if is_fixed():
        raise UserError(tr("The folder is set by SLMSTUDIO_HOME."), tr("It is set to {home}.", home=paths.home()),
                        tr("Unset SLMSTUDIO_HOME and start again to choose a folder here."))
    folder = absolute(folder)
    _refuse_own(folder)
    _refuse_foreign(folder)
    with os_errors_as(tr("Could not write to {folder}.", folder=folder)):
        nearest = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
        with tempfile.TemporaryFile(dir=nearest):
            pass
        free = disk_space.free(nearest)
    if free < disk_space.LEAST_ROOM:
        raise UserError(tr("There isn't enough space in {folder}.", folder=folder),
                        tr("{free} is free; a first run needs {needed}.", free=format_bytes(free),
                           needed=format_bytes(disk_space.LEAST_ROOM)),
                        tr("Choose a folder on another disk, or free some space."))
    return notes(folder, free)


def notes(folder: Path, free: int) -> list[UserError]:
    """What to know of `folder`, with this many bytes free, as the place."""
    from slmstudio.core.hardware import wsl

    found = [disk_space.little_room(free), wsl.slow_place(folder) if wsl.is_wsl() else None]
    if wsl.is_network(folder):
        found.append(UserError(tr("This folder is on another machine."),
                               tr("Models load at the network's speed, and a run stops when the connection breaks."),
                               tr("A folder on a disk of this machine is faster and safer.")))
    return [note for note in found if note is not None]


def change(folder: Path) -> str:
    """Keep everything in `folder` from now on, in this and every other process that starts.

    Returns:
        what stays in the old place, and how to bring it along; "" when there is nothing.

    Raises:
        UserError: it can't be used, or something is running.
    """
    check(folder)
    folder = absolute(folder)
    try:
        old: Path | None = paths.home()
    except UserError:
        old = None  # a damaged note is what this fixes
    if old is not None:
        _refuse_while_running(old)
    with os_errors_as(tr("Could not use {folder} for runs and models.", folder=folder)):
        for name in ("runs", "models"):
            # These identify the folder: an empty one means that its disk isn't plugged in.
            (folder / name).mkdir(parents=True, exist_ok=True)
        keep_private(folder)
        if old is not None and (old / _SETTINGS).is_file() and not (folder / _SETTINGS).exists():
            shutil.copyfile(old / _SETTINGS, folder / _SETTINGS)
        if folder == absolute(paths.usual_home()):
            paths.place_file().unlink(missing_ok=True)
        else:
            note = {**formats.stamp("place"), "folder": str(folder)}
            files.write_atomically(paths.place_file(), files.dump_pretty(note))
    return what_stays(old, folder) if old is not None else ""


def use_usual() -> None:
    """Forget the choice: the system's own place is used again. What is in the chosen folder stays there.

    Raises:
        UserError: the note of the choice can't be removed.
    """
    with os_errors_as(tr("Could not go back to the usual folder.")):
        paths.place_file().unlink(missing_ok=True)


def absolute(folder: Path) -> Path:
    """As it is remembered: whole, and without `..` and links."""
    return folder.expanduser().resolve()


def _has(folder: Path, names: Iterable[str]) -> bool:
    # os.path answers False if pathlib raises: a disk that gives errors counts as missing.
    return any(os.path.exists(folder / name) for name in names)


def _refuse_own(folder: Path) -> None:
    insides = ((paths.resources().parent, tr("{folder} is inside the program.", folder=folder)),
               (Path(sys.prefix), tr("{folder} is inside the program's Python environment.", folder=folder)))
    for own, sentence in insides:
        if folder.is_relative_to(own.resolve()):
            raise UserError(sentence, tr("Updating or removing SLM Studio would delete your work."),
                            tr("Choose a folder elsewhere, for example in your home folder."))


def _refuse_foreign(folder: Path) -> None:
    if folder.is_dir():
        with os_errors_as(tr("Could not open the folder.")):
            names = set(os.listdir(folder)) - _OF_THE_SYSTEM
        names = {name for name in names if not name.startswith(".Trash")}
        if names and not _has(folder, (*KEPT, _SETTINGS)) and folder != absolute(paths.usual_home()):
            raise UserError(tr("{folder} contains other files.", folder=folder),
                            tr("One of them is {file}.", file=min(names)),
                            tr("Create an empty folder in it, and choose that."))
    elif os.path.lexists(folder):
        raise UserError(tr("{folder} isn't a folder.", folder=folder), tr("It is a file."), tr("Choose a folder."))


def _refuse_while_running(home: Path) -> None:
    from slmstudio.core.jobs.job import Job

    for pattern in ("runs/*", "runs/*/jobs/*", "evaluations/*", "cache/jobs/*"):
        for file in home.glob(f"{pattern}/process.json"):
            if Job(file.parent).is_alive():
                raise UserError(tr("The folder can't be changed while something is running."),
                                tr("Still running: {folder}.", folder=file.parent),
                                tr("Wait until it's done, or stop it; then change the folder."))
