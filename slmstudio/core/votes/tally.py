"""What votes say about two models, and whether chance alone would say it too."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations

from slmstudio.core.votes.store import ALL_GOOD, BEST, Vote, VotedModel

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
