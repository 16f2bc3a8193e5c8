"""Rows with a conversation each, whose speakers a user has named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from slmstudio.core.data.candidates import Readable
from slmstudio.core.data.importers import people
from slmstudio.core.data.mapping.speakers import content_of, role_key, role_of
from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.sources.row import Raw


def detect(values: list[dict[str, Any]]) -> float:
    return 0.1 if any(map(_conversations, values)) else 0.0  # nothing that would be done unasked


def _conversations(value: Any) -> dict[str, list[dict[str, Any]]]:
    """The columns of a row with messages whose speakers aren't all called by their roles."""
    return {name: each for name, each in value.items() if isinstance(each, list) and each and all(
        isinstance(message, dict) and role_key(message) for message in each) and not all(
        role_of(message[role_key(message)]) for message in each)} if isinstance(value, dict) else {}


def read(rows: Iterator[Raw], _values: list[dict[str, Any]], options: ReadOptions, _part: Readable) -> Iterator[Raw]:
    for raw in rows:
        found = {name: _named(messages, options) for name, messages in _conversations(raw.value).items()}
        yield raw._replace(value={**raw.value, **found}) if found else raw


def _named(messages: list[dict[str, Any]], options: ReadOptions) -> list[dict[str, Any]]:
    """The messages of the named speakers, in their roles, up to the last answer."""
    said = [(str(each[role_key(each)]), each) for each in messages]
    roles = people.named_roles(list(dict.fromkeys(who for who, _ in said)), options)
    return people.up_to_answer(people.turns((roles[who], str(content_of(each))) for who, each in said if who in roles))
