"""Catalogues: `.po` files for translators, compiled into `.mo` files beside them for the program; and a language that
nobody speaks, for tests of the window."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import struct
from collections.abc import Iterator
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

# -- A language that nobody speaks: English with accents, in brackets, a third longer.

_ACCENTED = str.maketrans("aceinosuyACEINOSUY", "áçéíñöšüýÁÇÉÍÑÖŠÜÝ")
_KEPT = re.compile(r"(\{[^{}]*\}|<[^<>]*>|&\w+;)")
"""Placeholders, tags and entities."""
OPEN, CLOSE = "⟦", "⟧"
_FILLER = "·"


class PseudoTranslations(NullTranslations):
    def gettext(self, message: str) -> str:
        return disguise(message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return disguise(msgid1 if n == 1 else msgid2)

    def pgettext(self, context: str, message: str) -> str:
        return disguise(message)


def disguise(message: str) -> str:
    """A message as the pseudo-locale says it.

    >>> disguise("{rows:,} rows are empty.")
    '⟦{rows:,} röwš áré émptý.····⟧'
    """
    if not message:
        return message
    parts = _KEPT.split(message)
    said = "".join(part if place % 2 else part.translate(_ACCENTED) for place, part in enumerate(parts))
    letters = sum(len(part) for part in parts[::2])
    return f"{OPEN}{said}{_FILLER * (letters * 3 // 10)}{CLOSE}"


# -- Reads `.po` files and writes `.mo` files with the standard library alone: the setup speaks before Babel is
# there.

_LINE = re.compile(r'(?:(msgctxt|msgid|msgid_plural|msgstr)(?:\[(\d+)\])?\s+)?("(?:[^"\\]|\\.)*")$')
_MAGIC = 0x950412DE


def compiled(text: str) -> bytes:
    """What the `.mo` file of a `.po` file holds. Messages that a translator has to look at again are left out.

    Raises:
        ValueError: it isn't a `.po` file.
    """
    entries: dict[str, str] = {}
    for fields in _entries(text):
        said = [fields[name] for name in sorted(fields) if name.startswith("msgstr")]
        if not all(said):
            continue
        key = fields["msgid"] + ("\0" + fields["msgid_plural"] if "msgid_plural" in fields else "")
        entries[f"{fields['msgctxt']}\x04{key}" if "msgctxt" in fields else key] = "\0".join(said)
    if "" not in entries:
        raise ValueError("a .po file begins with a header")
    return _mo(entries)


def _entries(text: str) -> Iterator[dict[str, str]]:
    """Each message with its parts: "msgid", "msgstr" (or "msgstr0" …), "msgctxt", "msgid_plural"."""
    fields: dict[str, str] = {}
    name, unsure = "", False
    for line in [*filter(None, map(str.strip, text.splitlines())), "#"]:
        found = _LINE.match(line)
        if name.startswith("msgstr") and (line.startswith("#") or (found and found[1] in ("msgctxt", "msgid"))):
            if not unsure or not fields["msgid"]:
                yield fields
            fields, name, unsure = {}, "", False
        if line.startswith("#"):
            unsure = unsure or (line.startswith("#,") and "fuzzy" in line)
            continue
        if found is None or not (found[1] or name) or (found[1] == "msgstr" and "msgid" not in fields):
            raise ValueError(f"not a line of a .po file: {line}")
        if found[1]:
            name = found[1] + (found[2] or "")
            fields[name] = ""
        try:
            fields[name] += ast.literal_eval(found[3])
        except SyntaxError as error:  # such as "\x"
            raise ValueError(f"not a string of a .po file: {line}") from error


def _mo(entries: dict[str, str]) -> bytes:
    """Source of the layout: GNU gettext's manual, "The Format of GNU MO Files"."""
    pairs = sorted((key.encode(), said.encode()) for key, said in entries.items())
    start = 7 * 4 + len(pairs) * 16
    tables: list[list[int]] = [[], []]
    texts = b""
    for side, table in enumerate(tables):
        for pair in pairs:
            table += [len(pair[side]), start + len(texts)]
            texts += pair[side] + b"\0"
    header = (_MAGIC, 0, len(pairs), 28, 28 + len(pairs) * 8, 0, 0)
    return struct.pack(f"<{7 + 4 * len(pairs)}I", *header, *tables[0], *tables[1]) + texts


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
    return compiled(file.read_text(encoding="utf-8"))


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
