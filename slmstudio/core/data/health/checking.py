"""Checks a dataset: everything worth knowing of its rows before a model learns from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from slmstudio.core.data.health.finding import Context, Finding
from slmstudio.core.data.health.kinds import KINDS
from slmstudio.core.data.health.pulse import Pulse
from slmstudio.core.data.health.survey import Found, survey
from slmstudio.core.data.record import Record


def check(records: Sequence[Record], context: Context | None = None,
          progress: Callable[[int, int], None] | None = None, cancelled: Callable[[], bool] | None = None,
          near: bool = True) -> list[Finding]:
    """Everything that is found in the rows, in the order of `KINDS`. Memory beside the rows stays below 1 KB a row.

    Args:
        records: the rows.
        context: what is known beside them.
        progress: called with (steps done, steps in all) about every 2,000 rows; a row has two steps with `near`.
        cancelled: asked every few milliseconds; True ends the check.
        near: whether to look for near-duplicates, which takes as long as everything else.

    Raises:
        ReadingCancelled: `cancelled` said so.
        ValueError: `context.lengths` has not one length for each row.
    """
    context = context or Context()
    if context.lengths is not None and len(context.lengths) != len(records):
        raise ValueError(f"There are {len(context.lengths)} lengths for {len(records)} rows.")
    pulse = Pulse(len(records) * (2 if near else 1), progress, cancelled)
    found = survey(records, context, frozenset(KINDS) - (frozenset() if near else {"near_duplicates"}), pulse)
    pulse.finish()
    return [_finding(kind, found[kind], records) for kind in KINDS if kind in found]


def _finding(kind: str, found: Found, records: Sequence[Record]) -> Finding:
    about = KINDS[kind]
    rows, detail = found.rows, dict(found.detail)
    several = any(records[row].file for row in rows)
    if not several:
        rows = sorted(rows, key=lambda row: records[row].line)
    else:
        detail["files"] = [records[row].file for row in rows]
    for name in ("partners", "groups"):
        if name in detail:
            detail[name] = [[records[row].line for row in group] for group in detail[name]]
    figures: dict[str, Any] = {}
    if kind == "too_long":
        figures = {"percent": _percent(detail["percent"]), "max_length": f"{detail['max_length']:,}",
                   "least_length": f"{detail['least_length']:,}"}
    return Finding(kind, len(rows), tuple(records[row].line for row in rows), about.sentence(len(rows), **figures),
                   about.fix, about.severity, detail)


def _percent(share: float) -> str:
    return f"{share:.0f}%" if share >= 10 else f"{share:.1f}%" if share >= 0.1 else "less than 0.1%"
