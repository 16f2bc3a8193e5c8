"""Whether a text that a model writes has ended in a loop: the same words over and over, to the limit of its length."""

from __future__ import annotations

import re

from slmstudio.core.i18n import noop

ADVICE = noop("The answer was stopped because it repeated itself. Raise the repeat penalty to about 1.1. If you "
              "trained this model, a lower learning rate, fewer epochs or more rows help too.")
TAIL = 6_000
"""Characters at the end of a text that are looked at."""
KEY = 24
"""Characters that are looked for where the text had them before."""
TRIES = 16
"""How many earlier places are tried. Where a loop ends in a ruler, the next word shows it sooner."""
TIMES, BYTES = 4, 480
"""How often a loop says the same, at least, and how long it is in all. A chorus is sung three times; half a page of one
line isn't a poem any more. In bytes of UTF-8, as a letter of Devanagari says more than one of Latin script."""
STRUCTURED_TIMES, STRUCTURED_BYTES = 16, 1_600
"""The same of what has no words, or the marks of tables and code: rows of zeros, empty cells and rulers are alike by
right."""
_STRUCTURE = re.compile(r"[\[\]{}<>|=\\]")
_COUNTER = re.compile(r"^(\W*)\d+(?=[.):])", re.MULTILINE)
"""The number of a line in a list. A list whose items are all the same is a loop that counts."""


def ends_in_loop(text: str) -> bool:
    """Whether a text ends in a loop. It takes some microseconds, so it can be asked again and again while a text grows.

    >>> ends_in_loop("Yes. " + "Please call the ward office. " * 20), ends_in_loop("Please call the ward office. " * 3)
    (True, False)
    """
    # Where the tail begins in the middle of a line, that line has lost its counter.
    tail = _COUNTER.sub(r"\1", text[-TAIL:].rstrip("\ufffd"))
    end = len(tail)
    for _ in range(TRIES if end > KEY else 0):
        at = tail.rfind(tail[-KEY:], 0, max(0, end - 1))
        period = len(tail) - KEY - at
        if at < 0 or TIMES * period > len(tail):
            return False
        if _is_repeated(tail, period):
            return True
        end = at + KEY
    return False


def _is_repeated(text: str, period: int) -> bool:
    """Whether the end of a text says its last `period` characters often enough for a loop."""
    unit = text[-period:]
    plain = any(map(str.isalpha, unit)) and not _STRUCTURE.search(unit)
    times, size = (TIMES, BYTES) if plain else (STRUCTURED_TIMES, STRUCTURED_BYTES)
    length = max(times * period, -(-size * period // len(unit.encode(errors="replace"))))
    return len(text) >= length and text[-length:-period] == text[-length + period:]
