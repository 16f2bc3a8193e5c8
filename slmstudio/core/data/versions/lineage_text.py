"""How a version of a dataset came to be, in a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from slmstudio.core.data.health.finding import KINDS
from slmstudio.core.data.versions.store import Lineage, Step
from slmstudio.core.i18n import join_sentences, ntr, tr


def sentence(lineage: Lineage) -> str:
    """As in "290 of 312 rows of ward.jsonl are used. Left out: Duplicate rows (22). Changed: HTML (12)."."""
    source, steps = lineage.before, lineage.steps
    if source is None:
        parts = [ntr("{name} ({n:,} row)", "{name} ({n:,} rows)", each.rows or 0, name=each.name)
                 for each in lineage.sources]
        return tr("Mixed from {parts}", parts=", ".join(parts))
    gone = _counted((str(step.get("fix")), _whole(step.get("removed"))) for step in steps)
    changed = _counted((str(step.get("fix")), _whole(step.get("rows")) - _whole(step.get("removed"))) for step in steps)
    by_hand = _by_hand(steps)
    if source.rows is None or any("add" in step for step in steps):
        made = tr("Made from {name}.", name=source.name)
    else:
        used = source.rows - sum(_whole(step.get(name)) for step in steps for name in ("removed", "delete"))
        made = ntr("{used:,} of {n:,} row of {name} is used.", "{used:,} of {n:,} rows of {name} are used.",
                   source.rows, used=used, name=source.name)
    return join_sentences(made, *([tr("By hand: {steps}.", steps=", ".join(by_hand))] if by_hand else []),
                          *([tr("Left out: {findings}.", findings=gone)] if gone else []),
                          *([tr("Changed: {findings}.", findings=changed)] if changed else []))


def _counted(counts: Iterable[tuple[str, int]]) -> str:
    """Kinds of findings with their rows."""
    return ", ".join(tr("{title} ({rows:,})", title=KINDS[kind].title, rows=rows)
                     for kind, rows in counts if rows > 0 and kind in KINDS)


def _by_hand(steps: tuple[Step, ...]) -> list[str]:
    edited = len({step["edit"] for step in steps if isinstance(step.get("edit"), int)})
    deleted, added = (sum(_whole(step.get(name)) for step in steps) for name in ("delete", "add"))
    return [said for count, said in (
        (edited, ntr("{n:,} row edited", "{n:,} rows edited", edited)),
        (deleted, ntr("{n:,} row deleted", "{n:,} rows deleted", deleted)),
        (added, ntr("{n:,} row added", "{n:,} rows added", added))) if count]


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
