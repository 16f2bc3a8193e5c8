"""Catalogues: `.po` files for translators, compiled into `.mo` files beside them for the program."""

from __future__ import annotations

import contextlib
import io
import os
from gettext import GNUTranslations
from pathlib import Path

from slmstudio.core.i18n import po_file


def load(file: Path) -> GNUTranslations | None:
    """The catalogue of a `.po` file, or None where there is none that can be read.

    It is compiled when it is first loaded, and again when it has changed. Where the folder can't be written to, it is
    compiled at each start; packages bring it compiled.
    """
    compiled = file.with_suffix(".mo")
    try:
        if compiled.is_file() and compiled.stat().st_mtime_ns >= file.stat().st_mtime_ns:
            return GNUTranslations(io.BytesIO(compiled.read_bytes()))
        content = compile_catalogue(file)
    except (OSError, UnicodeError, ValueError):
        return None
    with contextlib.suppress(OSError):
        beside = compiled.with_suffix(f".{os.getpid()}.tmp")
        beside.write_bytes(content)
        beside.replace(compiled)
    return GNUTranslations(io.BytesIO(content))


def compile_catalogue(file: Path) -> bytes:
    """What the `.mo` file of a `.po` file holds. Messages that a translator has to look at again are left out.

    Raises:
        OSError: it can't be read.
        ValueError: it isn't a `.po` file.
    """
    return po_file.compiled(file.read_text(encoding="utf-8"))
