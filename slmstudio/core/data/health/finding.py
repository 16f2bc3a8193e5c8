"""What a check of a dataset looks for and finds, what it needs to know besides the rows, and what a fix did."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from slmstudio.core.data.record import Record
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.paths import resources

# -- what is looked for, of `resources/health`: kinds of faults, and the words and patterns that show them ----------

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


# -- what is found ---------------------------------------------------------------------------------------------

@dataclass(frozen=True, slots=True)
class Finding:
    """Everything of one kind that was found. Its sentences are made when they are asked for, in the current language.

    Attributes:
        kind: id of one of `KINDS`.
        count: rows concerned.
        lines: where each of them begins in its file, ascending; of several files, file after file.
        detail: by kind. "files": of several files, the name for each of `lines`. "partners": of duplicates, [line, line
            of the earlier row]. "groups": of conflicting answers, the lines that belong together. "max_length",
            "least_length", "percent": of rows that are too long.
    """

    kind: str
    count: int
    lines: tuple[int, ...]
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """For people, with the figure."""
        figures: dict[str, Any] = {name: value for name, value in self.detail.items() if isinstance(value, int)}
        if share := self.detail.get("percent"):
            figures["percent"] = f"{share:.0f}%" if share >= 10 else f"{share:.1f}%" if share >= 0.1 else tr(
                "less than 0.1%")
        return KINDS[self.kind].sentence(self.count, **figures)

    @property
    def fix(self) -> str | None:
        """What the fix does; None if there is none."""
        return KINDS[self.kind].fix

    @property
    def severity(self) -> Severity:
        return KINDS[self.kind].severity

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {**asdict(self), "lines": list(self.lines), "sentence": self.sentence, "fix": self.fix,
                "severity": self.severity}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Finding:
        """What `to_dict` has written."""
        return cls(state["kind"], state["count"], tuple(state["lines"]), state["detail"])


@dataclass(frozen=True, slots=True)
class Context:
    """What is known besides the rows.

    Attributes:
        special_tokens: of the chosen model.
        lengths: tokens of each row, in the rows' order.
        max_length: tokens that a row may have; what is longer is cut.
        others: rows that shouldn't be in the data, by name: {"evaluation": rows, "test": rows}.
    """

    special_tokens: tuple[str, ...] = ()
    lengths: Sequence[int] | None = None
    max_length: int | None = None
    others: Mapping[str, Sequence[Record]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """One text that a fix changed, or one row that it removed.

    Attributes:
        line: where the row begins.
        kind: what was fixed.
        before: the text; of a removed row, all its texts with blank lines between them.
        after: the text as it is now; None for a removed row.
        file: of several files, the name of the row's; otherwise "".
    """

    line: int
    kind: str
    before: str | None
    after: str | None
    file: str = ""


@dataclass(slots=True)
class Fixed:
    """What a fix made.

    Attributes:
        records: the rows as they are now, in their order. Rows that needed no fix are the very same objects.
        changes: everything that was done, in its order. The rows given to `fix` are untouched: keep them to undo it.
        kept: for each of `records`, its index among the rows given.
    """

    records: list[Record]
    changes: list[Change]
    kept: list[int]
