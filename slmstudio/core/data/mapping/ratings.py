"""What says how good answers are: labels, scores, ranks, and the winner of two."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from slmstudio.core.data import column_names as names
from slmstudio.core.data.mapping.speakers import content_of
from slmstudio.core.data.mapping.turns import text_of
from slmstudio.core.data.rows import RowError
from slmstudio.core.data.strict_json import printable
from slmstudio.core.i18n import tr

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
