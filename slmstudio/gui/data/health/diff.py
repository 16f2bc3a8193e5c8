"""What a change does to a text, as pieces that stay, go and come."""

from __future__ import annotations

import re
import unicodedata
from difflib import SequenceMatcher
from typing import Literal

Kind = Literal["same", "gone", "new"]
_PIECE = re.compile(r"\s+|\w[\w\u0900-\u0dff\u200c\u200d]*|.", re.DOTALL)
CONTEXT = 60
"""Characters that are kept of what stays, at each side of a change."""
MOST_PIECES = 1500
"""The most pieces of the differing stretch; a longer one is shown as all removed and all added."""
MOST_CHARACTERS = 300
"""Shown of a piece that goes or comes."""
GAP = " … "


def pieces(before: str, after: str) -> list[tuple[Kind, str]]:
    """How `before` becomes `after`, with long stretches that stay left out.

    >>> pieces("call 98765 now", "call [PHONE] now")
    [('same', 'call '), ('gone', '98765'), ('new', '[PHONE]'), ('same', ' now')]
    """
    old, new = _PIECE.findall(before), _PIECE.findall(after)
    start = _common(old, new)
    end = _common(old[start:][::-1], new[start:][::-1])
    head, tail = "".join(old[:start]), "".join(old[len(old) - end:])
    found: list[tuple[Kind, str]] = [("same", head)] if head else []
    found += _differing(old[start:len(old) - end], new[start:len(new) - end])
    found += [("same", tail)] if tail else []
    last = len(found) - 1
    return [(kind, _short_same(text, place == 0, place == last) if kind == "same" else shown(text))
            for place, (kind, text) in enumerate(found)]


def _common(old: list[str], new: list[str]) -> int:
    """How many pieces at the beginning are the same."""
    for count, (one, other) in enumerate(zip(old, new, strict=False)):
        if one != other:
            return count
    return min(len(old), len(new))


def _differing(old: list[str], new: list[str]) -> list[tuple[Kind, str]]:
    if len(old) + len(new) > MOST_PIECES:
        return [("gone", "".join(old)), ("new", "".join(new))]
    found: list[tuple[Kind, str]] = []
    for what, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if what == "equal":
            found.append(("same", "".join(old[a:b])))
            continue
        found += [("gone", "".join(old[a:b]))] if b > a else []
        found += [("new", "".join(new[c:d]))] if d > c else []
    return found


def _short_same(text: str, first: bool, last: bool) -> str:
    if len(text) <= 2 * CONTEXT:
        return text
    begin = "" if first else _head(text, CONTEXT)
    end = "" if last else text[len(text) - len(_head(text[::-1], CONTEXT)):]
    return (begin + GAP + end) if not (first and last) else _head(text, 2 * CONTEXT) + GAP


def _head(text: str, most: int) -> str:
    """The first characters, up to a blank where there is one near."""
    cut = max(text.rfind(" ", 0, most), text.rfind("\n", 0, most))
    return text[:cut if cut > most // 2 else most]


def shown(text: str, most: int = MOST_CHARACTERS) -> str:
    """A text with what is invisible made visible, cut if it is long.

    >>> shown("a\\u200bb")
    'a[U+200B]b'
    """
    cut = text if len(text) <= most else _head(text, most) + GAP.rstrip()
    return "".join(f"[U+{ord(each):04X}]" if _invisible(each) else each for each in cut)


def _invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf") and character not in "\n\t\u200c\u200d"
