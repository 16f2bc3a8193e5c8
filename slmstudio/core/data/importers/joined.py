"""Which importer reads a file's rows, if any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from slmstudio.core.data.candidates import Readable
from slmstudio.core.data.importers import chats, linked, named, trees
from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.sources.row import Raw

LOOKED_AT = 40
_LIKELY = 0.5


class Importer(Protocol):
    """A module of this room."""

    def detect(self, values: list[dict[str, Any]]) -> float:
        """How sure it is that such rows are messages, or chats, that it makes conversations of, 0 to 1."""

    def read(self, rows: Iterator[Raw], values: list[dict[str, Any]], options: ReadOptions,
             part: Readable) -> Iterator[Raw]:
        """The conversations of all rows.

        Args:
            values: of the first rows.
            options: who speaks, if a user has said so.
            part: gets sentences on how the rows were joined, and what else they may be.
        """


_IMPORTERS: tuple[Importer, ...] = (chats, trees, linked, named)


def importer_of(values: list[Any], options: ReadOptions) -> tuple[Importer | None, float]:
    """The surest importer of a file with such first rows, and how sure it is; None if each row speaks for itself."""
    if not values or not all(isinstance(each, dict) for each in values):
        return None, 1.0
    certainty, _, found = max((each.detect(values), -at, each) for at, each in enumerate(_IMPORTERS))
    is_said = options.user is not None or options.assistant is not None
    return (found, certainty) if certainty >= _LIKELY or (is_said and certainty) else (None, 1.0)
