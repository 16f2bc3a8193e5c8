"""Catalogues: `.po` files for translators, compiled into `.mo` files beside them for the program."""

from __future__ import annotations

import contextlib
import io
import os
import struct
from gettext import GNUTranslations
from pathlib import Path

from slmstudio.core.i18n import po_file

_UNREADABLE = (OSError, ValueError, LookupError, struct.error)
"""What is raised by files that aren't catalogues, and by headers with plural rules or a charset that mean nothing."""


def load(file: Path) -> GNUTranslations | None:
    """The catalogue of a `.po` file, or None if there is none that can be read.

    It is compiled when it is first loaded, and again when it has changed. Where the folder can't be written to, it is
    compiled at each start; packages bring it compiled.
    """
    compiled = file.with_suffix(".mo")
    with contextlib.suppress(*_UNREADABLE):  # cut or damaged, as after a power cut: it is made again
        if compiled.stat().st_mtime_ns >= file.stat().st_mtime_ns:
            return GNUTranslations(io.BytesIO(compiled.read_bytes()))
    try:
        content = compile_catalogue(file)
        found = GNUTranslations(io.BytesIO(content))
    except _UNREADABLE:
        return None
    with contextlib.suppress(OSError):
        _write(compiled, content)
    return found


def compile_catalogue(file: Path) -> bytes:
    """What the `.mo` file of a `.po` file holds. Messages that a translator has to look at again are left out.

    Raises:
        OSError: it can't be read.
        ValueError: it isn't a `.po` file.
    """
    return po_file.compiled(file.read_text(encoding="utf-8"))


def _write(file: Path, content: bytes) -> None:
    """Whole or not at all. (`core.files` speaks by this room, so this room can't write by it.)"""
    beside = file.with_suffix(f".{os.getpid()}.tmp")
    try:
        with beside.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
