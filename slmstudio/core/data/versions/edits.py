"""What a user changes by hand: rows that are deleted, edited and added, until they are written as a version."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import overload

from slmstudio.core.data import layouts
from slmstudio.core.data.jsonl import as_row
from slmstudio.core.data.record import Record
from slmstudio.core.data.rows import ColumnsMissing, RowError, as_sentence, read_row
from slmstudio.core.data.versions.store import Step
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import tr

REJECTED, TEXT = "rejected", "text"
"""Roles of the texts of a row that aren't messages."""


@dataclass(frozen=True)
class _Change:
    """One of them. `keys` are gone; or the row of the one key is `record` now, which is new where the key is."""

    keys: frozenset[int]
    record: Record | None = None


class _Keys(Sequence[int]):
    """The keys of the rows that are left of `count`, and of those that were added."""

    def __init__(self, count: int, changed: Mapping[int, Record | None]):
        gone = sorted(key for key, record in changed.items() if record is None and key < count)
        self._left = count - len(gone)
        self._added = sorted(key for key, record in changed.items() if record is not None and key >= count)
        self._gaps = [key - before for before, key in enumerate(gone)]
        """For each deleted row, the place that the next one has now."""

    def __len__(self) -> int:
        return self._left + len(self._added)

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> list[int]: ...
    def __getitem__(self, place: int | slice) -> int | list[int]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        return place + bisect_right(self._gaps, place) if place < self._left else self._added[place - self._left]


class _Rows(Sequence[Record]):
    """The rows that have these keys."""

    def __init__(self, base: Sequence[Record], keys: _Keys, changed: Mapping[int, Record | None]):
        self._base, self._keys = base, keys
        self._changed = {key: record for key, record in changed.items() if record is not None}

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, place: int) -> Record: ...
    @overload
    def __getitem__(self, place: slice) -> list[Record]: ...
    def __getitem__(self, place: int | slice) -> Record | list[Record]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        key = self._keys[place]
        return self._changed[key] if key in self._changed else self._base[key]


@dataclass
class Edits:
    """Changes to `base`, the newest last. Rows have keys: their index in `base`, or a number above those."""

    base: Sequence[Record]
    changes: list[_Change] = field(default_factory=list)

    def delete(self, keys: Iterable[int]) -> None:
        self.changes.append(_Change(frozenset(keys)))

    def edit(self, key: int, record: Record) -> None:
        self.changes.append(_Change(frozenset({key}), record))

    def add(self, record: Record) -> int:
        """Add a row behind all others. Returns its key."""
        key = len(self.base) + len(self.changes)
        self.changes.append(_Change(frozenset({key}), record))
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
        return Edits(base, [replace(change, keys=frozenset(key + more if key >= old else key for key in change.keys))
                            for change in self.changes])

    def rows(self) -> tuple[Sequence[int], Sequence[Record]]:
        """The keys of the rows as they are now, ascending, and the rows. Later changes don't affect them.

        No row is copied: a window shows a million of them at once.
        """
        changed: dict[int, Record | None] = {}
        for change in self.changes:
            changed.update(dict.fromkeys(change.keys, change.record))
        keys = _Keys(len(self.base), changed)
        return keys, _Rows(self.base, keys, changed)

    def steps(self) -> list[Step]:
        """What was done, for the lineage."""
        return [{"delete": len(change.keys)} if change.record is None
                else {"add": 1} if min(change.keys) >= len(self.base) and change is self._first_of(change)
                else {"edit": change.record.line} for change in self.changes]

    def _first_of(self, change: _Change) -> _Change:
        return next(each for each in self.changes if each.keys == change.keys)


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
    if record.text is not None:
        return _checked(replace(record, text=texts[0]))
    left = iter(texts)
    messages = tuple(message if message.get("tool_calls") else {**message, "content": next(left)}
                     for message in record.messages)
    return _checked(replace(record, messages=messages, rejected=next(left, None)))


def _refuse_blanks(record: Record, texts: Sequence[str]) -> None:
    said = {"assistant": tr("An answer is empty."), "user": tr("A question is empty."), TEXT: tr("The text is empty."),
            REJECTED: tr("The rejected answer is empty."), "system": tr("The system message is empty.")}
    roles = [role for role, _ in texts_of(record)]
    problems = [Problem(said.get(role, tr("A message is empty.")), field=role)
                for role, text in zip(roles, texts, strict=True) if not text.strip()]
    if problems:
        raise UserError(tr("The row can't be saved."), " ".join(dict.fromkeys(each.message for each in problems)),
                        tr("Fill it in, or cancel."), problems)


def _checked(record: Record) -> Record:
    """Raises UserError where the row wouldn't read back."""
    try:
        read_row(as_row(record))
    except RowError as error:
        problems = [Problem(sentence, field=key or None) for key, sentence in error.findings]
        raise UserError(tr("The row can't be saved."), as_sentence(error.findings[0][1]),
                        tr("Change its texts, or cancel."), problems) from error
    except ColumnsMissing as error:
        raise UserError(tr("The row can't be saved."), as_sentence(error.sentence()),
                        tr("Change its texts, or cancel.")) from error
    return record


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
