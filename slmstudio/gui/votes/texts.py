"""What votes say of two models, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slmstudio.core.i18n import ntr, tr
from slmstudio.core.votes.tally import LEVEL, MOST_MORE, votes_needed

if TYPE_CHECKING:
    from slmstudio.core.votes.tally import Tally


def verdict_text(tally: Tally) -> str:
    """Whether the difference is more than chance, in a sentence that doesn't promise too much."""
    if not tally.decided:
        return tr("So far, no vote prefers one of them.")
    first, second = tally.wins
    if first == second:
        return ntr("{n:,} vote: as many for one as for the other.", "{n:,} votes: as many for one as for the other.",
                   tally.decided)
    return " ".join((
        ntr("{n:,} vote: {model} wins {wins:,} of {n:,}.", "{n:,} votes: {model} wins {wins:,} of {n:,}.",
            tally.decided, model=(tally.first if first > second else tally.second).name, wins=max(first, second)),
        _trust(tally)))


def _trust(tally: Tally) -> str:
    """What the difference is worth."""
    chance = tally.chance
    shown = tr("less than 0.1%") if chance < 0.001 else f"{100 * chance:.1f}%" if chance < 0.02 else (
        f"{100 * chance:.0f}%")
    if chance < LEVEL:
        return tr("Chance alone makes such a difference {percent} of the time, so this one is probably real.",
                  percent=shown)
    more = votes_needed(*tally.wins)
    return " ".join((
        tr("Chance alone makes such a difference {percent} of the time.", percent=shown),
        tr("Even {most:,} more votes would hardly tell them apart.", most=MOST_MORE) if more is None else
        ntr("About {n:,} more vote would decide, if they continue like this.",
            "About {n:,} more votes would decide, if they continue like this.", more)))
