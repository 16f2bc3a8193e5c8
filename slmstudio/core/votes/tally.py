"""What votes say about two models, whether chance alone would say it too, and votes as a preference dataset."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import tr
from slmstudio.core.votes.store import ALL_GOOD, BEST, Vote, VotedModel

# -- What votes say about two models, and whether chance alone would say it too.

LEVEL = 0.05
"""A difference that chance alone makes more rarely than this is called one."""
MOST_MORE = 2000
"""More votes than these aren't asked of anybody."""


@dataclass
class Tally:
    """All votes about two models.

    Attributes:
        first, second: the two, as they were at their newest vote.
        wins: how often the first and the second were better.
        both_good, both_bad: votes that prefer neither.
    """

    first: VotedModel
    second: VotedModel
    wins: list[int] = field(default_factory=lambda: [0, 0])
    both_good: int = 0
    both_bad: int = 0

    @property
    def ties(self) -> int:
        return self.both_good + self.both_bad

    @property
    def decided(self) -> int:
        return sum(self.wins)

    @property
    def chance(self) -> float:
        return by_chance(*self.wins)


def tallies(votes: Iterable[Vote]) -> list[Tally]:
    """A tally for each pair of models that were compared, the pair of the newest vote first.

    Of several answers, the best one wins against each of the others; among these nothing is decided.
    """
    found: dict[frozenset[tuple[str, str, float]], Tally] = {}
    for vote in votes:
        for one, other in combinations(range(len(vote.answers)), 2):
            models = [vote.answers[one].model, vote.answers[other].model]
            key = frozenset(model.identity for model in models)
            if len(key) < 2 or (vote.verdict == BEST and vote.best not in (one, other)):
                continue
            tally = found.pop(key, None) or Tally(models[0], models[1])
            found[key] = tally  # dictionaries keep the order: the newest is last
            if models[0].identity != tally.first.identity:
                models.reverse()
            tally.first, tally.second = models
            if vote.verdict == BEST:
                assert vote.best is not None
                tally.wins[vote.answers[vote.best].model.identity != tally.first.identity] += 1
            elif vote.verdict == ALL_GOOD:
                tally.both_good += 1
            else:
                tally.both_bad += 1
    return list(reversed(found.values()))


def by_chance(wins: int, losses: int) -> float:
    """How often two equal models differ at least this much: the exact two-sided binomial sign test, 0 to 1.

    Ties are left out, as Dixon and Mood do ("The Statistical Sign Test", Journal of the American Statistical
    Association 41, 1946): p = min(1, 2 · P(X ≥ max(wins, losses))) with X ~ Binomial(wins + losses, 1/2).

    >>> round(by_chance(9, 3), 3), by_chance(5, 5)
    (0.146, 1.0)
    """
    from scipy.special import bdtrc

    count, most = wins + losses, max(wins, losses)
    return min(1.0, 2 * float(bdtrc(most - 1, count, 0.5))) if most else 1.0


def votes_needed(wins: int, losses: int) -> int | None:
    """About how many more decided votes would tell the two apart at `LEVEL`, if they continue like this.

    Returns:
        0 if they are told apart already; None if more than `MOST_MORE` would be needed, or nobody can say.
    """
    count = wins + losses
    if by_chance(wins, losses) < LEVEL:
        return 0
    share = max(wins, losses) / count if count else 0.5

    def enough(more: int) -> bool:
        won = math.floor(share * (count + more) + 0.5)
        return by_chance(won, count + more - won) < LEVEL

    low, high = 0, 1
    while not enough(high):
        if high > MOST_MORE:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high if high <= MOST_MORE else None


@dataclass
class Exported:
    """What became of the votes.

    Attributes:
        undecided: votes that prefer nothing.
        apart: answers that aren't a pair, since each model had another conversation before it.
        same: pairs that say what another one says, or whose answers are equal.
        empty: pairs of which one answer is empty, or that aren't a conversation for another reason.
    """

    pairs: int = 0
    undecided: int = 0
    apart: int = 0
    same: int = 0
    empty: int = 0


def preference_rows(votes: Sequence[Vote], between: Tally | None = None) -> tuple[list[dict[str, Any]], Exported]:
    """The best answers as chosen, the others as rejected, in a layout that `core.data.reader` reads.

    Args:
        between: only votes of these two models.
    """
    from slmstudio.core.data.versions.appending import NewRow, as_columns  # loads what reads files

    wanted = None if between is None else {between.first.identity, between.second.identity}
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    result = Exported()
    for vote in votes:
        if vote.best is None:
            result.undecided += wanted is None or wanted <= {each.model.identity for each in vote.answers}
            continue
        chosen = vote.answers[vote.best]
        for other in vote.answers:
            if other is chosen or (wanted is not None and wanted != {chosen.model.identity, other.model.identity}):
                continue
            key = (tuple(map(_role_and_content, chosen.messages)), chosen.text, other.text)
            if chosen.messages != other.messages:
                result.apart += 1
            elif chosen.text == other.text or key in rows:
                result.same += 1
            else:
                answer = {"role": "assistant", "content": chosen.text}
                try:
                    rows[key] = as_columns(NewRow((*chosen.messages, answer), other.text))
                except UserError:
                    result.empty += 1
    result.pairs = len(rows)
    return list(rows.values()), result


def _role_and_content(message: dict[str, str]) -> tuple[str, str]:
    return message["role"], message["content"]


def export_preferences(path: Path, votes: Sequence[Vote], between: Tally | None = None) -> Exported:
    """Write the votes as a preference dataset, whole or not at all.

    Raises:
        UserError: there is no pair in them, or the file can't be written.
    """
    rows, result = preference_rows(votes, between)
    if not rows:
        raise UserError(tr("There is nothing to export."),
                        tr("No vote prefers one answer to another for the same question."),
                        tr("Compare some answers first, and vote for the better ones."))
    with os_errors_as(tr("Could not write the preference pairs.")):
        files.write_atomically(path, b"".join(map(files.dump_line, rows)))
    return result
