"""What a check of a dataset looks for and finds, what can be decided about it, and what a fix did."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from slmstudio.core.data.record import Record
from slmstudio.core.errors import Problem
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.paths import resources

# -- what is looked for, of `resources/health`: kinds of faults, and the words and patterns that show them ----------

Severity = Literal["bad", "warn", "note"]
SEVERITIES: tuple[Severity, ...] = ("bad", "warn", "note")
"""The worst first: spoils training or reveals personal data; worth a look; good to know."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of finding, in English.

    Attributes:
        rows: what is said of one row, and of several.
        choices: ids of `CHOICES` that end it, the recommended one first, and what each does where that is special.
        mask: of an identifier of people, what takes its place.
    """

    id: str
    label: str
    rows: tuple[str, str]
    severity: Severity
    choices: dict[str, str | None]
    mask: str = ""

    @property
    def title(self) -> str:
        """A few words."""
        return tr(self.label)

    @property
    def fix(self) -> str | None:
        """The first choice that changes rows."""
        return next((choice for choice in self.choices if choice in MENDING + LEAVING_OUT), None)

    def sentence(self, count: int, **figures: Any) -> str:
        """What is said about `count` rows."""
        return ntr(*self.rows, count, **figures)


def _read(name: str) -> Any:
    return json.loads((resources() / "health" / name).read_text(encoding="utf-8"))


KINDS: dict[str, Kind] = {each["id"]: Kind(each["id"], each["label"], tuple(each["rows"]), each["severity"],
                                           each["choices"], each.get("mask", "")) for each in _read("kinds.json")}
"""By id."""
CHOICES: dict[str, dict[str, str]] = {each["id"]: each for each in _read("choices.json")}
"""By id, what can be decided about findings, in English: its "label" in a few words, and what it "does"."""
MENDING, LEAVING_OUT = ("mask", "mend"), ("remove", "longest")
"""Choices by which texts are rewritten, and by which rows are left out. The others change no row."""
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
            of the earlier row]. "groups": of conflicting answers, the lines that belong together; "pairs": they are
            answers to compare. "max_length", "least_length", "percent", "tokens" (lost), "longer" (a sequence length
            that can be chosen): of rows that are too long.
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
        groups = self.detail.get("groups")
        return KINDS[self.kind].sentence(self.count if groups is None else len(groups), rows=self.count, **figures)

    @property
    def choices(self) -> tuple[str, ...]:
        """Ids of `CHOICES` that end it, the recommended one first."""
        needs = {"lengthen": "longer" in self.detail, "longest": "pairs" not in self.detail}
        return tuple(choice for choice in KINDS[self.kind].choices if needs.get(choice, True))

    def label(self, choice: str) -> str:
        """A choice in a few words."""
        return tr(CHOICES[choice]["label"], longer=self.detail.get("longer", 0))

    def does(self, choice: str) -> str:
        """What a choice does, in a sentence."""
        kind = KINDS[self.kind]
        return tr(kind.choices[choice] or CHOICES[choice]["does"], mask=kind.mask, longer=self.detail.get("longer", 0))

    @property
    def cost(self) -> dict[str, Any]:
        """What it costs to leave it: how bad it is, and of how many rows; where tokens are lost, how many."""
        tokens = {"tokens": self.detail["tokens"]} if "tokens" in self.detail else {}
        return {"severity": self.severity, "rows": self.count, **tokens}

    @property
    def severity(self) -> Severity:
        return KINDS[self.kind].severity

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {"kind": self.kind, "rows": self.count, "lines": list(self.lines), "detail": self.detail,
                "sentence": self.sentence, "cost": self.cost, "choices": list(self.choices),
                "recommended": self.choices[0]}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Finding:
        """What `to_dict` has written."""
        return cls(state["kind"], state["rows"], tuple(state["lines"]), state["detail"])


def by_cost(findings: Iterable[Finding]) -> list[Finding]:
    """What costs most first: what does harm, then what concerns most rows."""
    return sorted(findings, key=lambda each: (SEVERITIES.index(each.severity), -each.count))


def to_decide(findings: Iterable[Finding], problems: Sequence[Problem], left_out: int,
              longer: int | None = None) -> list[Finding]:
    """The findings with what is known beside the rows.

    Args:
        problems, left_out: of the rows that couldn't be read: they are left out anyhow.
        longer: a sequence length that can be chosen; None if there is none.
    """
    lines = sorted({line for each in problems for line in each.lines or (each.line,) if line is not None})
    unusable = [Finding("unusable", left_out, tuple(lines))] if left_out else []
    return by_cost([*unusable, *(each if longer is None or "max_length" not in each.detail else
                                 replace(each, detail={**each.detail, "longer": longer}) for each in findings)])


def recommended(findings: Iterable[Finding]) -> dict[str, str]:
    """For each kind, the recommended choice."""
    return {each.kind: each.choices[0] for each in findings}


def changes_rows(decisions: Mapping[str, str]) -> bool:
    """Whether the decisions change rows; those that couldn't be read are left out anyhow."""
    return any(choice in MENDING + LEAVING_OUT for kind, choice in decisions.items() if kind != "unusable")


def left_out(findings: Iterable[Finding], decisions: Mapping[str, str]) -> int:
    """About how many rows the decisions leave out; those with several faults once. Which rows can't be mended, and
    which are the same once they are, isn't known before."""
    gone: set[tuple[str, int]] = set()
    groups: list[list[int]] = []
    for each in findings:
        match decisions.get(each.kind) if each.kind != "unusable" else None:
            case "remove":
                gone.update(zip(each.detail.get("files") or [""] * len(each.lines), each.lines, strict=True))
            case "longest":
                groups += each.detail["groups"]
    return len(gone) + sum(max(0, sum(("", line) not in gone for line in group) - 1) for group in groups)


@dataclass(frozen=True, slots=True)
class Context:
    """What is known besides the rows.

    Attributes:
        special_tokens: of the chosen model.
        lengths: tokens of each row, in the rows' order.
        starts: of each, the tokens before the first one that is learned.
        max_length: tokens that a row may have; what is longer is cut.
        others: rows that shouldn't be in the data, by name: {"evaluation": rows, "test": rows}.
    """

    special_tokens: tuple[str, ...] = ()
    lengths: Sequence[int] | None = None
    starts: Sequence[int] | None = None
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

    def steps(self, decisions: Mapping[str, str], unusable: int) -> list[dict[str, Any]]:
        """What was decided and what it did, for the lineage. `unusable` are the rows that couldn't be read."""
        gone = Counter({"unusable": unusable}) + Counter(each.kind for each in self.changes if each.after is None)
        rewritten = Counter(kind for kind, _, _ in {
            (each.kind, each.file, each.line) for each in self.changes if each.after is not None})
        made = {**({"unusable": "remove"} if unusable else {}), **decisions}
        return [{"fix": kind, "choice": choice, "rows": rewritten[kind] + gone[kind],
                 **({"removed": gone[kind]} if gone[kind] else {})} for kind, choice in made.items()]
