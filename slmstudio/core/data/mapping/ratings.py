"""What says how good answers are: labels, scores, ranks, and the winner of two."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import permutations
from typing import Any, NamedTuple

from slmstudio.core.data import column_names as names
from slmstudio.core.data.mapping.profile import ColumnProfile
from slmstudio.core.data.mapping.speakers import content_of
from slmstudio.core.data.mapping.turns import text_of
from slmstudio.core.data.rows import RowError
from slmstudio.core.data.strict_json import printable
from slmstudio.core.i18n import tr

# -- How sure each kind of reading is; and which column may be asked and which may answer it, where their names don't
# say so: points for what speaks for it.

TURNS, COMPARED, CHOICES, CLEAR, SIMILAR, LIKELY = 0.95, 0.94, 0.93, 0.92, 0.85, 0.77
"""How sure what needs no question is: conversations, texts that are compared, questions with choices; columns with
clear names; with names of which one is only similar or may mean something else; with one name, and no other column that
it could be."""
SORTED, DROPPED, LOOK, UNLIKELY, POSSIBLE, SWAPPED = 0.65, 0.6, 0.5, 0.4, 0.3, 0.2
RIVALLED = 0.7
"""What is asked about: a report with what it is sorted by; a text beside which words are dropped; columns without
telling names; what another way explains better; what only may be; two such columns the other way round; and what would
be sure, if other columns had nothing to be learned."""
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


_TEXTS = ("answer", "response", "text", "content", "output", "completion")
_SCORES = ("overall_score", "score", "pm_score", "rating")
MOST_NUMBERS = 0.1
"""Share of numbers but 0 and 1 from which on a column holds classes or marks."""
MISTAKES = 0.5
"""Share of other values from which on a column says something else: before that, rows with these are at fault."""


def is_good(value: Any) -> bool | None:
    """What a label says; None if it says neither."""
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return True if value == 1 else False if value in (0, -1) else None
    if not isinstance(value, str):
        return None
    word = value.strip().casefold().rstrip("!.").replace(" ", "_")
    return True if word in names.GOOD else False if word in names.BAD else None


def are_labels(values: Iterable[Any], bad: bool = False) -> bool:
    """Whether most values of a column say that an answer is good or bad; null says nothing.

    Args:
        bad: whether there must be bad ones.
    """
    values = [value for value in values if value is not None and value != ""]
    said = [is_good(value) for value in values]
    others = sum(each is None and isinstance(value, (int, float)) for each, value in zip(said, values, strict=True))
    if others > max(2, MOST_NUMBERS * len(said)):
        return False  # classes or marks
    return bool(said) and (not bad or False in said) and said.count(None) <= MISTAKES * len(said)


def counted_from(values: Iterable[Any]) -> int | None:
    """What number the winners of a file give to the first of two answers, 0 or 1; None if all are 1, which may be
    either."""
    said = {_word(value) for value in values}
    return 1 if "2" in said else None if said == {"1"} else 0


def _word(value: Any) -> str:
    return (f"{value:g}" if isinstance(value, (int, float)) else str(value)).strip().casefold()


def winner_of(value: Any, marks: tuple[str, str]) -> int | None:
    """Which of two answers a value names, 0 or 1; -1 for a tie, None if it names none."""
    if isinstance(value, bool):
        return None
    word = _word(value)
    if word in ("equal", "draw", "same", "none") or word.startswith(("tie", "both", "neither")):
        return -1
    found = re.search(r"(?:^|[\s_-])([ab012])$", word)
    return marks.index(found[1]) if found and found[1] in marks else None


def number(value: Any) -> float | None:
    """A score; None for what isn't a number."""
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _order(answer: Mapping[str, Any]) -> float | None:
    """Lower is better: its rank, or its score turned round."""
    rank = number(answer.get("rank"))
    score = next((value for key in _SCORES if (value := number(answer.get(key))) is not None), None)
    return rank if rank is not None else None if score is None else -score


def is_second_better(row: Mapping[str, Any], columns: Mapping[str, str], marks: tuple[str, str]) -> bool:
    """Which of two answers a row calls better, by their scores or by a column that names the winner.

    Args:
        columns: by target, as in `look.ColumnMap`.
        marks: what the two are called.

    Raises:
        RowError: it calls neither better.
    """
    column = columns.get("score_chosen", columns.get("winner", ""))
    lead: float | None
    if "score_chosen" in columns:
        one, other = (number(row.get(columns[target])) for target in ("score_chosen", "score_rejected"))
        lead = None if one is None or other is None else other - one
    elif names.column(column) in names.STRENGTHS:
        lead = number(row.get(column))
    else:
        winner = winner_of(row.get(column), marks)
        lead = None if winner is None or winner < 0 else winner - 0.5
    if not lead:
        raise RowError([(column, tr('"{column}" doesn\'t name a better answer, so there is nothing to compare.',
                                    column=printable(column)))])
    return lead > 0


def _listed(value: Any) -> list[dict[str, Any]]:
    """The answers of a list with a rank or a score each; none of anything else."""
    fit = isinstance(value, list) and all(
        isinstance(each, dict) and _order(each) is not None and _text(each) is not None for each in value)
    return value if fit else []


def are_ranked(value: Any) -> bool:
    """Whether a value holds several answers with a rank or a score each."""
    return len(_listed(value)) > 1


def best(value: Any) -> Any:
    """The text of the best of ranked answers; a value of another kind stays as it is."""
    found = _listed(value)
    return _text(min(found, key=lambda each: _order(each) or 0.0)) if found else value


def _text(answer: Mapping[str, Any]) -> str | None:
    """The text of an answer; of one that is a message, as Gemini's, what it says."""
    for key in _TEXTS:
        said = answer.get(key)
        if isinstance(text := text_of(content_of(said)) if isinstance(said, dict) else said, str):
            return text
    return None


def best_and_worst(value: Any, column: str) -> tuple[str, str]:
    """The texts of the answers with the lowest rank, which is the best, and the highest; or the other way with scores.

    Raises:
        RowError: there are none, or all have the same rank.
    """
    if not are_ranked(value):
        raise RowError([(column,
                         tr('"{column}" must be a list of two answers or more, each with a "rank" or a "score".',
                            column=printable(column)))])
    order = sorted(_listed(value), key=lambda each: _order(each) or 0.0)
    if _order(order[0]) == _order(order[-1]):
        raise RowError([(column, tr("all answers have the same rank, so there is nothing to compare."))])
    return _text(order[0]) or "", _text(order[-1]) or ""
