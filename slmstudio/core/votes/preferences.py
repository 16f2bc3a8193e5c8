"""Votes as a preference dataset, which DPO and ORPO learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.data.appending import NewRow, as_columns
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import tr
from slmstudio.core.votes.store import Vote
from slmstudio.core.votes.tally import Tally


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
            key = (tuple(map(_said, chosen.messages)), chosen.text, other.text)
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


def _said(message: dict[str, str]) -> tuple[str, str]:
    return message["role"], message["content"]


def export(path: Path, votes: Sequence[Vote], between: Tally | None = None) -> Exported:
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
