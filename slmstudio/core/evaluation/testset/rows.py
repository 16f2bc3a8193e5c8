"""What one row of a test set asks, as training reads it, and how an answer to it is judged."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from slmstudio.core.data import column_names as names
from slmstudio.core.data.conversations import Findings, Message, Messages, kind_of, text_of
from slmstudio.core.data.mapping.mapper import SAMPLE, Mapper
from slmstudio.core.data.record import message_text
from slmstudio.core.data.rows import ColumnsMissing, Row, RowError
from slmstudio.core.data.sources.row import number_text
from slmstudio.core.data.strict_json import printable
from slmstudio.core.evaluation.scores import patterns
from slmstudio.core.evaluation.testset import cells, choices, columns, languages
from slmstudio.core.evaluation.testset.columns import Columns, columns_of, filled
from slmstudio.core.evaluation.testset.item import KINDS

LONGEST_ANSWER = 100_000
"""Characters of a reference or a choice: more than any context holds, and scoring it would take minutes."""
NEEDED = ('a test row needs a question ("question", "instruction", "prompt" or "messages") and what a good answer is '
          '("answer" or "references"; or choices, as "A", "B", "C", "D" and "answer"; or "pattern")')
STAND_IN = "output:"
"""A column with an answer for a row whose answer training cannot read; its name comes before all others."""
MOST_SHAPES = 256
GSM8K_END = re.compile(r"####\s*[^\s]{1,40}\s*$")
"""How GSM8K ends an answer (Cobbe et al. 2021, https://arxiv.org/abs/2110.14168)."""


class Draft(NamedTuple):
    """What a row says before the file as a whole is known; see `TestItem`.

    Attributes:
        choice: of a "choice" row, with how the right one is named.
        told: whether a column says the kind.
        guessed: whether the language was guessed.
    """

    kind: str
    messages: Messages
    references: tuple[str, ...]
    choice: choices.Choice | None
    pattern: str | None
    category: str | None
    language: str | None
    guessed: bool
    told: bool
    below: int
    tools: tuple[dict[str, Any], ...]
    reply: Message | None


class TestMapper:
    """Reads test rows of one file. What is asked is read by training's own `Mapper`; one for rows with an answer that
    training learns too, and one for those with references, choices or a pattern, which get a stand-in for an answer.

    Attributes:
        unused: names of the columns that usable rows have beside the ones read.
    """

    __test__ = False

    def __init__(self, sample: Sequence[Any], given: Mapping[str, str] | None = None):
        """
        Args:
            sample: values of the first rows, by which the columns are guessed.
            given: the column of each target, where a person knows better; see `columns.TARGETS` and training's.

        Raises:
            UserError: there is no such column or target.
        """
        self.unused: set[str] = set()
        self._shapes: dict[tuple[str, ...], Columns] = {}
        self._given: Columns | None = None
        rest: dict[str, str] = {}
        rows = [_unnested(value) for value in sample[:SAMPLE] if isinstance(value, dict)]
        if given:
            self._given, rest = columns.given_columns(given, list(dict.fromkeys(name for row in rows for name in row)))
        judged = [(row, self._judged(row)) for row in rows]
        learned = [row for row, without in judged if without is None]
        asked = [_asked(row, without) for row, without in judged if without is not None]
        is_told = self._given is not None and bool(self._given.choosing or self._given.judging)
        self._learned = Mapper(learned, rest if learned and not is_told else None)
        self._asked = Mapper(asked, {**rest, "output": STAND_IN} if rest and asked else None)

    def read(self, value: Any) -> list[Draft]:
        """What a row says: most often one thing.

        Raises:
            RowError: everything that is wrong with it.
        """
        if not isinstance(value, dict):
            raise RowError([("", f'the row is {kind_of(value)}; it must be an object, '
                                 '{"question": …, "answer": …}.')])
        row = _unnested(value)
        here, without = self._columns(row), self._judged(row)
        if without is None:
            mapper, read = self._learned, _read(self._learned, row, "")
        else:
            mapper, read = self._asked, _read(self._asked, _asked(row, without), "question")
        drafts = [self._draft(row, here, each, without is not None, _below(row, each.messages, mapper))
                  for each in read]
        if any(each.unused for each in read):
            self.unused.update(*(each.unused for each in read))
            self.unused -= here.tags | here.judging
        return drafts

    def told(self) -> list[str]:
        """What was made of columns whose names are not known."""
        found = {(column, target) for mapper in (self._learned, self._asked) if mapper.main is not None
                 for target, column in mapper.main.columns.items()
                 if self._given is None and not names.is_known(column)}
        words = {"instruction": "the question", "prompt": "the question", "output": "the answer",
                 "completion": "the answer"}
        return [f'The column "{printable(column)}" was taken as {words[target]}.' for column, target in sorted(found)
                if target in words]

    def _columns(self, row: Mapping[str, Any]) -> Columns:
        keys = tuple(row)
        found = self._given or self._shapes.get(keys)
        if found is None:
            found = columns_of(keys)
            if len(self._shapes) < MOST_SHAPES:
                self._shapes[keys] = found
        return found

    def _judged(self, row: Mapping[str, Any]) -> frozenset[str] | None:
        """The columns that training has no part in, where the answer is in one of them; else None."""
        here = self._columns(row)
        if _has_choices(row, here):
            return here.choosing | here.judging
        if (here.exact or here.references) and filled(row, (*here.exact, *here.references)):
            return here.judging
        answer = filled(row, here.answers)
        if not answer and here.patterns and filled(row, here.patterns):
            return here.judging
        return here.judging | {answer} if answer and _is_several(row[answer]) else None

    def _draft(self, row: Mapping[str, Any], here: Columns, read: Row, is_judged: bool, below: int) -> Draft:
        findings: Findings = []
        choice, reply, name = None, None, ""
        references: tuple[str, ...] = ()
        if is_judged and _has_choices(row, here):
            choice = _choice(row, here, findings)
        elif is_judged:
            name = filled(row, (*here.exact, *here.references, *here.answers))
            references = _references(row[name], name, name in here.exact, findings) if name else ()
        else:
            references = (message_text(read.messages[-1]),)
            reply = read.messages[-1] if read.messages[-1].get("tool_calls") else None
        pattern = _pattern(row, filled(row, here.patterns), findings) if here.patterns else None
        for text in choice.choices if choice else references:
            if len(text) > LONGEST_ANSWER:
                findings.append(("answer", f"an answer has {len(text):,} characters; at most {LONGEST_ANSWER:,} are "
                                           "compared."))
        said = _said(row, here)
        kind = _kind(said, references, choice, pattern, name in here.exact, findings)
        if not findings and choice is None and not pattern and not references:
            findings.append(("answer", "the reference is missing, so no answer can be judged."))
        if findings:
            raise RowError(findings)
        language = filled(row, here.languages)
        is_told = bool(language) and isinstance(row[language], str)
        found = languages.from_column(row[language]) if is_told else languages.guess(
            read.messages[-2]["content"], *references[:1])
        return Draft(kind, read.messages[:-1], references, choice, pattern if kind == "pattern" else None,
                     _category(row, here), found, not is_told and found is not None, bool(said), below,
                     read.tools, reply)


def _unnested(value: dict[str, Any]) -> dict[str, Any]:
    """ARC's own files have {"question": {"stem": …, "choices": […]}}."""
    inner = value.get("question")
    return {**value, "question": inner.get("stem"), "choices": inner.get("choices")} if isinstance(
        inner, dict) and "stem" in inner else value


def _asked(row: Mapping[str, Any], without: frozenset[str]) -> dict[str, Any]:
    """What training reads of a row whose answer is not its own."""
    return {STAND_IN: "-", **{name: each for name, each in row.items() if name not in without}}


def _has_choices(row: Mapping[str, Any], here: Columns) -> bool:
    return bool((here.lists and filled(row, here.lists)) or any(filled(row, each.values()) for each in here.series))


def _is_several(value: Any) -> bool:
    """Whether an answer is a list of texts, or SQuAD's {"text": […]}, and no conversation."""
    if isinstance(value, dict):
        return isinstance(value.get("text"), list)
    return isinstance(value, list) and all(
        isinstance(each, (str, int, float)) or (isinstance(each, dict) and each.keys() <= {"text", "answer_start"})
        for each in value)


def _read(mapper: Mapper, row: dict[str, Any], missing: str) -> list[Row]:
    """What training makes of a row: conversations that end with an answer."""
    try:
        read = mapper.read(row)
    except ColumnsMissing as error:
        lead = "the question" if missing else "the question or the reference"
        shown = ", ".join(f'"{printable(name)}"' for name in error.columns[:8] if name != STAND_IN) or "none"
        if not missing and any(names.column(name) in names.ASKED or name in names.CONVERSATION for name in row):
            lead, missing = "the reference", "answer"
        raise RowError([(missing or "question", f"{lead} is missing, so no answer can be judged; the columns are "
                                                f"{shown}; {NEEDED}.")]) from error
    for each in read:
        if each.text is not None:
            raise RowError([("text", "plain text asks nothing, so there is nothing to answer.")])
        if each.desirable is False and not missing:
            raise RowError([("label", "the answer is marked as bad, so there is no reference.")])
    return read


def _below(row: Mapping[str, Any], messages: Messages, mapper: Mapper) -> int:
    """Characters of the passage at the end of the question; what stands below an instruction is a part of it."""
    held = mapper.main.columns if mapper.main is not None else {}
    text = row.get(held["input"]) if "input" in held else None
    if not isinstance(text, str) or not text.strip() or names.column(held.get("instruction", "")) == "instruction":
        return 0
    return len(text) + 2 if messages[-2]["content"].endswith(f"\n\n{text}") else 0


def _choice(row: Mapping[str, Any], here: Columns, findings: Findings) -> choices.Choice | None:
    name = filled(row, here.lists)
    series = next((each for each in here.series if filled(row, each.values())), {})
    options = choices.of_list(row[name], name, findings) if name else choices.of_columns(row, series, findings)
    if findings:
        return None
    said = {each: row[each] for each in here.right
            if each not in series.values() and not choices.is_blank(row.get(each))}
    return choices.read_choice(options, said, findings)


def _references(value: Any, name: str, is_exact: bool, findings: Findings) -> tuple[str, ...]:
    """One or several good answers: a text, a number, a list of them, or SQuAD's {"text": [...]}."""
    if isinstance(value, str) and not is_exact:
        if names.column(name) == "correct_answers" and not value.lstrip().startswith("["):
            value = [each for each in map(str.strip, value.split(";")) if each]  # TruthfulQA's own table
        else:
            value = cells.value_in(value)
            if cells.is_printed(value):
                findings.append((name, f'"{name}" is a list as a program prints it; write it as JSON, ["one", "two"].'))
                return ()
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        value = value["text"]
    found = []
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict) and isinstance(each.get("text"), str):
            each = each["text"]
        if isinstance(each, (int, float)) and not isinstance(each, bool):
            each = number_text(each)
        found.append(text_of({name: each}, name, findings))
    return tuple(dict.fromkeys(found))


def _pattern(row: Mapping[str, Any], name: str, findings: Findings) -> str | None:
    pattern = text_of(row, name, findings) if name else ""
    if pattern:
        try:
            patterns.compiled(pattern)
        except patterns.BadPattern as error:
            findings.append((name, str(error)))
    return pattern or None


def _said(row: Mapping[str, Any], here: Columns) -> str:
    """The kind that a column says; "" where none does."""
    words = (row[name].strip().casefold() for name in here.kinds if isinstance(row.get(name), str))
    return next((word for word in words if word in KINDS), "")


def _kind(said: str, references: tuple[str, ...], choice: choices.Choice | None, pattern: str | None, is_exact: bool,
          findings: Findings) -> str:
    """The kind: as a column says, or found by what the row holds."""
    if choice is not None or pattern is not None:
        return "choice" if choice is not None else "pattern"
    if said in ("pattern", "choice") and not findings:
        needed = '"pattern"' if said == "pattern" else '"choices"'
        findings.append((said, f'the row is called a "{said}" row, but has no {needed}.'))
    if said or is_exact:
        return said or "exact"
    return "number" if references and all(GSM8K_END.search(text[-80:]) for text in references) else "free"


def _category(row: Mapping[str, Any], here: Columns) -> str | None:
    name = filled(row, here.categories)
    value = row[name] if name else None
    if isinstance(value, list):
        value = next((each for each in value if isinstance(each, str)), None)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number_text(value)
    return " ".join(value.split())[:200] or None if isinstance(value, str) else None
