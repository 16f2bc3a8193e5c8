"""What the columns of a file may hold, and a look at some of its rows."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slmstudio.core.data import column_names as names
from slmstudio.core.data.candidates import Evidence
from slmstudio.core.data.mapping import labels, tools, unclear
from slmstudio.core.data.mapping.turns import messages_of

TARGETS = {
    "messages": ("messages", "system", "tools"),
    "instruction": ("instruction", "input", "output", "system", "history", "tools", "choices"),
    "preference": ("prompt", "chosen", "rejected", "input", "system", "tools", "winner", "score_chosen",
                   "score_rejected", "ranked"),
    "labelled": ("prompt", "completion", "label", "input", "system", "tools"),
    "text": ("text",),
}
"""What the columns of each layout may be mapped to."""
_NAMES = {"messages": "conversation", "instruction": "question_answer", "preference": "preference",
          "labelled": "labelled", "text": "text"}
_NEEDED = {"messages": ("messages",), "instruction": ("instruction", "output"), "preference": ("chosen", "rejected"),
           "labelled": ("completion", "label"), "text": ("text",)}


def needed(layout: str, targets: Container[str] = ()) -> tuple[str, ...]:
    """Targets of a layout without which a row says nothing.

    Args:
        targets: those that have a column: one with ranked answers holds the better and the worse one.
    """
    return ("ranked",) if layout == "preference" and "ranked" in targets else _NEEDED[layout]


@dataclass(frozen=True)
class ColumnMap:
    """What each column of a file holds.

    Attributes:
        layout: one of `TARGETS`.
        columns: the column of each target; of a pair with a winner, or with a score for each, "chosen" and "rejected"
            are the two answers, and the others say which is which.
        series: columns with a choice each, where no single one holds them all.
        by_look: whether question and answer, of several columns that no one knows, were told by their sentences.
        certainty: how sure that is, 0 to 1, and evidence: why.
    """

    layout: str
    columns: dict[str, str] = field(default_factory=dict)
    series: tuple[str, ...] = ()
    by_look: bool = False
    certainty: float = 1.0
    evidence: tuple[Evidence, ...] = ()

    @property
    def name(self) -> str:
        """As of `Candidate`."""
        return "choices" if self.choices else _NAMES[self.layout]

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns without which a row says nothing."""
        return tuple(self.columns[target] for target in needed(self.layout, self.columns) if target in self.columns)

    @property
    def choices(self) -> tuple[str, ...]:
        """The columns with choices: one for each, or one for all, or none."""
        return self.series or tuple(column for target, column in self.columns.items() if target == "choices")

    @property
    def used(self) -> frozenset[str]:
        """Every column that something is made of."""
        return frozenset((*self.columns.values(), *self.series))

    @property
    def said(self) -> dict[str, str]:
        """The column of each target, where "choices" may be several with commas between, as `given_map` reads it."""
        return {**self.columns, **({"choices": ",".join(self.series)} if self.series else {})}


class Look:
    """The columns of some rows.

    Attributes:
        by_name: the column of each name in English, by `column_names.column`; the first of several.
    """

    def __init__(self, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]):
        self.rows = rows
        self.columns = [name for name in columns if any(
            _filled(each := row.get(name)) and not _are_numbers(each) for row in rows)] or list(columns)
        self.by_name: dict[str, str] = {}
        for name in self.columns:
            self.by_name.setdefault(names.column(name), name)
        for name in self.columns:
            self.by_name.setdefault(name.strip().casefold(), name)
        self._name_by_words()

    def _name_by_words(self) -> None:
        """By a word within a longer name, of columns that aren't classes first: "Complaint type" says about what kind
        what is below "Complaint details" is."""
        named = [(name, words) for name in self.columns if (words := names.words_in(name))]
        for name, words in sorted(named, key=lambda each: len(named) > 1 and unclear.are_classes(self.values(each[0]))):
            for word in sorted(words):
                self.by_name.setdefault(word, name)

    def values(self, column: str) -> list[Any]:
        """What the rows have in a column, except nothing."""
        return [row[column] for row in self.rows if _filled(row.get(column))]

    def first(self, words: Iterable[str], without: Iterable[str] = ()) -> str:
        """The column that is called by one of the words, the first of them first; "" if none is."""
        return next((self.by_name[word] for word in words if word in self.by_name
                     and self.by_name[word] not in without), "")

    def is_text(self, column: str) -> bool:
        return all(isinstance(value, str) for value in self.values(column))

    def label(self, without: tuple[str, ...]) -> str:
        """The column that says whether an answer is good; "" if none does."""
        found = [self.by_name[word] for word in names.LABEL if word in self.by_name]
        found += [column for column in self.columns if names.judges(column)]
        return next((column for column in found if column not in without and labels.are_labels(
            self.values(column), bad=names.column(column) not in names.SURE_LABEL)), "")

    def is_prompt(self, column: str) -> bool:
        """Whether a conversation ends with what is asked; UltraFeedback's "messages" hold the chosen answer too."""
        ends = [messages_of(value, column, [], set())[0] for value in self.values(column)[:20]]
        return all(isinstance(each, list) and each and isinstance(each[-1], dict)
                   and each[-1].get("role") != "assistant" for each in ends)

    def map(self, layout: str, **columns: str) -> ColumnMap:
        """A map of these columns, and of those for system message and tools, where there are any."""
        used = {target: column for target, column in columns.items() if column}
        return ColumnMap(layout, used | self._beside(used))

    def _beside(self, used: Mapping[str, str]) -> dict[str, str]:
        found = {"system": self.first(("system",)), "tools": self.first(names.TOOLS)}
        if found["tools"] and not self._are_tools(found["tools"]):
            del found["tools"]
        return {target: column for target, column in found.items() if column and column not in used.values()}

    def _are_tools(self, column: str) -> bool:
        values = [value for value in self.values(column)[:20] if value not in ("[]", "null")]
        return all(tools.schemas(value, column, []) for value in values)


def _filled(value: Any) -> bool:
    return value is not None and value != "" and value != []


def _are_numbers(value: Any) -> bool:
    """Whether a value is a list of numbers, as the tokens that P3 has beside its texts are."""
    return isinstance(value, list) and all(isinstance(each, (int, float)) for each in value)
