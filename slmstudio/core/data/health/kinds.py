"""What is looked for in a dataset, of `resources/health`: kinds of faults, and the words by which they are found."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from slmstudio.core.i18n import ntr, tr
from slmstudio.core.paths import resources

Severity = Literal["bad", "warn", "note"]
"""Severities: spoils training or reveals personal data; worth a look; good to know."""


def _read(name: str) -> Any:
    return json.loads((resources() / "health" / name).read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of finding.

    Attributes:
        id: as in `Finding.kind`.
        label: its title in English.
        rows: what is said in English of one row, and of several.
        severity: "bad", "warn" or "note".
        repair: what the fix does, in English; None if there is none.
        mask: of an identifier of people, what the fix writes instead of it.
    """

    id: str
    label: str
    rows: tuple[str, str]
    severity: Severity
    repair: str | None = None
    mask: str = ""

    @property
    def title(self) -> str:
        """A few words."""
        return tr(self.label)

    @property
    def fix(self) -> str | None:
        """What the fix does; None if there is none."""
        return None if self.repair is None else tr(self.repair, mask=self.mask)

    def sentence(self, count: int, **figures: Any) -> str:
        """What is said about `count` rows."""
        one, many = self.rows
        return ntr(one, many, count, **figures)


KINDS: dict[str, Kind] = {each["id"]: Kind(each["id"], each["label"], tuple(each["rows"]), each["severity"],
                                           each.get("fix"), each.get("mask", "")) for each in _read("kinds.json")}
"""By id, in the order in which they are shown."""
WORDS: dict[str, Any] = _read("words.json")
"""Words by which faults are found, most of them parts of regular expressions."""
PATTERNS: dict[str, Any] = _read("patterns.json")
"""The expressions that these are parts of; a long one is a list of its pieces."""
_NAMED = re.compile(r"<<(\w+)>>")


def either(name: str) -> str:
    """An expression for one of the words of a list."""
    return f"(?:{'|'.join(WORDS[name])})"


def pattern(written: str | list[str]) -> re.Pattern[str]:
    """An expression of `PATTERNS`, by its name or as it is written there."""
    return re.compile(_filled_in(PATTERNS.get(written, written) if isinstance(written, str) else written))


def _filled_in(written: str | list[str]) -> str:
    def named(found: re.Match[str]) -> str:
        name = found[1]
        return either(name) if name in WORDS else _filled_in(PATTERNS[name])

    return _NAMED.sub(named, "".join(written))
