"""Which importer reads a file's rows, if any."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from slmstudio.core.data.candidates import Part
from slmstudio.core.data.importers import chats, linked, people
from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.sources.row import Raw

LOOKED_AT = 40
_LIKELY = 0.5


class Importer(NamedTuple):
    """
    Attributes:
        detect: how sure it is that such first rows are messages, or chats, that it makes conversations of, 0 to 1.
        read: the conversations of all rows, by the values of the first ones and by who speaks, if a user has said so;
            the part gets sentences on how they were joined, and what else they may be.
    """

    detect: Callable[[list[dict[str, Any]]], float]
    read: Callable[[Iterator[Raw], list[dict[str, Any]], ReadOptions, Part], Iterator[Raw]]


_IMPORTERS = (Importer(chats.detect, chats.read), Importer(linked.is_tree, linked.read_trees),
              Importer(linked.detect, linked.read), Importer(people.has_names, people.read_named))


def importer_of(values: list[Any], options: ReadOptions) -> tuple[Importer | None, float]:
    """The surest importer of a file with such first rows, and how sure it is; None if each row speaks for itself."""
    if not values or not all(isinstance(each, dict) for each in values):
        return None, 1.0
    certainty, _, found = max((each.detect(values), -at, each) for at, each in enumerate(_IMPORTERS))
    is_said = options.user is not None or options.assistant is not None
    return (found, certainty) if certainty >= _LIKELY or (is_said and certainty) else (None, 1.0)
