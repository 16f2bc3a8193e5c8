"""What one row of a test set asks, as training reads it, and how an answer to it is judged."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from slmstudio.core.data import column_names as names
from slmstudio.core.data.candidates import Candidate
from slmstudio.core.data.conversations import Findings, kind_of, text_of
from slmstudio.core.data.mapping import choices, values
from slmstudio.core.data.mapping.mapper import MOST_SHAPES, SAMPLE, Mapper
from slmstudio.core.data.mapping.published import rows_of
from slmstudio.core.data.read_options import NO_OPTIONS, ReadOptions
from slmstudio.core.data.record import message_text
from slmstudio.core.data.rows import ColumnsMissing, Row, RowError
from slmstudio.core.data.sources.row import number_text
from slmstudio.core.data.strict_json import printable
from slmstudio.core.evaluation.scores import matching
from slmstudio.core.evaluation.testset import languages
from slmstudio.core.evaluation.testset.columns import Columns, columns_of, filled, given_columns
from slmstudio.core.evaluation.testset.item import KINDS
from slmstudio.core.i18n import noop, tr

LONGEST_ANSWER = 100_000
"""Characters of a reference or a choice: more than any context holds, and scoring it would take minutes."""
NEEDED = noop('A test row needs a question ("question", "instruction", "prompt" or "messages") and what a good answer '
              'is ("answer" or "references"; or choices, such as "A", "B", "C", "D" and "answer"; or "pattern").')
STAND_IN = "output:"
"""A column with an answer for a row whose answer training can't read; its name comes before all others."""
GSM8K_END = re.compile(r"####\s*[^\s]{1,40}\s*$")
"""How GSM8K ends an answer (Cobbe et al. 2021, https://arxiv.org/abs/2110.14168)."""
_QUESTION = noop('The column "{column}" was taken as the question.')
_ANSWER = noop('The column "{column}" was taken as the answer.')
_TAKEN = {"instruction": _QUESTION, "prompt": _QUESTION, "output": _ANSWER, "completion": _ANSWER}


class Draft(NamedTuple):
    """What a row says before the file as a whole is known.

    Attributes:
        item: attributes of the `TestItem`; without its number, and of a "choice" row without the right choice.
        choice: how a "choice" row names the right choice.
        has_kind: whether a column says the kind.
    """

    item: dict[str, Any]
    choice: choices.Choice | None
    has_kind: bool


class TestMapper:
    """Reads test rows of one file. What is asked is read by training's own `Mapper`: one for rows with an answer that
    training learns too, and one for those with references, choices or a pattern, which get a stand-in for an answer.

    Args:
        sample: values of the first rows, by which the columns are guessed.
        given: the column of each target, where a user knows better; see `columns.TARGETS` and training's.

    Raises:
        UserError: there is no such column or target.

    Attributes:
        unused: names of the columns that usable rows have beside the ones read.
    """

    __test__ = False

    def __init__(self, sample: Sequence[Any], given: Mapping[str, str]):
        self.unused: set[str] = set()
        self._shapes: dict[tuple[str, ...], Columns] = {}
        rows = self._sample = [_as_published(value) for value in sample[:SAMPLE] if isinstance(value, dict)]
        keys = list(dict.fromkeys(name for row in rows for name in row))
        self._given: Columns | None = None
        rest: dict[str, str] = {}
        if given:
            self._given, rest = given_columns(given, keys)
        judged = [(row, self._columns(row).judged_without(row)) for row in rows]
        learned = [row for row, without in judged if without is None]
        asked = [_asked(row, without) for row, without in judged if without is not None]
        is_judged = self._given is not None and bool(self._given.choosing or self._given.judging)
        self._learned = Mapper(learned, rest if learned and not is_judged else None, asks=False)
        here = {name for row in asked for name in row}  # the other rows may have more columns
        chosen = {target: column for target, column in rest.items() if column in here or column not in keys}
        self._asked = Mapper(asked, {**chosen, "output": STAND_IN} if chosen and asked else None, asks=False)
        self._judged_by = next((self._columns(row).judged_by(row) for row, without in judged if without), {})

    def read(self, value: Any) -> list[Draft]:
        """What a row says: most often one thing.

        Raises:
            RowError: everything that is wrong with it.
        """
        if not isinstance(value, dict):
            raise RowError([("", tr("the row is {kind}; it must be an object: {example}.", kind=kind_of(value),
                                    example='{"question": …, "answer": …}'))])
        row = _as_published(value)
        here = self._columns(row)
        without = here.judged_without(row)
        mapper = self._learned if without is None else self._asked
        read = _read(mapper, row if without is None else _asked(row, without), without is not None)
        drafts = [_draft(row, here, each, without is not None, mapper) for each in read]
        self.unused.update(*(each.unused - here.tags - here.judging for each in read))
        return drafts

    def notes(self) -> list[str]:
        """What was made of columns whose names aren't known."""
        return sorted({tr(_TAKEN[target], column=printable(column))
                       for mapper in (self._learned, self._asked) if mapper.main is not None and self._given is None
                       for target, column in mapper.main.columns.items()
                       if target in _TAKEN and not names.is_known(column)})

    def candidates(self, options: ReadOptions, certainty: float) -> list[Candidate]:
        """The ways in which the rows may be read, as `Candidate` has them.

        Args:
            certainty: how sure it is that these are the rows.
        """
        given = self._given is not None or options != NO_OPTIONS
        found = []
        for mapper, judged_by in ((self._asked, self._judged_by), (self._learned, {})):
            for each in mapper.maps:
                columns = {target: column for target, column in each.said.items() if column != STAND_IN} | judged_by
                found.append(Candidate("choices" if "choices" in columns else each.name, columns, options,
                                       1.0 if given else certainty * each.certainty, each.evidence))
        return found

    def _columns(self, row: Mapping[str, Any]) -> Columns:
        keys = tuple(row)
        found = self._given or self._shapes.get(keys)
        if found is None:
            found = columns_of(keys, [row for row in self._sample if tuple(row) == keys])
            if len(self._shapes) < MOST_SHAPES:
                self._shapes[keys] = found
        return found


def _as_published(value: dict[str, Any]) -> dict[str, Any]:
    """A row whose choices are in a column, as its published layout finds them: ARC's are within "question"."""
    row: dict[str, Any] = rows_of(value, may_split=False)[0]
    return row if "choices" in row else value


def _asked(row: Mapping[str, Any], without: frozenset[str]) -> dict[str, Any]:
    """What training reads of a row whose answer isn't its own."""
    return {STAND_IN: "-", **{name: each for name, each in row.items() if name not in without}}


def _read(mapper: Mapper, row: dict[str, Any], is_judged: bool) -> list[Row]:
    """What training makes of a row: conversations that end with an answer."""
    try:
        read = mapper.read(row)
    except ColumnsMissing as error:
        asked, answered = ([name for name in row if names.column(name) in words] for words in (
            (*names.ASKED, *names.CONVERSATION), names.ANSWERED))
        if blank := next((name for name in (*asked, *answered) if choices.is_blank(row[name])), ""):
            raise RowError([(blank, tr('"{column}" is empty.', column=printable(blank)))]) from error
        shown = ", ".join(f'"{printable(name)}"' for name in error.columns[:8] if name != STAND_IN) or tr("none")
        missing, trouble = ("reference", tr("the reference is missing, so no answer can be judged; the columns are: "
                                            "{columns}.", columns=shown)) if asked and not is_judged else (
            "question", tr("the question is missing; the columns are: {columns}.", columns=shown))
        raise RowError([(missing, f"{trouble} {tr(NEEDED)}")]) from error
    for each in read:
        if each.text is not None:
            raise RowError([("text", tr("plain text asks nothing, so there is nothing to answer."))])
        if each.desirable is False and not is_judged:
            raise RowError([("label", tr("the answer is marked as bad, so there is no reference."))])
    return read


# -- one row ------------------------------------------------------------------------------------------------------


def _draft(row: Mapping[str, Any], here: Columns, read: Row, is_judged: bool, mapper: Mapper) -> Draft:
    findings: Findings = []
    messages, answer = read.messages[:-1], read.messages[-1]
    choice, name = None, ""
    references: tuple[str, ...] = () if is_judged else (message_text(answer),)
    if is_judged and (offered := here.choices_in(row)):
        right = {each: row[each] for each in here["right"]
                 if (len(offered) == 1 or each not in offered) and not choices.is_blank(row.get(each))}
        choice = choices.of_row(row, offered, right, findings)
    elif is_judged and (name := filled(row, (*here["references"], *here["answer"]))):
        references = _references(row[name], name, name in here["exact"], findings)
    pattern = _pattern(row, filled(row, here["pattern"]), findings)
    if any(len(text) > LONGEST_ANSWER for text in (choice.choices if choice else references)):
        findings.append(("answer", tr("an answer has more than {most:,} characters; such answers aren't compared.",
                                      most=LONGEST_ANSWER)))
    own_kind = next((word for each in here["kind"] if isinstance(row.get(each), str)
                     and (word := row[each].strip().casefold()) in KINDS), "")
    ends_in_number = references and all(GSM8K_END.search(text[-80:]) for text in references)
    kind = "choice" if choice else "pattern" if pattern else own_kind or (
        "exact" if name and name in here["exact"] else "number" if ends_in_number else "free")
    if not findings and not choice and not pattern and (not references or kind in ("choice", "pattern")):
        findings.append(("answer", tr('the row is called a "{kind}" row, but has no {kind}.', kind=kind)
                         if references else tr("the reference is missing, so no answer can be judged.")))
    if findings:
        raise RowError(findings)
    language = languages.from_column(_tag(row, here["language"]))
    guessed = None if language else languages.guess(messages[-1]["content"], *references[:1])
    return Draft({
        "kind": kind, "messages": messages, "references": references, "choices": choice.choices if choice else None,
        "pattern": pattern, "category": " ".join(_tag(row, here["category"]).split())[:200] or None,
        "language": language or guessed, "language_guessed": guessed is not None,
        "below": _below(row, messages, mapper), "tools": read.tools,
        "reply": answer if answer.get("tool_calls") and not is_judged else None,
    }, choice, bool(own_kind))


def _tag(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    """The first text or number in one of some columns; "" if there is none."""
    name = filled(row, columns)
    value = values.as_text(row[name]) if name and not isinstance(row[name], bool) else ""
    return value if isinstance(value, str) else ""


def _below(row: Mapping[str, Any], messages: Sequence[Mapping[str, Any]], mapper: Mapper) -> int:
    """Characters of the passage at the end of the question; what is below an instruction is a part of it."""
    held = mapper.main.columns if mapper.main is not None else {}
    text = row.get(held["input"]) if "input" in held else None
    if not isinstance(text, str) or not text.strip() or names.column(held.get("instruction", "")) == "instruction":
        return 0
    return len(text) + 2 if messages[-1]["content"].endswith(f"\n\n{text}") else 0


def _references(value: Any, name: str, is_exact: bool, findings: Findings) -> tuple[str, ...]:
    """One or several good answers: a text, a number, a list of them, or SQuAD's {"text": [...]}."""
    if isinstance(value, str) and not is_exact:
        value = values.value_in(value)
        if names.column(name) == "correct_answers" and isinstance(value, str):
            value = [each for each in map(str.strip, value.split(";")) if each]  # TruthfulQA's own table
        elif values.is_printed(value):
            findings.append((name, tr('"{column}" is a list as Python prints it; write it as JSON: {example}.',
                                      column=name, example='["one", "two"]')))
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        value = value["text"]
    found = []
    for each in value if isinstance(value, list) else [value]:
        each = each["text"] if isinstance(each, dict) and "text" in each else each
        each = number_text(each) if isinstance(each, (int, float)) and not isinstance(each, bool) else each
        found.append(text_of({name: each}, name, findings))
    return tuple(dict.fromkeys(found))


def _pattern(row: Mapping[str, Any], name: str, findings: Findings) -> str | None:
    pattern = text_of(row, name, findings) if name else ""
    if pattern:
        try:
            matching.compiled(pattern)
        except matching.BadPattern as error:
            findings.append((name, str(error)))
    return pattern or None
