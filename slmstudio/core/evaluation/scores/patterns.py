"""Regular expressions that come with a test set: checked before use, and never matched for longer than a moment.

A pattern like `(a+)+$` can take years on forty letters. `re` can't be interrupted; the `regex` package can.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from slmstudio.core.data.strict_json import printable
from slmstudio.core.i18n import tr

if TYPE_CHECKING:
    import regex

LONGEST = 2000
"""Characters of a pattern."""
MOST_STEPS = 20_000
"""The most steps of a pattern with its counted repeats written out: compiling more could take endless memory."""
MATCH_SECONDS = 0.5
"""How long matching one answer may take; a pattern that takes longer counts as not found, and is reported."""


_PARTS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(|\)|\{(\d*)(?:,(\d*))?\}|.", re.DOTALL)
"""An escape, a set of characters, a bracket, a counted repeat, or any other character."""


class BadPattern(ValueError):
    """A pattern can't be used; the message is a sentence that says why."""


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> regex.Pattern[str]:
    """The pattern, compiled in the `regex` package's compatible mode: what `re` understands means the same.

    Raises:
        BadPattern: it is empty, too long, or no regular expression.
    """
    import regex

    if not pattern:
        raise BadPattern(tr("the pattern is empty; it would match every answer."))
    if len(pattern) > LONGEST:
        raise BadPattern(tr("the pattern has {characters:,} characters; at most {most:,} are allowed.",
                            characters=len(pattern), most=LONGEST))
    if _steps(pattern) > MOST_STEPS:
        raise BadPattern(tr("its counted repeats, such as {example}, multiply to more than can be compiled.",
                            example="{1000}"))
    try:
        found = regex.compile(pattern, flags=regex.VERSION0, cache_pattern=False)
    except regex.error as error:
        reason = printable(error.msg)
        raise BadPattern(
            tr("the pattern can't be read: {reason}.", reason=reason) if error.pos is None else
            tr("the pattern can't be read: {reason} at character {place}.", reason=reason, place=error.pos + 1),
        ) from error
    except (OverflowError, MemoryError, RecursionError, ValueError) as error:
        raise BadPattern(tr("the pattern can't be read: {reason}.", reason=printable(str(error)))) from error
    return found


def _steps(pattern: str) -> int:
    """About how long the pattern is with its counted repeats written out."""
    groups: list[int] = []
    total, last = 0, 0  # of the group that is open: its steps so far, and those of its newest part
    for part in _PARTS.finditer(pattern):
        text = part.group()
        if text == "(":
            groups.append(total)
            total, last = 0, 0
        elif text == ")" and groups:
            last, total = total, groups.pop() + total
        elif text[0] == "{" and (part[1] or part[2]):
            times = max(int(count[:9]) for count in part.groups() if count)
            total += last * max(0, times - 1)
            last *= times
        else:
            total, last = total + 1, 1
    return total + sum(groups)


def matches(pattern: str, answer: str) -> bool | None:
    """Whether the pattern is found anywhere in the answer; None if looking took longer than `MATCH_SECONDS`.

    Raises:
        BadPattern: as `compiled`.
    """
    try:
        return compiled(pattern).search(answer, timeout=MATCH_SECONDS) is not None
    except TimeoutError:
        return None
