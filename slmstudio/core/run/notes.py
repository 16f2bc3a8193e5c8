"""What a user wrote about a run: a note, and tags to find it by. Kept as RUN/notes.json."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from slmstudio.core import files, formats
from slmstudio.core.errors import os_errors_as
from slmstudio.core.i18n import tr

FILE = "notes.json"
LONGEST_TAG = 40
"""Characters; a longer one is a note."""


@dataclass(frozen=True)
class Notes:
    """
    Attributes:
        tags: in the order in which they were typed, each once whatever its case.
    """

    text: str = ""
    tags: tuple[str, ...] = ()

    def has(self, tag: str) -> bool:
        return tag.casefold() in {own.casefold() for own in self.tags}


def parse_tags(text: str) -> tuple[str, ...]:
    """Tags as a user types them, between commas.

    >>> parse_tags("best, हिन्दी,  Best , for the  demo")
    ('best', 'हिन्दी', 'for the demo')
    """
    return _clean(re.split(r"[,;\n]", text))


def read(run_folder: Path) -> Notes:
    """The notes of a run. A file that is missing, or isn't a JSON object, says nothing.

    Raises:
        UserError: a newer program wrote the file.
    """
    state = formats.read("notes", Path(run_folder) / FILE) or {}
    text, tags = state.get("note"), state.get("tags")
    words = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    return Notes(text if isinstance(text, str) else "", _clean(words))


def write(run_folder: Path, notes: Notes) -> None:
    """Keep the notes, whole or not at all; empty ones take the file away.

    Raises:
        UserError: the folder can't be written, or a newer program wrote what is there.
    """
    path = Path(run_folder) / FILE
    with os_errors_as(tr("Could not save the note.")):
        state = formats.read("notes", path) or {}  # what this version doesn't know stays
        if notes == Notes():
            path.unlink(missing_ok=True)
            return
        files.write_atomically(path, files.dump_pretty(
            {**state, **formats.stamp("notes"), "note": notes.text, "tags": list(notes.tags)}))


def _clean(tags: Iterable[str]) -> tuple[str, ...]:
    kept: dict[str, str] = {}
    for tag in tags:
        shown = " ".join(tag.split())[:LONGEST_TAG].strip()
        if shown:
            kept.setdefault(shown.casefold(), shown)
    return tuple(kept.values())
