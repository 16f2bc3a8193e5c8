"""Which fields of a run a search may change, the values that it tries, and how candidates are drawn from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import tr
from slmstudio.core.run.config import EVALUATION, FIELDS, HEAT, RUN, RunConfig
from slmstudio.core.run.run_fields import Choice, Number, Switch, Whole, not_allowed, write

NOT_COMPARABLE = ("objective", "beta", "chat_template", "completion_only_loss", "max_length", "overlong_rows",
                  "max_steps", "processes", "nodes", "parallelism", "device")
"""Fields that change what the eval loss measures, how long a trial is, or where it runs."""
SEARCHED = tuple(name for name, about in FIELDS.items() if isinstance(about.kind, Choice | Number | Switch | Whole)
                 and about.group not in (RUN, HEAT, EVALUATION) and name not in NOT_COMPARABLE)
"""Fields that can be searched."""
DOTS = ".."
Span = tuple[float, float]
"""The least and the greatest of the values."""


@dataclass(frozen=True)
class SearchValues:
    """
    Attributes:
        texts: by field, its values as they are typed: "1e-4..4e-3", or "8, 16, 32".
        values: by field, the list of them, or the ends of a range.
    """

    texts: dict[str, str]
    values: dict[str, list[Any] | Span]

    def draw(self, count: int, seed: int, base: RunConfig) -> list[dict[str, Any]]:
        """At most so many different candidates, the first of which is the plan. Any number of them from the first on
        is spread evenly over the values: they are points of a Sobol sequence."""
        from scipy.stats import qmc  # here, since it takes a while

        found: list[dict[str, Any]] = [{}]
        for point in qmc.Sobol(len(self.values), rng=seed).random_base2(8):
            each = {name: _at(name, values, float(place))
                    for place, (name, values) in zip(point, self.values.items(), strict=True)}
            if each not in found and settled(base, each) != base and not settled(base, each).problems():
                found.append(each)
        return found[:count]


def _at(name: str, values: list[Any] | Span, place: float) -> Any:
    """The value at a place from 0 to 1. A range above zero is logarithmic: its ratios count."""
    if isinstance(values, list):
        return values[int(place * len(values))]
    low, high = values
    value = low * (high / low) ** place if low > 0 else low + (high - low) * place
    return round(value) if isinstance(FIELDS[name].kind, Whole) else float(f"{value:.2g}")


def settled(base: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """The plan with these values. An adapter of another rank keeps its scale, and epochs that are searched decide."""
    more: dict[str, Any] = {}
    if "lora_rank" in values and "lora_alpha" not in values:
        more["lora_alpha"] = max(1, round(base.lora_alpha * values["lora_rank"] / base.lora_rank))
    if "epochs" in values:
        more["max_steps"] = None
    return replace(base, **values, **more)


def usual(base: RunConfig) -> dict[str, str]:
    """The fields that are searched unless a user chooses others, with values around those of the plan."""
    found = {"learning_rate": f"{write(base.learning_rate / 4)}{DOTS}{write(min(1.0, base.learning_rate * 4))}"}
    if base.has_adapter:
        found["lora_rank"] = ", ".join(str(max(1, round(base.lora_rank * by))) for by in (0.25, 0.5, 1, 2))
    found["epochs"] = ", ".join(write(base.epochs * by) for by in (0.5, 1.0, 2.0))
    return found


def parse(given: Mapping[str, str], base: RunConfig) -> SearchValues:
    """What a user typed, by field or by another trainer's name for it; without any, what is usual.

    Raises:
        UserError: naming every field and value that can't be used.
    """
    ours = {alias: name for name, about in FIELDS.items() for alias in about.aliases}
    texts, values, problems = {}, dict[str, list[Any] | Span](), []
    for typed, text in (given or usual(base)).items():
        name = ours.get(typed, typed)
        if name not in SEARCHED or not FIELDS[name].applies(base):
            problems.append(Problem(tr("It can't be searched. The fields that can be are {names}.", names=", ".join(
                each for each in SEARCHED if FIELDS[each].applies(base))), field=typed))
            continue
        try:
            values[name], texts[name] = _values(name, text), text
        except ValueError as error:
            problems.append(Problem(str(error), field=typed))
    if problems:
        raise UserError(tr("The search can't be started."), tr("Some of its fields can't be used."),
                        tr("Correct them."), problems)
    return SearchValues(texts, values)


def _values(name: str, text: str) -> list[Any] | Span:
    """Raises ValueError: with a sentence, where they can't be used."""
    about = FIELDS[name]
    parts = [about.read(part.strip()) for part in text.split(DOTS if DOTS in text else ",")]
    for part in parts:
        if limit := about.kind.limit(part):
            raise ValueError(not_allowed(part, limit))
    if DOTS not in text:
        return parts
    if len(parts) != 2 or not isinstance(about.kind, Number | Whole) or parts[0] >= parts[1]:
        raise ValueError(tr("Write a range as {example}, or values with commas between them.", example="1e-4..4e-3"))
    return parts[0], parts[1]
