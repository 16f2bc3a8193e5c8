"""How a version of a dataset came to be, in a sentence."""

from __future__ import annotations

from typing import Any

from slmstudio.core.data.health.finding import KINDS
from slmstudio.core.data.versions.store import Lineage, Step
from slmstudio.core.i18n import ntr, tr


def sentence(lineage: Lineage) -> str:
    """As in "Learned from 290 of 312 rows of ward.jsonl: 22 rows left out (Duplicate rows), 12 rows masked (Phone
    numbers)"."""
    source = lineage.before
    if source is None:
        parts = [ntr("{name} ({n:,} row)", "{name} ({n:,} rows)", each.rows or 0, name=each.name)
                 for each in lineage.sources]
        return tr("Mixed from {parts}", parts=", ".join(parts))
    steps = ", ".join((*_fixes(lineage.steps), *_by_hand(lineage.steps)))
    if not steps:
        return tr("Made from {name}", name=source.name)
    if source.rows is None or not lineage.is_fix:
        return tr("Made from {name}: {steps}", name=source.name, steps=steps)
    used = source.rows - sum(_whole(step.get("removed")) for step in lineage.steps)
    return ntr("Learned from {used:,} of {n:,} row of {name}: {steps}",
               "Learned from {used:,} of {n:,} rows of {name}: {steps}", source.rows, used=used, name=source.name,
               steps=steps)


def _fixes(steps: tuple[Step, ...]) -> list[str]:
    found = []
    for step in steps:
        kind = KINDS.get(str(step.get("fix")))
        if kind is None:
            continue
        removed = _whole(step.get("removed"))
        rewritten = _whole(step.get("rows")) - removed
        title = kind.title
        if removed:
            found.append(ntr("{n:,} row left out ({title})", "{n:,} rows left out ({title})", removed, title=title))
        if rewritten > 0:
            found.append(
                ntr("{n:,} row masked ({title})", "{n:,} rows masked ({title})", rewritten, title=title)
                if kind.mask else
                ntr("{n:,} row repaired ({title})", "{n:,} rows repaired ({title})", rewritten, title=title))
    return found


def _by_hand(steps: tuple[Step, ...]) -> list[str]:
    edited = len({step["edit"] for step in steps if isinstance(step.get("edit"), int)})
    deleted, added = (sum(_whole(step.get(name)) for step in steps) for name in ("delete", "add"))
    return [said for count, said in (
        (edited, ntr("{n:,} row edited", "{n:,} rows edited", edited)),
        (deleted, ntr("{n:,} row deleted", "{n:,} rows deleted", deleted)),
        (added, ntr("{n:,} row added", "{n:,} rows added", added))) if count]


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
