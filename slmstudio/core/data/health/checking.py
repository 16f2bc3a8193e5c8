"""Checks a dataset: everything worth knowing about its rows before a model learns from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from slmstudio.core.data.health.finding import Context, Finding
from slmstudio.core.data.health.kinds import KINDS
from slmstudio.core.data.health.pulse import Pulse
from slmstudio.core.data.health.survey import Found, survey
from slmstudio.core.data.record import Record


def check(records: Sequence[Record], context: Context | None = None,
          progress: Callable[[int, int], None] | None = None,
          cancelled: Callable[[], bool] | None = None) -> list[Finding]:
    """Everything that is found in the rows, in the order of `KINDS`. It needs less than 1 KB of memory per row.

    Args:
        records: the rows.
        context: what is known beside them.
        progress: called with (steps done, steps in all) about every 2,000 rows; a row has two steps, of which one is
            to look for near-duplicates.
        cancelled: asked every few milliseconds; True ends the check.

    Raises:
        ReadingCancelled: `cancelled` said so.
        ValueError: `context.lengths` doesn't have one length for each row.
    """
    context = context or Context()
    if context.lengths is not None and len(context.lengths) != len(records):
        raise ValueError(f"There are {len(context.lengths)} lengths for {len(records)} rows.")
    pulse = Pulse(2 * len(records), progress, cancelled)
    found = survey(records, context, frozenset(KINDS), pulse)
    pulse.finish()
    return [_finding(kind, found[kind], records) for kind in KINDS if kind in found]


def _finding(kind: str, found: Found, records: Sequence[Record]) -> Finding:
    rows, detail = found.rows, dict(found.detail)
    several = any(records[row].file for row in rows)
    if not several:
        rows = sorted(rows, key=lambda row: records[row].line)
    else:
        detail["files"] = [records[row].file for row in rows]
    for name in ("partners", "groups"):
        if name in detail:
            detail[name] = [[records[row].line for row in group] for group in detail[name]]
    return Finding(kind, len(rows), tuple(records[row].line for row in rows), detail)
