"""One item of a test set: what is asked, and what a good answer is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from slmstudio.core.data.candidates import Candidate
from slmstudio.core.data.conversations import Message, Messages
from slmstudio.core.errors import Problem

KINDS = ("free", "choice", "number", "exact", "pattern")


@dataclass(frozen=True, slots=True)
class TestItem:
    """One usable row of a test set.

    Attributes:
        id: its place in the test set, from 0.
        line: 1-based line of the file where the row begins.
        kind: "free" (any wording, near a reference), "choice" (one of `choices`), "number" (the last number counts),
            "exact" (the reference, word for word) or "pattern" (a regular expression).
        messages: up to and with the question, each {"role", "content"}; the last is the user's, or what a tool
            returned. They don't hold the choices: how those are shown is the evaluation's business.
        references: good answers, as the file writes them; of a "number" row the whole text, "#### 42" with it; of a
            "choice" row the right choice's text; may be empty for a "pattern" row only.
        choices: of a "choice" row, two or more different texts.
        answer: of a "choice" row, the index of the right one, from 0.
        pattern: of a "pattern" row, a regular expression that compiles; match it by `matching.matches_pattern`.
        category: a subject or another tag, when a column says one.
        language: BCP 47 like "hi": from a column, or guessed by the script.
        language_guessed: whether `language` comes from the script of the text and from no column.
        trained_on: whether the model has learned this question; set by whoever knows the training rows.
        below: characters of the passage at the end of the question, with the blank line above it.
        tools: what may be called, as of `Record`.
        reply: the good answer as a message where it calls tools; `references` has it as text.
    """

    id: int
    line: int
    kind: str
    messages: Messages
    references: tuple[str, ...] = ()
    choices: tuple[str, ...] | None = None
    answer: int | None = None
    pattern: str | None = None
    category: str | None = None
    language: str | None = None
    language_guessed: bool = False
    trained_on: bool = False
    below: int = 0
    tools: tuple[dict[str, Any], ...] = ()
    reply: Message | None = None

    __test__ = False  # no class of tests, whatever pytest thinks of its name

    @property
    def question(self) -> str:
        """The last user message."""
        return next((str(each["content"]) for each in reversed(self.messages) if each["role"] == "user"), "")

    def to_dict(self) -> dict[str, Any]:
        """A line of items.jsonl; of tools it says something only where there are some."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
                if value or name not in ("tools", "reply")}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> TestItem:
        """Read a line of items.jsonl back; keys that this version doesn't know are ignored."""
        values = {each.name: state[each.name] for each in fields(cls) if each.name in state}
        for name in ("messages", "references", "choices", "tools"):
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        return cls(**values)


@dataclass
class TestSet:
    """What a test file holds.

    Attributes:
        path: the file; a folder for an MMLU folder.
        items: the usable rows, in the file's order.
        problems: everything that is wrong with the other rows, by line; those rows are left out.
        sha256: of the file's bytes, in hexadecimal.
        kinds: how many items there are of each kind.
        notes: sentences on how the file was understood, where that isn't plain ("answers count from 1").
        unused: names of the columns that usable rows have beside the ones read, sorted.
        candidates: as of a `Dataset`.
    """

    path: Path
    items: list[TestItem]
    problems: list[Problem]
    sha256: str
    kinds: Counter[str]
    notes: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()

    __test__ = False

    @property
    def is_sure(self) -> bool:
        """Whether it needn't be asked how the file is read."""
        return not self.candidates or self.candidates[0].is_sure

    @property
    def name(self) -> str:
        return self.path.stem
