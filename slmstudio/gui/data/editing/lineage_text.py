"""How a version came to be, in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QCoreApplication

from slmstudio.core.data.health.kinds import KINDS
from slmstudio.gui.common.widgets.labels import counted

if TYPE_CHECKING:
    from slmstudio.core.data.versions.store import Lineage


def sentence(lineage: Lineage) -> str:
    """As in "Made from ward.jsonl: 5 rows removed (Duplicate rows), 12 rows masked (Phone numbers)"."""
    if lineage.before is None:
        parts = [_tr("{name} ({rows})").format(name=each.name, rows=_rows(each.rows or 0)) for each in lineage.sources]
        return _tr("Mixed from {parts}").format(parts=", ".join(parts))
    said = [text for text in (*_fixes(lineage.steps), *_by_hand(lineage.steps)) if text]
    if not said:
        return _tr("Made from {name}").format(name=lineage.before.name)
    return _tr("Made from {name}: {steps}").format(name=lineage.before.name, steps=", ".join(said))


def _fixes(steps: tuple[dict[str, Any], ...]) -> list[str]:
    found = []
    for step in steps:
        kind = KINDS.get(str(step.get("fix")))
        if kind is None:
            continue
        removed = _whole(step.get("removed"))
        rewritten = _whole(step.get("rows")) - removed
        if removed:
            found.append(_count(removed, _tr("1 row removed ({title})"), _tr("{count} rows removed ({title})"),
                                kind.title))
        if rewritten > 0:
            one, many = (_tr("1 row masked ({title})"), _tr("{count} rows masked ({title})")) if kind.mask else (
                _tr("1 row mended ({title})"), _tr("{count} rows mended ({title})"))
            found.append(_count(rewritten, one, many, kind.title))
    return found


def _by_hand(steps: tuple[dict[str, Any], ...]) -> list[str]:
    edited = len({step["edit"] for step in steps if isinstance(step.get("edit"), int)})
    deleted, added = (sum(_whole(step.get(name)) for step in steps) for name in ("delete", "add"))
    return [counted(count, one, many) if count else "" for count, one, many in (
        (edited, _tr("1 row edited"), _tr("{count} rows edited")),
        (deleted, _tr("1 row deleted"), _tr("{count} rows deleted")),
        (added, _tr("1 row added"), _tr("{count} rows added")))]


def _count(count: int, one: str, many: str, title: str) -> str:
    return (one if count == 1 else many).format(count=f"{count:,}", title=title)


def _rows(count: int) -> str:
    return counted(count, _tr("1 row"), _tr("{count} rows"))


def _whole(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _tr(text: str) -> str:
    return QCoreApplication.translate("Lineage", text)
