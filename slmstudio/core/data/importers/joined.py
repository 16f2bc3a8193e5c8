"""Which importer joins a file's rows to conversations, if any; and chats of people as programs export them, one a row
or a message a row: where things are in them is said by the published layouts "of" a "chat" and a "post"."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from slmstudio.core.data.candidates import Part
from slmstudio.core.data.importers import linked, people
from slmstudio.core.data.importers.people import Message
from slmstudio.core.data.mapping.paths import find
from slmstudio.core.data.mapping.published import layout_of
from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.i18n import tr

LOOKED_AT = 40
_LIKELY = 0.5



def _are_chats(values: list[dict[str, Any]]) -> float:
    return float(all(layout_of(each, "chat") is not None for each in values) or _are_posts(values))


def _are_posts(values: list[dict[str, Any]]) -> bool:
    """Whether each row is a message; one of them may say who they are from."""
    posts = sum(layout_of(each, "post") is not None for each in values)
    return posts > 1 and posts >= len(values) - 1


def _read_chats(rows: Iterator[Raw], values: list[dict[str, Any]], options: ReadOptions,
                part: Part) -> Iterator[Raw]:
    """The conversations; rows that aren't chats stay as they are."""
    if _are_posts(values):
        posts = (message for raw in rows for message in _messages(raw, "post"))
        yield from people.conversations(posts, options, part, tr("This chat"))
        return
    for raw in rows:
        layout = layout_of(raw.value, "chat")
        if layout is None:
            yield raw
            continue
        name = find(layout.entry["chat"], raw.value)
        yield from people.conversations(_messages(raw, "chat"), options, part,
                                        f"“{name}”" if isinstance(name, str) else tr("This chat"))


def _messages(raw: Raw, of: str) -> Iterator[Message]:
    """Those of a row that have a text and a speaker."""
    layout = layout_of(raw.value, of)
    for each in (find(layout.entry["messages"], raw.value) if layout is not None else None) or ():
        if isinstance(each["who"], str) and isinstance(each["text"], str) and each["text"].strip():
            yield Message(each["who"], each["text"], people.day_of(each.get("when")), raw.line, each.get("role") or "")


class Importer(NamedTuple):
    """
    Attributes:
        detect: how sure it is that such first rows are messages, or chats, that it makes conversations of, 0 to 1.
        read: the conversations of all rows, by the values of the first ones and by who speaks, if a user has said so;
            the part gets sentences on how they were joined, and what else they may be.
    """

    detect: Callable[[list[dict[str, Any]]], float]
    read: Callable[[Iterator[Raw], list[dict[str, Any]], ReadOptions, Part], Iterator[Raw]]


_IMPORTERS = (Importer(_are_chats, _read_chats), Importer(linked.is_tree, linked.read_trees),
              Importer(linked.detect, linked.read), Importer(people.has_names, people.read_named))


def importer_of(values: list[Any], options: ReadOptions) -> tuple[Importer | None, float]:
    """The surest importer of a file with such first rows, and how sure it is; None if each row speaks for itself."""
    if not values or not all(isinstance(each, dict) for each in values):
        return None, 1.0
    certainty, _, found = max((each.detect(values), -at, each) for at, each in enumerate(_IMPORTERS))
    is_said = options.user is not None or options.assistant is not None
    return (found, certainty) if certainty >= _LIKELY or (is_said and certainty) else (None, 1.0)
