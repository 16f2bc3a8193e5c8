"""A language that nobody speaks: English with accents, in brackets, a third longer.

What is shown without brackets isn't translatable; what is shown without its closing bracket is cut.
"""

from __future__ import annotations

import re
from gettext import NullTranslations

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
