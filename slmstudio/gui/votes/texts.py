"""What votes say of two models, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication

from slmstudio.core.votes.tally import LEVEL, MOST_MORE, votes_needed
from slmstudio.gui.common.widgets.labels import counted

if TYPE_CHECKING:
    from slmstudio.core.votes.tally import Tally


def _tr(text: str) -> str:
    return QCoreApplication.translate("ChatVotes", text)


def verdict_text(tally: Tally) -> str:
    """Whether the difference is more than chance, in a sentence that does not promise too much."""
    if not tally.decided:
        return _tr("No vote prefers one of them yet.")
    votes = counted(tally.decided, _tr("1 vote"), _tr("{count} votes"))
    first, second = tally.wins
    if first == second:
        return _tr("{votes}: as many for the one as for the other.").format(votes=votes)
    leader = tally.first if first > second else tally.second
    chance = tally.chance
    shown = _tr("less than 0.1 %") if chance < 0.001 else f"{100 * chance:.1f} %" if chance < 0.02 else (
        f"{100 * chance:.0f} %")
    said = _tr("{votes}: {model} wins {wins} of {all}. Chance alone makes such a difference {chance} of the time")
    said = said.format(votes=votes, model=leader.name, wins=max(first, second), all=tally.decided, chance=shown)
    if chance < LEVEL:
        return _tr("{said}, so it is hardly chance.").format(said=said)
    more = votes_needed(first, second)
    if more is None:
        return _tr("{said}. Even {most} more votes would hardly tell them apart.").format(said=said,
                                                                                           most=f"{MOST_MORE:,}")
    return _tr("{said}. {more} would tell, if it continues like this.").format(said=said, more=counted(
        more, _tr("About 1 more vote"), _tr("About {count} more votes")))
