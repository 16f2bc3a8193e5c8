"""What is looked for in a dataset, of `resources/health`: kinds of faults, and the words and patterns that show it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from slmstudio.core.i18n import ntr, tr
from slmstudio.core.paths import resources

Severity = Literal["bad", "warn", "note"]
"""Severities: spoils training or reveals personal data; worth a look; good to know."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of finding, in English.

    Attributes:
        rows: what is said of one row, and of several.
        repair: what the fix does; None if there is none.
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
        return ntr(*self.rows, count, **figures)


def _read(name: str) -> Any:
    return json.loads((resources() / "health" / name).read_text(encoding="utf-8"))


KINDS: dict[str, Kind] = {each["id"]: Kind(each["id"], each["label"], tuple(each["rows"]), each["severity"],
                                           each.get("fix"), each.get("mask", "")) for each in _read("kinds.json")}
"""By id, in the order in which they are shown."""
WORDS: dict[str, Any] = _read("words.json")
"""Words by which faults are found, most of them parts of regular expressions."""
PATTERNS: dict[str, Any] = _read("patterns.json")
"""The expressions that these are parts of; a long one is a list of its pieces."""


def filled_in(text: str | list[str]) -> str:
    """An expression, or its pieces, with <<name>> replaced by the expression of that name."""
    return re.sub(r"<<(\w+)>>", lambda found: written(found[1]), "".join(text))


def written(name: str) -> str:
    """The expression of this name: one of `PATTERNS`, or any word of a list of `WORDS`."""
    return f"(?:{'|'.join(WORDS[name])})" if name in WORDS else filled_in(PATTERNS[name])


def pattern(name: str) -> re.Pattern[str]:
    """The expression of this name."""
    return re.compile(written(name))
