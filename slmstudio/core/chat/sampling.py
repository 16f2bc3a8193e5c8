"""How tokens are drawn: the settings of an answer, their limits, and what each is for; and whether an answer loops."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import noop, tr

# -- Whether a text that a model writes has ended in a loop: the same words over and over, to the limit of its
# length.

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


LIMITS: dict[str, tuple[float, float]] = {
    "temperature": (0.0, 2.0), "top_p": (0.0, 1.0), "top_k": (0, 1000), "min_p": (0.0, 1.0),
    "repeat_penalty": (0.5, 2.0), "seed": (0, 2**31 - 1), "max_tokens": (1, 1_000_000),
}
WHOLE = ("top_k", "seed", "max_tokens")
OPTIONAL = ("seed", "max_tokens")
MAX_STOPS, MAX_STOP_CHARACTERS = 16, 200
REPEAT_WINDOW = 64
"""The repeat penalty looks at this many tokens of the answer."""


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn. The order of work is llama.cpp's: repeat penalty, top-k, top-p, min-p, temperature.

    Attributes:
        temperature: how freely it chooses its words; 0 always takes the likeliest.
        top_p: only the likeliest tokens that together make up this share are drawn from; 1 leaves all.
        top_k: only this many of the likeliest tokens are drawn from; 0 leaves all.
        min_p: tokens less likely than this share of the likeliest are left out; 0 leaves all.
        repeat_penalty: makes tokens of the latest part of the answer less likely; 1 does nothing.
        seed: the same seed, question and settings give the same answer; None draws a new one each time.
        max_tokens: an answer ends here at the latest; None continues to the end of the context.
        stop: an answer ends before any of these texts.
    """

    temperature: float = 0.3
    top_p: float = 0.9
    top_k: int = 40
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    seed: int | None = None
    max_tokens: int | None = 512
    stop: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "stop": list(self.stop)}


def parse(values: Mapping[str, Any]) -> Sampling:
    """Sampling from JSON values; what is missing keeps its default, and names of other things are passed over.

    Raises:
        UserError: values outside their limits, all of them at once.
    """
    taken: dict[str, Any] = {}
    problems: list[Problem] = []
    for name in (field.name for field in fields(Sampling)):
        if name not in values:
            continue
        problem = _stops_problem(values[name]) if name == "stop" else _number_problem(name, values[name])
        if problem:
            problems.append(Problem(problem, field=name))
        else:
            taken[name] = tuple(values[name]) if name == "stop" else values[name]
    if problems:
        raise UserError(tr("These answer settings can't be used."), " ".join(map(str, problems)), tr("Change them."),
                        problems)
    return Sampling(**taken)


def _number_problem(name: str, value: Any) -> str:
    low, high = LIMITS[name]
    if value is None and name in OPTIONAL:
        return ""
    kinds = (int,) if name in WHOLE else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        if name in WHOLE:
            return tr("{value!r} isn't a whole number from {lowest:,.0f} to {highest:,.0f}.", value=value, lowest=low,
                      highest=high)
        return tr("{value!r} isn't a number from {lowest:g} to {highest:g}.", value=value, lowest=low, highest=high)
    return ""


def _stops_problem(value: Any) -> str:
    if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
        return tr("Stop strings must be a list of texts.")
    if len(value) > MAX_STOPS:
        return tr("There are {count} stop strings; at most {most} are allowed.", count=len(value), most=MAX_STOPS)
    if any(not each for each in value):
        return tr("A stop string is empty, so every answer would end immediately.")
    if any(len(each) > MAX_STOP_CHARACTERS for each in value):
        return tr("A stop string is longer than {most} characters.", most=MAX_STOP_CHARACTERS)
    return ""
