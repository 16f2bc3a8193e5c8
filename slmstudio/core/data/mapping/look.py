"""What the columns of a file may hold, a look at some of its rows, and columns that are made of others."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from slmstudio.core.data import column_names as names
from slmstudio.core.data.candidates import Evidence
from slmstudio.core.data.mapping import ratings, tools
from slmstudio.core.data.mapping.profile import ColumnProfile
from slmstudio.core.data.mapping.turns import messages_of
from slmstudio.core.data.mapping.values import as_text, passage, search, written
from slmstudio.core.data.sources.labels import Line, marked
from slmstudio.core.data.sources.questions import rows

# -- Columns that a user makes of a file's: several joined, a part of what is in one, a cell with a question and its
# answer.

AND = " + "
"""Between the names of columns that are joined: "Title + Body"."""
_BEFORE_MARK = re.compile(r"\s+(?=[^\s:：]{1,20}\s?[:：])")
"""Where a mark such as "Answer:" may begin within a line."""


@dataclass(frozen=True)
class MadeColumn:
    """A column that the file doesn't have.

    Attributes:
        columns: those that it is made of.
        parts: what is joined: the names of columns, or JMESPath expressions for what is inside of them.
        join: the text between them.
    """

    columns: tuple[str, ...]
    parts: tuple[Any, ...]
    join: str

    def of(self, row: Mapping[str, Any]) -> Any:
        """What it holds in a row; None if that is nothing."""
        found = [row.get(part) if isinstance(part, str) else search(part, row) for part in self.parts]
        if len(found) == 1:
            return found[0]
        texts = [str(text) for each in found if (text := as_text(passage(each))) not in (None, "", [], {})]
        return self.join.join(texts) if texts else None


def made_of(name: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], join: str) -> MadeColumn | None:
    """What a name stands for that no column has; None if one of its parts is nowhere in the rows.

    https://jmespath.org/specification.html
    """
    parts: list[Any] = []
    used: list[str] = []
    for part in map(str.strip, name.split(AND)):
        if part in columns:
            parts.append(part)
            used.append(part)
        elif (path := _path(part)) is not None and any(search(path, row) is not None for row in rows):
            parts.append(path)
            used += _names(path.parsed)
        else:
            return None
    return MadeColumn(tuple(used), tuple(parts), join)


def _path(text: str) -> Any:
    import jmespath

    try:
        return jmespath.compile(text)
    except jmespath.exceptions.JMESPathError:
        return None


def _names(node: Mapping[str, Any]) -> list[str]:
    """The columns in which a path begins: one, or those of each member of the object that it makes."""
    parts = node["children"] if node["type"] == "multi_select_dict" else node["children"][:1]
    return [name for each in parts for name in _names(each)] if parts else [str(node.get("value", ""))]


def questions_in(cell: Any, between: str | None) -> Iterator[tuple[str, str]]:
    """The questions and answers in a cell.

    Args:
        between: the text that ends a question; None finds marks in any language, such as "Q:" and "A:".

    >>> list(questions_in("Question: Who pays? Answer: The tenant.", None))
    [('Who pays?', 'The tenant.')]
    """
    if not isinstance(cell, str):
        return
    if between is not None:
        question, mark, answer = cell.partition(between)
        if mark and question.strip() and answer.strip():
            yield question.strip(), answer.strip()
        return
    text = _BEFORE_MARK.sub(lambda gap: "\n" if marked(cell[gap.end():]) else gap[0], cell)
    for raw in rows((Line(line, at) for at, line in enumerate(text.splitlines(), 1)), "marks"):
        if raw.value["answer"]:
            yield raw.value["question"], raw.value["answer"]


TARGETS = {
    "messages": ("messages", "system", "tools"),
    "instruction": ("instruction", "input", "output", "system", "history", "tools", "choices",
                    "cell"),
    "preference": ("prompt", "chosen", "rejected", "input", "system", "tools", "winner", "score_chosen",
                   "score_rejected", "ranked"),
    "labelled": ("prompt", "completion", "label", "input", "system", "tools"),
    "text": ("text",),
}
"""What the columns of each layout may be mapped to."""
_MARKED = re.compile(r"(?P<base>.+?)_?(?P<mark>[ab012])$")
_TAGS = re.compile(r"(?:(?:[BIESLU]-\S+|O)(?:\s+|$))+")
"""The classes of all words of a text, such as "O B-city"."""
_THREAD = 0.7
"""Share of different values of a column, at most, that says which rows belong together."""
_NAMES = {"messages": "conversation", "instruction": "question_answer", "preference": "preference",
          "labelled": "labelled", "text": "text"}
_NEEDED = {"messages": ("messages",), "instruction": ("instruction", "output"), "preference": ("chosen", "rejected"),
           "labelled": ("completion", "label"), "text": ("text",)}


def needed(layout: str, targets: Container[str] = ()) -> tuple[str, ...]:
    """Targets of a layout without which a row says nothing.

    Args:
        targets: those that have a column: one with ranked answers holds the better and the worse one, and a cell may
            hold question and answer.
    """
    single = next((target for target in ("ranked", "cell") if target in targets), "")
    return (single,) if single in TARGETS[layout] else _NEEDED[layout]


@dataclass(frozen=True)
class ColumnMap:
    """What each column of a file holds.

    Attributes:
        layout: one of `TARGETS`.
        columns: the column of each target; of a pair with a winner, or with a score for each, "chosen" and "rejected"
            are the two answers, and the others say which is which.
        series: columns with a choice each, where no single one holds them all.
        made: those of the columns that the file doesn't have, by their names.
        certainty: how sure that is, 0 to 1, and evidence: why.
    """

    layout: str
    columns: dict[str, str] = field(default_factory=dict)
    series: tuple[str, ...] = ()
    made: Mapping[str, MadeColumn] = field(default_factory=dict)
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
        sources = (name for each in self.made.values() for name in each.columns)
        return frozenset((*self.columns.values(), *self.series, *sources))

    @property
    def said(self) -> dict[str, str]:
        """The column of each target, where "choices" may be several with commas between, as `given_map` reads it."""
        return {**self.columns, **({"choices": ",".join(self.series)} if self.series else {})}


class Look:
    """The columns of some rows.

    Args:
        may_look: whether columns without a telling name are taken for what they look like.
        use_marks: whether a column may say which answers are good.

    Attributes:
        columns: those that hold something but lists of numbers; all of them if none does.
        by_name: the column of each name in English, by `column_names.column`; the first of several.
    """

    def __init__(self, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], may_look: bool = True,
                 use_marks: bool = True):
        self.rows = rows
        self.may_look = may_look
        self._use_marks = use_marks
        self._profiles: dict[str, ColumnProfile] = {}
        self.columns = [name for name in columns if not all(map(_are_numbers, self.values(name)))] or list(columns)
        self.by_name: dict[str, str] = {}
        for name in self.columns:
            self.by_name.setdefault(names.column(name), name)
        for name in self.columns:
            self.by_name.setdefault(name.strip().casefold(), name)
        self._name_by_words()

    def _name_by_words(self) -> None:
        """By a word within a longer name, of columns with words of their own in each row first: "Complaint type" says
        about what kind what is below "Complaint details" is."""
        named = [(name, words) for name in self.columns if (words := names.words_in(name))]

        def is_beside(each: tuple[str, set[str]]) -> tuple[bool, bool]:
            profile = self.of(each[0])
            return profile.is_class or profile.kind == "ids", 2 * profile.weight < 1

        for name, words in sorted(named, key=is_beside) if len(named) > 1 else named:
            for word in sorted(words):
                self.by_name.setdefault(word, name)

    def of(self, column: str) -> ColumnProfile:
        """What a column holds."""
        found = self._profiles.get(column)
        if found is None:
            found = self._profiles[column] = ColumnProfile(
                column, [row[column] for row in self.rows if _filled(row.get(column))], len(self.rows))
        return found

    def values(self, column: str) -> list[Any]:
        """What the rows have in a column, except nothing."""
        return self.of(column).values

    def first(self, words: Iterable[str], without: Iterable[str] = ()) -> str:
        """The column that is called by one of the words, the first of them first; "" if none is."""
        return next((self.by_name[word] for word in words if word in self.by_name
                     and self.by_name[word] not in without), "")

    def is_thread(self, column: str) -> bool:
        """Whether it says to which chat a row belongs, of which each has several."""
        return names.column(column).removesuffix("_id") in names.CONVERSATION and self.of(column).weight < _THREAD

    def is_text(self, column: str) -> bool:
        return self.of(column).is_text

    def is_list(self, column: str) -> bool:
        return all(isinstance(value, list) for value in self.values(column))

    def label(self, without: tuple[str, ...]) -> str:
        """The column that says whether an answer is good; "" if none does."""
        if not self._use_marks:
            return ""
        found = [self.by_name[word] for word in names.LABEL if word in self.by_name]
        found += [column for column in self.columns if names.judges(column)]
        return next((column for column in found if column not in without and ratings.are_labels(
            self.values(column), bad=names.column(column) not in names.SURE_LABEL)), "")

    @cached_property
    def has_tags(self) -> bool:
        """Whether words of a text are marked, for a tagger: as plain text, the rows would teach something else."""
        return any(isinstance(value, list) for word in names.MARKS if word in self.by_name
                   for value in self.values(self.by_name[word])) or any(
                       all(isinstance(value := row.get(column), str) and _TAGS.fullmatch(value) for row in self.rows)
                       for column in self.columns)

    @cached_property
    def names(self) -> list[str]:
        """Columns that may hold a question by what they are called, or name something: a task, who asked."""
        return [column for column in self.columns if names.column(column) in (*names.NAMES, *names.HEADS)
                and self.of(column).may_name]

    @cached_property
    def people(self) -> list[str]:
        """Columns that may hold an answer by what they are called, or name who gave it, such as "agent"."""
        return [column for column in self.columns if names.column(column) in names.WEAK_ANSWERS
                and self.of(column).may_name]

    def classes(self, text: str) -> list[str]:
        """Columns whose values may be the classes of a text: a few that come again and again, and whose names don't say
        that they are about the row; the usual names of classes first, and codes last."""
        found = [column for column in self.columns if column != text and self.of(column).is_class and (
            names.column(column) in names.KINDS or self.of(column).words & names.SORTED_WORDS or not (
                names.is_about(column) or names.rates(column) or (self.of(column).words | set(
                    names.column(column).split("_"))) & (names.PEOPLE_WORDS | names.BESIDE)))]
        return sorted(found, key=lambda column: (names.column(column) not in names.KINDS, self.of(column).are_codes))

    def texts(self, without: Container[str] = ()) -> list[str]:
        """Columns of text that are none of those that are beside question and answer: numbers, names, dates. Beside
        single words, what may be a name is one of them."""
        if not self.may_look:
            return []
        found = [column for column in self.columns if column not in without and self.values(column)
                 and names.column(column) not in names.NO_TEXTS and not names.is_choice(column) and (
                     self.is_text(column) or (self.of(column).are_lines and names.column(column) not in (
                         *names.CONVERSATION, *names.TEXT)))
                 and not (self.of(column).is_number_or_date or (
                     self.of(column).kind == "ids" and names.is_about(column)))]
        sure = [column for column in found if column not in self.names]
        return found if all(self.of(column).is_word for column in sure) else sure

    def is_prompt(self, column: str) -> bool:
        """Whether a conversation ends with what is asked; UltraFeedback's "messages" hold the chosen answer too."""
        ends = [messages_of(value, column, [], set())[0] for value in self.values(column)[:20]]
        return all(isinstance(each, list) and each and isinstance(each[-1], dict)
                   and each[-1].get("role") != "assistant" for each in ends)

    def marked(self) -> dict[str, dict[str, str]]:
        """The columns whose names end with a mark, such as "answer_a", by the name without it, and by the mark."""
        series: dict[str, dict[str, str]] = {}
        for column in self.columns:
            if found := _MARKED.fullmatch(names.column(column)):
                series.setdefault(found["base"], {})[found["mark"]] = column
        return series

    def twos(self) -> dict[str, set[str]]:
        """The two columns of each name that has two marks: neither is the one to learn."""
        return {base: set(each.values()) for base, each in self.marked().items() if len(each) == 2}

    def inside_objects(self) -> tuple[list[str], list[dict[str, Any]]]:
        """The columns and rows with what is in the objects of each row as columns of its own, such as "title.en"; none
        where a row is alone, or where lists of objects hold what is to be learned."""
        whole = {name for name in self.columns if self.of(name).kind == "objects"}
        lists = any(isinstance(part, dict) for name in self.columns for value in self.values(name)
                    if isinstance(value, list) for part in value)
        if not whole or lists or len(self.rows) < 2:
            return [], []
        rows = [{name: value for name, value in row.items() if name not in whole} | {
            written(name, key): value for name in row if name in whole and isinstance(row[name], dict)
            for key, value in row[name].items() if not isinstance(value, (dict, list))} for row in self.rows]
        return list(dict.fromkeys(name for row in rows for name in row)), rows

    def unused_words(self, used: Iterable[str]) -> list[str]:
        """The other columns with words."""
        return [column for column in self.columns
                if self.may_look and column not in used and self.of(column).has_words]

    def map(self, layout: str, certainty: float = 1.0, evidence: Iterable[Evidence] = (), **columns: str) -> ColumnMap:
        """A map of these columns, and of those for system message and tools, where there are any."""
        used = {target: column for target, column in columns.items() if column}
        return ColumnMap(layout, used | self._beside(used), certainty=certainty, evidence=tuple(evidence))

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
