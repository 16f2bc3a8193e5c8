"""What a user changes by hand: rows that are deleted, edited and added, until they are written as a version; and one
dataset made of several."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from slmstudio.core.data import layouts
from slmstudio.core.data.reader import Dataset
from slmstudio.core.data.record import Record, as_row
from slmstudio.core.data.rows import RowError, read_row
from slmstudio.core.data.versions.store import Source, Step
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import tr

# -- one dataset of several, with a weight for each ------------------------------------------------------------

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


# -- changes by hand -------------------------------------------------------------------------------------------

REJECTED, TEXT = "rejected", "text"
"""Roles of the texts of a row that aren't messages."""


class _Change(NamedTuple):
    """One of them: the rows with these keys are gone, or the one is `record` now. `step` is what the lineage says."""

    keys: tuple[int, ...]
    record: Record | None
    step: Step


class _View(Sequence[Any]):
    """A sequence whose items are made when they are looked at."""

    def __init__(self, count: int, item: Callable[[int], Any]):
        self._count, self._item = count, item

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Any:
        found = range(self._count)[place]
        return self._item(found) if isinstance(found, int) else list(map(self._item, found))


@dataclass
class Edits:
    """Changes to `base`, the newest last. Rows have keys: their index in `base`, or a number above those."""

    base: Sequence[Record]
    changes: list[_Change] = field(default_factory=list)

    def delete(self, keys: Iterable[int]) -> None:
        gone = tuple(keys)
        self.changes.append(_Change(gone, None, {"delete": len(gone)}))

    def edit(self, key: int, record: Record) -> None:
        self.changes.append(_Change((key,), record, {"edit": record.line}))

    def add(self, record: Record) -> int:
        """Add a row behind all others. Returns its key."""
        key = len(self.base) + len(self.changes)
        self.changes.append(_Change((key,), record, {"add": 1}))
        return key

    def undo(self) -> None:
        """Undo the newest change."""
        self.changes.pop()

    def rebased(self, base: Sequence[Record]) -> Edits | None:
        """The same changes to the file as it is now, where rows were only added at its end; otherwise they don't
        fit."""
        old, more = len(self.base), len(base) - len(self.base)
        if more < 0 or list(base[:old]) != list(self.base):
            return None
        return Edits(base, [change._replace(keys=tuple(key + more if key >= old else key for key in change.keys))
                            for change in self.changes])

    def rows(self) -> tuple[Sequence[int], Sequence[Record]]:
        """The keys of the rows as they are now, ascending, and the rows. Later changes don't affect them.

        No row is copied: a window shows a million of them at once.
        """
        changed: dict[int, Record | None] = {}
        for change in self.changes:
            changed.update(dict.fromkeys(change.keys, change.record))
        base, count = self.base, len(self.base)
        gone = sorted(key for key, record in changed.items() if record is None and key < count)
        added = sorted(key for key, record in changed.items() if record is not None and key >= count)
        left = count - len(gone)
        gaps = [key - before for before, key in enumerate(gone)]  # the place that the row behind a deleted one has now

        def key_at(place: int) -> int:
            return place + bisect_right(gaps, place) if place < left else added[place - left]

        def record_at(place: int) -> Record:
            key = key_at(place)
            return changed.get(key) or base[key]

        return _View(left + len(added), key_at), _View(left + len(added), record_at)

    def steps(self) -> list[Step]:
        """What was done, for the lineage."""
        return [change.step for change in self.changes]


def texts_of(record: Record) -> list[tuple[str, str]]:
    """(role, text) of everything in a row that a user may write differently; calls of tools aren't."""
    if record.text is not None:
        return [(TEXT, record.text)]
    said = [(message["role"], message["content"]) for message in record.messages if not message.get("tool_calls")]
    return [*said, *([(REJECTED, record.rejected)] if record.rejected is not None else [])]


def with_texts(record: Record, texts: Sequence[str]) -> Record:
    """The row with other texts, in the order of `texts_of`.

    Raises:
        UserError: the changed row can't be learned, for example because its answer is empty.
    """
    _refuse_blanks(record, texts)
    left = iter(texts)
    messages = tuple(message if message.get("tool_calls") else {**message, "content": next(left)}
                     for message in record.messages)
    changed = (replace(record, messages=messages, rejected=next(left, None)) if record.text is None else
               replace(record, text=texts[0]))
    try:
        read_row(as_row(changed))
    except RowError as error:
        raise error.refusal(tr("The row can't be saved."), tr("Change its texts, or cancel.")) from error
    return changed


def _refuse_blanks(record: Record, texts: Sequence[str]) -> None:
    said = {"assistant": tr("An answer is empty."), "user": tr("A question is empty."), TEXT: tr("The text is empty."),
            REJECTED: tr("The rejected answer is empty."), "system": tr("The system message is empty.")}
    problems = [Problem(said.get(role, tr("A message is empty.")), field=role)
                for (role, _), text in zip(texts_of(record), texts, strict=True) if not text.strip()]
    if problems:
        raise UserError(tr("The row can't be saved."), " ".join(dict.fromkeys(each.message for each in problems)),
                        tr("Fill it in, or cancel."), problems)


def blank(layout: str, line: int) -> Record:
    """An empty row of a layout, to be filled in.

    Args:
        line: where it will be in the file.
    """
    if layout == "text":
        return Record((), line, text="")
    messages = ({"role": "user", "content": ""}, {"role": "assistant", "content": ""})
    kind = layouts.kind(layout)
    return Record(messages, line, rejected="" if kind == "preference" else None,
                  desirable=True if kind == "labelled" else None)
