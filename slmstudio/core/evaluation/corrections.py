"""Corrections of an evaluation's rows, kept beside them: the rows and the test file stay as they were asked.

corrections.jsonl in the evaluation's folder, one line per change, append-only; each has a name of its own as "change":
{"id": item, "references": [...]}, {"id": item, "category": text or null, "language": text or null},
{"id": item, "removed": true}, or {"undo": name of a change}.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core import files

FILE = "corrections.jsonl"
Item = dict[str, Any]


@dataclass(frozen=True)
class Corrections:
    """
    Attributes:
        values: by item, what it has instead of what it was asked with.
        removed: items that count no more.
    """

    values: dict[int, Item] = field(default_factory=dict)
    removed: frozenset[int] = frozenset()

    def applied(self, items: Iterable[Item]) -> list[Item]:
        return [{**item, **self.values.get(item["id"], {})} for item in items if item["id"] not in self.removed]

    def has_other_references(self, item: Any) -> bool:
        """Whether nobody has asked a model, or a judge, about the item's references as they are now."""
        return "references" in self.values.get(item, {})

    def counts(self, item: Any) -> bool:
        """Whether what a judge said about the item still holds."""
        return item not in self.removed and not self.has_other_references(item)


def read(folder: Path) -> Corrections:
    """The changes that hold: of several of a row's references, or of its tags, the last."""
    lines = list(files.LineReader(folder / FILE).read())
    undone = {line["undo"] for line in lines if isinstance(line.get("undo"), str)}
    values: dict[int, Item] = {}
    removed = set()
    for line in lines:
        item = line.get("id")
        if not isinstance(item, int) or line.get("change") in undone:
            continue
        if line.get("removed"):
            removed.add(item)
        elif isinstance(line.get("references"), list):
            values[item] = values.get(item, {}) | {"references": line["references"]}
        elif "category" in line:
            values[item] = values.get(item, {}) | {
                "category": line["category"], "language": line.get("language"), "language_guessed": False}
    return Corrections(values, frozenset(removed))


def add(folder: Path, item: int, **change: Any) -> str:
    """Keep a change of a row; its name. Raises OSError."""
    name = secrets.token_hex(8)
    files.append_line(folder / FILE, {"change": name, "id": item, **change})
    return name


def undo(folder: Path, change: str) -> None:
    """Let a change count no more. Raises OSError."""
    files.append_line(folder / FILE, {"undo": change})
