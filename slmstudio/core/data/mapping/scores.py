"""How sure each kind of reading is; and which column may be asked and which may answer it, where their names don't say
so: points for what speaks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import permutations
from typing import NamedTuple

from slmstudio.core.data import column_names as names
from slmstudio.core.data.mapping.profile import ColumnProfile

TURNS, COMPARED, CHOICES, CLEAR, SIMILAR, LIKELY = 0.95, 0.94, 0.93, 0.92, 0.85, 0.77
"""How sure what needs no question is: conversations, texts that are compared, questions with choices; columns with
clear names; with names of which one is only similar or may mean something else; with one name, and no other column that
it could be."""
SORTED, DROPPED, LOOK, UNLIKELY, POSSIBLE, SWAPPED = 0.65, 0.6, 0.5, 0.4, 0.3, 0.2
"""What is asked about: a report with what it is sorted by; a text beside which words are dropped; columns without
telling names; what another way explains better; what only may be; two such columns the other way round."""
_LONG = 200
"""Characters, on average, of what is rather an answer than a question."""
_RARE, _OFTEN = 0.3, 0.8
"""Different values per row, at most and at least."""


class _Evidence(NamedTuple):
    """
    Attributes:
        asked, answers: points for a column as a question, and as an answer.
        holds: whether it is so.
    """

    asked: float
    answers: float
    holds: Callable[[ColumnProfile], bool]


_OF_COLUMN = (
    _Evidence(4, -2, lambda each: each.asks > 0.5),
    _Evidence(4, -2, lambda each: bool(each.words & names.QUESTIONS)),
    _Evidence(3, -2, lambda each: names.is_head(each.name)),
    _Evidence(2, -2, lambda each: bool(each.words & names.REPORT_WORDS)),
    _Evidence(-2, 4, lambda each: bool(each.words & names.REPLIES_TO)),
    _Evidence(-1, 3, lambda each: bool(each.words & names.TOLD_WORDS)),
    _Evidence(-4, -4, lambda each: each.is_about_row and not names.is_head(each.name)),
    _Evidence(-3, -3, lambda each: each.known in names.BESIDE and not names.is_head(each.name)),
    _Evidence(-6, -1, lambda each: each.is_class and each.mean_words < 4),
    _Evidence(-6, -6, lambda each: each.is_same or each.kind in ("ids", "dates", "empty")),
    _Evidence(1, 1, lambda each: each.weight > _OFTEN),
    _Evidence(-2, -2, lambda each: each.weight < _RARE),
    _Evidence(0, 1, lambda each: each.is_sentence),
    _Evidence(-1, 1, lambda each: each.mean_length > _LONG),
    _Evidence(-1, -2, lambda each: each.mean_length <= 2),
)
_OF_PAIR: tuple[tuple[float, Callable[[ColumnProfile, ColumnProfile], bool]], ...] = (
    (3, lambda one, other: other.mean_length > 4 * one.mean_length and not one.is_class),
    (-1, lambda one, other: one.mean_length > 1.5 * other.mean_length),
    (4, lambda one, other: bool(one.words & other.words - names.TOLD_WORDS - names.HEAD_WORDS)),  # name_hi, detail_hi
    (-3, lambda one, other: one.values == other.values),
    (-4, lambda one, other: other.is_class and not one.is_sentence),
)
_BEFORE, _APART = 1.5, 0.1
"""Points for a question in front of its answer, and less for each column from the first on, and between them."""


_MOST = 12
"""Columns of which pairs are made."""
MOST_PAIRS = 6
"""Pairs that are offered where nothing tells them apart."""
LEAST, LEAST_OF_TWO = 0, -5
"""Points of a pair that may be learned, of several texts and of the only two."""


class ScoredPair(NamedTuple):
    """A question and its answer, by the names of their columns, with their points."""

    question: str
    answer: str
    points: float


def pairs(columns: Iterable[ColumnProfile]) -> list[ScoredPair]:
    """All pairs of columns, in both orders, those with most points first."""
    each = list(columns)
    held = [[evidence for evidence in _OF_COLUMN if evidence.holds(column)] for column in each]
    points = [(sum(one.asked for one in found), sum(one.answers for one in found)) for found in held]
    best = sorted(sorted(range(len(each)), key=lambda at: -max(points[at]))[:_MOST])
    each, points = [each[at] for at in best], [points[at] for at in best]
    found = []
    for one, other in permutations(range(len(each)), 2):
        total = points[one][0] + points[other][1] + sum(
            value for value, holds in _OF_PAIR if holds(each[one], each[other]))
        total += _BEFORE * (one < other) - _APART * (one + abs(one - other))
        found.append(ScoredPair(each[one].name, each[other].name, total))
    return sorted(found, key=lambda pair: -pair.points)
