"""How a version came to be, in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slmstudio.core.data.health.kinds import KINDS
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common.widgets.labels import counted

if TYPE_CHECKING:
    from slmstudio.core.data.versions.store import Lineage


def sentence(lineage: Lineage) -> str:
    """As in "Made from ward.jsonl: 5 rows removed (Duplicate rows), 12 rows masked (Phone numbers)"."""
    if lineage.before is None:
        parts = [tr("{name} ({rows})", name=each.name, rows=_rows(each.rows or 0)) for each in lineage.sources]
        return tr("Mixed from {parts}", parts=", ".join(parts))
    said = [text for text in (*_fixes(lineage.steps), *_by_hand(lineage.steps)) if text]
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
        if removed:
            found.append(_count(removed, tr("1 row removed ({title})"), tr("{count} rows removed ({title})"),
                                kind.title))
        if rewritten > 0:
            one, many = (tr("1 row masked ({title})"), tr("{count} rows masked ({title})")) if kind.mask else (
                tr("1 row mended ({title})"), tr("{count} rows mended ({title})"))
            found.append(_count(rewritten, one, many, kind.title))
    return found


def _by_hand(steps: tuple[dict[str, Any], ...]) -> list[str]:
    edited = len({step["edit"] for step in steps if isinstance(step.get("edit"), int)})
    deleted, added = (sum(_whole(step.get(name)) for step in steps) for name in ("delete", "add"))
    return [counted(count, one, many) if count else "" for count, one, many in (
        (edited, tr("1 row edited"), tr("{count} rows edited")),
        (deleted, tr("1 row deleted"), tr("{count} rows deleted")),
        (added, tr("1 row added"), tr("{count} rows added")))]


def _count(count: int, one: str, many: str, title: str) -> str:
    return (one if count == 1 else many).format(count=f"{count:,}", title=title)


def _rows(count: int) -> str:
    return ntr("{n:,} row", "{n:,} rows", count)


def _whole(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
