"""Rows that repeat or contradict others: hashes of all rows are kept, never texts."""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Hashable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from slmstudio.core.data.health.answers import folded
from slmstudio.core.data.health.finding import Found
from slmstudio.core.data.health.texts import canonical
from slmstudio.core.data.record import Record

Groups = Iterator[NDArray[np.int64]]


def whole(record: Record) -> Hashable:
    """Everything that a row says; the same for rows that repeat each other."""
    return (tuple(_message(message) for message in record.messages), record.rejected, record.desirable, record.text,
            canonical(record.tools) if record.tools else "")


def _message(message: dict[str, object]) -> Hashable:
    calls = message.get("tool_calls")
    return (message["role"], message["content"], canonical(calls) if calls else "")


def duplicates(records: Sequence[Record], hashes: Iterable[int] | None = None) -> dict[int, int]:
    """Index of each row that an earlier row repeats as a whole → index of the first such row.

    Args:
        records: all rows.
        hashes: hash of `whole` of each. Rows with the same hash are compared, so that chance finds nothing.
    """
    earlier: dict[int, int] = {}
    known = map(hash, map(whole, records)) if hashes is None else hashes
    for group in _same(np.fromiter(known, np.int64, len(records))):
        first: dict[Hashable, int] = {}
        for index in map(int, group):
            partner = first.setdefault(whole(records[index]), index)
            if partner != index:
                earlier[index] = partner
    return earlier


class Duplicates:
    """Rows that repeat an earlier one as a whole; `earlier` has the first such row of each."""

    def __init__(self) -> None:
        self._hashes = array("q")
        self.earlier: dict[int, int] = {}

    def look(self, index: int, record: Record, given: list[str]) -> None:
        self._hashes.append(hash(whole(record)))

    def found(self, records: Sequence[Record]) -> Found:
        self.earlier = duplicates(records, self._hashes)
        return partners(self.earlier)


def partners(earlier: dict[int, int]) -> Found:
    """Rows, each with the earlier row that it is like."""
    return Found(sorted(earlier), {"partners": sorted(map(list, earlier.items()))})


def question_and_answer(record: Record) -> tuple[int, int] | None:
    """(hash of what is asked, hash of what is answered), with letters' case, blanks and a final stop left aside.

    - Of a chat row: everything before the last answer, and that answer.
    - Of a preference pair: the question with both answers, and the better one. So one answer that is better here and
      worse there contradicts itself, whereas several answers to one question are what such data is made of.
    - Of a labelled row: the question with its answer, and the label.
    - Of plain text: None.
    """
    if not record.messages:
        return None
    *before, last = record.messages
    calls = last.get("tool_calls")
    answer = _plain(last["content"]) + (canonical(calls) if calls else "")
    asked: tuple[Hashable, ...] = (*((message["role"], _plain(message["content"]),
                                      canonical(message["tool_calls"]) if "tool_calls" in message else "")
                                     for message in before), canonical(record.tools) if record.tools else "")
    if record.rejected is not None:
        return hash((asked, frozenset((answer, _plain(record.rejected))))), hash(answer)
    if record.desirable is not None:
        return hash((asked, answer)), hash(record.desirable)
    return hash(asked), hash(answer)


def _plain(text: str) -> str:
    text = folded(text if text.isascii() else unicodedata.normalize("NFC", text))
    return text.rstrip(" .।۔!") or text


class Conflicts:
    """Rows that ask the same and answer differently; "groups" has those that belong together, by their first row."""

    def __init__(self) -> None:
        self._rows, self._questions, self._answers = array("q"), array("q"), array("q")

    def look(self, index: int, record: Record, given: list[str]) -> None:
        if (pair := question_and_answer(record)) is not None:
            self._rows.append(index)
            self._questions.append(pair[0])
            self._answers.append(pair[1])

    def found(self, records: Sequence[Record]) -> Found:
        rows, answered = np.asarray(self._rows), np.asarray(self._answers)
        groups = sorted(rows[group].tolist() for group in _same(np.asarray(self._questions))
                        if len(set(answered[group].tolist())) > 1)
        return Found(sorted(row for group in groups for row in group), {"groups": groups})


def _same(hashes: NDArray[np.int64]) -> Groups:
    """Indices of equal values, in ascending order, for each value that occurs at least twice."""
    if len(hashes) < 2:
        return
    order = np.argsort(hashes, kind="stable")
    borders = np.flatnonzero(np.diff(hashes[order])) + 1
    starts = np.concatenate([[0], borders])
    ends = np.concatenate([borders, [len(order)]])
    for place in np.flatnonzero(ends - starts > 1):
        yield order[starts[place]:ends[place]]
