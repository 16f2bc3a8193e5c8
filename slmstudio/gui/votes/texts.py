"""What votes say of two models, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slmstudio.core.i18n import ntr, tr
from slmstudio.core.votes.tally import LEVEL, MOST_MORE, votes_needed

if TYPE_CHECKING:
    from slmstudio.core.votes.tally import Tally


def verdict_text(tally: Tally) -> str:
    """Whether the difference is more than chance, in a sentence that does not promise too much."""
    if not tally.decided:
        return tr("No vote prefers one of them yet.")
    votes = ntr("{n:,} vote", "{n:,} votes", tally.decided)
    first, second = tally.wins
    if first == second:
        return tr("{votes}: as many for the one as for the other.", votes=votes)
    leader = tally.first if first > second else tally.second
    chance = tally.chance
    shown = tr("less than 0.1 %") if chance < 0.001 else f"{100 * chance:.1f} %" if chance < 0.02 else (
        f"{100 * chance:.0f} %")
    said = tr("{votes}: {model} wins {wins} of {all}. Chance alone makes such a difference {chance} of the time")
    said = said.format(votes=votes, model=leader.name, wins=max(first, second), all=tally.decided, chance=shown)
    if chance < LEVEL:
        return tr("{said}, so it is hardly chance.", said=said)
    more = votes_needed(first, second)
    if more is None:
        return tr("{said}. Even {most:,} more votes would hardly tell them apart.", said=said, most=MOST_MORE)
    return tr("{said}. {more} would tell, if it continues like this.", said=said,
              more=ntr("About {n:,} more vote", "About {n:,} more votes", more))
