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
from typing import Any, NamedTuple

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


class Stretch(NamedTuple):
    """A part of a rendered text.

    Attributes:
        text: without marks, and without the white space that the tokens around it take.
        is_plain: whether nothing in it is a control token.
        begin: its place in the whole text without marks, in characters.
    """

    text: str
    is_plain: bool
    begin: int


def stretches(text: str, controls: Iterable[str], strip_before: tuple[str, ...] = (),
              strip_after: tuple[str, ...] = ()) -> list[Stretch]:
    """A rendered text in its order, cut where what is plain begins and ends.

    Args:
        strip_before: control tokens that take the white space before them; `strip_after`: behind them.
    """
    parts: list[tuple[str, bool]] = []
    for part in re.split(f"({_any_of(tuple(controls)).pattern})", text):
        plain = MARK in part
        if plain or not parts or parts[-1][1]:
            parts.append((part.replace(MARK, ""), plain))
        else:
            parts[-1] = (parts[-1][0] + part, False)
    parts = [part for part in parts if part[0]]
    found, place = [], 0
    for (before, _), (part, plain), (after, _) in zip([("", False), *parts], parts, [*parts[1:], ("", False)],
                                                      strict=False):
        cut = part.lstrip() if plain and strip_after and before.endswith(strip_after) else part
        begin = place + len(part) - len(cut)
        cut = cut.rstrip() if plain and strip_before and after.startswith(strip_before) else cut
        found.append(Stretch(cut, plain, begin))
        place += len(part)
    return found


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
