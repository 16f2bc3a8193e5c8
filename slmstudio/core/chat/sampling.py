"""How tokens are drawn: the settings of an answer, their limits, and what each is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import tr

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
