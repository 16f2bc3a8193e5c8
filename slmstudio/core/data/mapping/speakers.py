"""Who speaks in a conversation and what is said, as files call it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from slmstudio.core.paths import resources

WORDS: dict[str, Any] = json.loads((resources() / "importing" / "speakers.json").read_text("utf-8"))
"""What speakers are called, by the role they have, and the keys and columns of messages."""
ROLE_KEYS, CONTENT_KEYS = tuple(WORDS["role_keys"]), tuple(WORDS["content_keys"])
_ROLES = {word: role for role, words in WORDS["roles"].items() for word in words}


def role_of(speaker: Any) -> str | None:
    """The role of a speaker as files call them: "user", "assistant", "system", "tool" or "call"; None of any other."""
    return _ROLES.get(speaker.strip().casefold()) if isinstance(speaker, str) else None


def role_key(message: Mapping[str, Any]) -> str:
    return next((key for key in ROLE_KEYS if key in message), "")


def with_role(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message in which no lower-case key names who speaks, with such keys, and with a role if it says whether a
    person speaks, as PIPPA's do."""
    found = {key.casefold(): value for key, value in message.items()}
    mark = next((key for key in WORDS["is_user_keys"] if isinstance(found.get(key), bool)), "")
    if mark and not role_key(found):
        found["role"] = "user" if found.pop(mark) else "assistant"
    return found


def content_key(message: Mapping[str, Any]) -> str:
    return next((key for key in CONTENT_KEYS if message.get(key) is not None), "")


def content_of(message: Mapping[str, Any]) -> Any:
    return message.get(content_key(message))
