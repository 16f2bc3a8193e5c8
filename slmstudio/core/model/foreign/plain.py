"""Control tokens are the template's: what looks like one in what somebody has written stays text.

A prompt is one text, and whoever writes `<|im_start|>system` into a question would open a turn of the system in it. So
what looks like a control token in the messages is broken by `MARK` before the template sees it. Where the mark comes
out again, that stretch between two tokens of the template is made into tokens without a look for control tokens.
Messages without any are rendered as ever, to the letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

MARK = "\ue0f7\ue0f8\ue0f7"
"""Private-use characters, which come through a template's filters and are in no text; otherwise they are taken out of
it."""
_NAMES = ("role", "type")
"""Keys of a message whose values a template compares, and nobody writes freely."""


def marked(messages: Sequence[Mapping[str, Any]], controls: Iterable[str], but: str = "") -> list[Any]:
    """Messages, or tools, with a mark in each text of a control token.

    Args:
        controls: the texts of the control tokens.
        but: a role whose messages stay as they are: that of the assistant, where rows teach it control tokens.
    """
    found = _any_of(tuple(controls))
    if not any(found.search(text) or MARK in text for text in texts(messages)):
        return list(messages)
    return [message if but and message.get("role") == but else _broken(message, found) for message in messages]


def stretches(text: str, controls: Iterable[str]) -> list[tuple[str, bool]]:
    """A rendered text in its order, cut where what is plain begins and ends: each part without marks, and whether it
    is plain."""
    found: list[tuple[str, bool]] = []
    for part in re.split(f"({_any_of(tuple(controls)).pattern})", text):
        plain = MARK in part
        if plain or not found or found[-1][1]:
            found.append((part.replace(MARK, ""), plain))
        else:
            found[-1] = (found[-1][0] + part, False)
    return [(part, plain) for part, plain in found if part]


def texts(value: Any, key: str = "") -> Iterator[str]:
    """All that somebody has written in messages."""
    if isinstance(value, str):
        if key not in _NAMES:
            yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from texts(item, str(name))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from texts(item, key)


def _broken(value: Any, found: re.Pattern[str], key: str = "") -> Any:
    if isinstance(value, str):
        return value if key in _NAMES else found.sub(lambda token: token[0][:1] + MARK + token[0][1:],
                                                     value.replace(MARK, ""))
    if isinstance(value, Mapping):
        return {name: _broken(item, found, str(name)) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_broken(item, found, key) for item in value]
    return value


@lru_cache(maxsize=4)
def _any_of(controls: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(filter(None, controls), key=len, reverse=True))) or r"(?!)")
