"""Replaces the end of a file, completely or not at all: a new file is written beside it and renamed over it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

from slmstudio.core import files
from slmstudio.core.data.source import CHUNK_BYTES


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
    if (now is None) is not (state is None):
        raise Changed
    if now and state and (now.st_ino, now.st_size, now.st_mtime_ns) != (state.st_ino, state.st_size, state.st_mtime_ns):
        raise Changed
    os.replace(partial, path)
    files.fsync_folder(path.parent)
