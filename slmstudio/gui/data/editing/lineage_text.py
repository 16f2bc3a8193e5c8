"""How a version came to be, in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slmstudio.core.data.health.kinds import KINDS
from slmstudio.core.i18n import ntr, tr

if TYPE_CHECKING:
    from slmstudio.core.data.versions.store import Lineage


def sentence(lineage: Lineage) -> str:
    """As in "Made from ward.jsonl: 5 rows removed (Duplicate rows), 12 rows masked (Phone numbers)"."""
    if lineage.before is None:
        parts = [ntr("{name} ({n:,} row)", "{name} ({n:,} rows)", each.rows or 0, name=each.name)
                 for each in lineage.sources]
        return tr("Mixed from {parts}", parts=", ".join(parts))
    said = [*_fixes(lineage.steps), *_by_hand(lineage.steps)]
    if not said:
        return tr("Made from {name}", name=lineage.before.name)
    return tr("Made from {name}: {steps}", name=lineage.before.name, steps=", ".join(said))


def _fixes(steps: tuple[dict[str, Any], ...]) -> list[str]:
    found = []
    for step in steps:
        kind = KINDS.get(str(step.get("fix")))
        if kind is None:
            continue
        removed = _whole(step.get("removed"))
        rewritten = _whole(step.get("rows")) - removed
        title = kind.title
        if removed:
            found.append(ntr("{n:,} row removed ({title})", "{n:,} rows removed ({title})", removed, title=title))
        if rewritten > 0:
            found.append(
                ntr("{n:,} row masked ({title})", "{n:,} rows masked ({title})", rewritten, title=title)
                if kind.mask else
                ntr("{n:,} row fixed ({title})", "{n:,} rows fixed ({title})", rewritten, title=title))
    return found


def _by_hand(steps: tuple[dict[str, Any], ...]) -> list[str]:
    edited = len({step["edit"] for step in steps if isinstance(step.get("edit"), int)})
    deleted, added = (sum(_whole(step.get(name)) for step in steps) for name in ("delete", "add"))
    return [said for count, said in (
        (edited, ntr("{n:,} row edited", "{n:,} rows edited", edited)),
        (deleted, ntr("{n:,} row deleted", "{n:,} rows deleted", deleted)),
        (added, ntr("{n:,} row added", "{n:,} rows added", added))) if count]


def _whole(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
