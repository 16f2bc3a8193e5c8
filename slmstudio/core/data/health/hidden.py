"""Characters that nobody sees or wants: controls, joiners that no script needs, text in the wrong encoding.

Each function gives a text without them, and the very same text where there are none.
"""

from __future__ import annotations

import re
from functools import lru_cache

from slmstudio.core.data.health.kinds import pattern, written

CONTROLS = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0), 0xFEFF))) - frozenset("\t\n\r")
"""C0 and C1, DEL, and the byte order mark, which doesn't belong inside a text."""
_CONTROL = re.compile(f"[{''.join(sorted(map(re.escape, CONTROLS)))}]")
_ABOVE_ASCII_CONTROL = re.compile("[\x80-\x9f]")
_SIGNS = {code: sign for code in range(0x80, 0xA0) if (sign := bytes([code]).decode("cp1252", errors="ignore"))}
"""What Windows-1252 has for C1 controls."""
BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
JOINERS = BIDI | frozenset("\u200b\u200c\u200d\u00ad\u2060")
_RIGHT_TO_LEFT = pattern("right_to_left")
GARBLED = frozenset(map(chr, range(0x80, 0x530)))
"""Text in a wrong one-byte encoding always has some of these: Latin, Greek or Cyrillic."""


def without_controls(text: str) -> str:
    """Line breaks for form feeds and vertical tabs, the sign that Windows-1252 has for a C1 control, nothing else.

    Web browsers read these references so, https://html.spec.whatwg.org/#numeric-character-reference-end-state. C1
    controls that are half of garbled letters belong to these: taken away alone, the other half would stay forever.
    """
    restored = ungarbled(text) if _ABOVE_ASCII_CONTROL.search(text) else text
    if not _CONTROL.search(restored):
        return text
    return _CONTROL.sub(lambda found: "\n" if found[0] in "\x0b\x0c" else _SIGNS.get(ord(found[0]), ""), restored)


@lru_cache(maxsize=8)
def ungarbled(text: str) -> str:
    """The text as it was before somebody decoded it wrongly: "à¤¨à¤®" was "नम". Each line is looked at by itself."""
    from ftfy import TextFixerConfig, fix_encoding

    config = TextFixerConfig(explain=False)

    def mended(line: str) -> str:
        fixed = line if line.isascii() else fix_encoding(line, config)
        # Where Windows-1252's signs for C1 controls are all that it changes, these are controls and no garbled text.
        return line if fixed == line.translate(_SIGNS) else fixed

    return "\n".join(map(mended, text.split("\n")))


@lru_cache(maxsize=1)
def _joiners() -> tuple[re.Pattern[str], re.Pattern[str]]:
    import regex

    needed = written("needed_joiner")
    every, directed = "".join(sorted(JOINERS)), "".join(sorted(BIDI))
    return (regex.compile(f"({needed})|[{every}]"), regex.compile(f"({needed}|[{directed}])|[{every}]"))


def without_stray_joiners(text: str) -> str:
    """The text without the invisible characters that no script needs where they are. Marks of direction put the pieces
    of a line in order where it holds text from right to left."""
    return _joiners()[_RIGHT_TO_LEFT.search(text) is not None].sub(lambda found: found[1] or "", text)
