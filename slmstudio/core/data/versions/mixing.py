"""Makes one dataset of several, with a weight for each."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from slmstudio.core.data import layouts
from slmstudio.core.data.reader import Dataset
from slmstudio.core.data.record import Record
from slmstudio.core.data.versions.store import Source
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import tr

MOST_WEIGHT = 100.0


@dataclass(frozen=True)
class Part:
    """A dataset of a mix.

    Attributes:
        weight: how many of its rows are taken, as a multiple of all: 0.5 is every other one, 2 is each of them twice.
    """

    dataset: Dataset
    weight: float = 1.0

    @property
    def count(self) -> int:
        """Rows that are taken, halves rounded up."""
        return int(self.weight * len(self.dataset.records) + 0.5)


def mix(parts: Sequence[Part], seed: int) -> list[Record]:
    """The rows of all parts, one part after another, each in its own order; a run shuffles them.

    The same parts and seed always give the same rows. What one part gives depends on no other part.

    Raises:
        UserError: they can't be mixed, for all reasons at once.
    """
    check(parts)
    return [record for number, part in enumerate(parts) for record in _taken(part, f"{seed}/{number}")]


def _taken(part: Part, seed: str) -> list[Record]:
    records = part.dataset.records
    whole, rest = divmod(part.count, len(records))
    drawn = sorted(random.Random(seed).sample(range(len(records)), rest))
    taken = [*records * whole, *(records[index] for index in drawn)]
    # Another part may call other rows by the same number.
    return [replace(record, group=f"{seed}/{record.group}") if record.group else record for record in taken]


def check(parts: Sequence[Part]) -> None:
    """
    Raises:
        UserError: there is nothing to mix, a weight is out of range, or the rows are of different kinds.
    """
    if len(parts) < 2:
        raise UserError(tr("There is nothing to mix."), tr("A mix needs two datasets or more."),
                        tr("Add another dataset."))
    problems = [Problem(tr("{weight:g} can't be the weight of {name}; it must be above 0 and at most {most:g}.",
                           weight=part.weight, name=part.dataset.path.name, most=MOST_WEIGHT))
                for part in parts if not 0 < part.weight <= MOST_WEIGHT]
    problems += [Problem(tr("{name} has no rows.", name=part.dataset.path.name))
                 for part in parts if not part.dataset.records]
    first = parts[0].dataset
    problems += [Problem(tr("{name} and {other} have different kinds of rows. {other}: {other_rows} {name}: {rows}",
                            name=part.dataset.path.name, other=first.path.name,
                            other_rows=layouts.sentence(first.layout), rows=layouts.sentence(part.dataset.layout)))
                 for part in parts[1:] if layouts.kind(part.dataset.layout) != layouts.kind(first.layout)]
    if problems:
        raise UserError(tr("These datasets can't be mixed."), problems[0].message,
                        tr("Choose datasets with rows of the same kind, and a weight above 0 for each."), problems)
    if not any(part.count for part in parts):
        raise UserError(tr("The mix would have no rows."), tr("The weights are too small."), tr("Choose larger ones."))


def sources(parts: Sequence[Part]) -> list[Source]:
    """What a mix is made of, for its lineage."""
    return [Source.of(part.dataset, part.weight, part.count) for part in parts]
