"""What one row of a test set asks, as training reads it, and how an answer to it is judged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from slmstudio.core.data import column_names as names
from slmstudio.core.data import languages
from slmstudio.core.data.candidates import Candidate
from slmstudio.core.data.conversations import Findings, kind_of, text_of
from slmstudio.core.data.mapping import choices, values
from slmstudio.core.data.mapping.choices import is_blank
from slmstudio.core.data.mapping.mapper import MOST_SHAPES, SAMPLE, Mapper, check_columns
from slmstudio.core.data.mapping.published import rows_of
from slmstudio.core.data.read_options import NO_OPTIONS, ReadOptions
from slmstudio.core.data.record import message_text
from slmstudio.core.data.rows import ColumnsMissing, Row, RowError
from slmstudio.core.data.sources.row import number_text
from slmstudio.core.data.strict_json import printable
from slmstudio.core.evaluation.scores import matching
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
_WORDS = {"choices": names.LISTED, "right": names.RIGHT, "exact": names.EXACT, "pattern": names.PATTERNS,
          "references": names.REFERENCES, "category": names.CATEGORIES, "language": names.LOCALES,
          "kind": names.MATCHES, "answer": names.ANSWERED}
"""The names of columns by what they hold: all choices, the right one, what an answer must equal, good answers before
those that training knows."""
TAGS = ("category", "language", "kind")
TARGETS = ("references", "choices", "exact", "pattern", *TAGS)
"""What a user may say about a column beside the targets of training."""


# -- which columns ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Fields:
    """The columns that training has no use for: references, choices, patterns, tags.

    Attributes:
        named: the columns of each of `_WORDS`; of several with one meaning the first that is filled counts.
        choices: the ways to find the choices, each one column for all of them, or one for each.
    """

    named: Mapping[str, tuple[str, ...]]
    choices: tuple[tuple[str, ...], ...] = ()

    def of(self, *targets: str) -> frozenset[str]:
        """All columns of some targets; of "choices", with the one that says which is right."""
        found = {column for target in targets for column in self.named.get(target, ())}
        return frozenset(found.union(*self.choices, self.of("right")) if "choices" in targets else found)

    def first(self, row: Mapping[str, Any], *targets: str) -> str:
        """The first filled column of some targets."""
        return _filled(row, chain.from_iterable(self.named.get(target, ()) for target in targets))

    def judged_by(self, row: Mapping[str, Any]) -> dict[str, str]:
        """The columns by which an answer to a row is judged, as a user would write them; none where training's own
        answer says it."""
        found: dict[str, str]
        if offered := self.offered(row):
            found = {"choices": ",".join(offered), "answer": self.first(row, "right")}
        else:
            reference, answer, pattern = (self.first(row, each) for each in ("references", "answer", "pattern"))
            if not reference and (not _is_several(row[answer]) if answer else not pattern):
                return {}
            name = reference or answer
            found = {"exact" if name in self.of("exact") else "references": name, "pattern": pattern}
        return {target: column for target, column in found.items() if column}

    def offered(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """The columns with the choices of a row: one for all, or one for each, or none."""
        return next((each for each in self.choices if _filled(row, each)), ())

    def asked(self, row: Mapping[str, Any], judged_by: Mapping[str, str]) -> dict[str, Any]:
        """What training reads of a row that is judged by these columns: their answer isn't its own."""
        without = self.of("references", "pattern", *judged_by).union(judged_by.values())
        return {STAND_IN: "-", **{name: each for name, each in row.items() if name not in without}}


def _is_several(value: Any) -> bool:
    """Whether an answer is a list of texts, or SQuAD's {"text": […]}, and no conversation."""
    if isinstance(value, dict):
        return isinstance(value.get("text"), list)
    return isinstance(value, list) and all(
        isinstance(each, (str, int, float)) or (isinstance(each, dict) and each.keys() <= {"text", "answer_start"})
        for each in value)


def _filled(row: Mapping[str, Any], columns: Iterable[str]) -> str:
    """The first of the columns in which a row has something; "" if none has."""
    return next((name for name in columns if row.get(name) != [] and not is_blank(row.get(name))), "")


def _fields_by_name(keys: Sequence[str], rows: Sequence[Mapping[str, Any]] = ()) -> _Fields:
    """What columns hold by their names, in any language that `column_names` knows.

    Args:
        rows: some with these columns, which tell whether "answers" are choices.
    """
    known: dict[str, str] = {}
    for name in keys:
        known.setdefault(names.column(name), name)
    known |= {name: name for name in keys if names.column(name) == name}
    named = {target: tuple(dict.fromkeys(known[word] for word in words if word in known))
             for target, words in _WORDS.items()}
    # Beside a column that is called "answer", one called "answer_count" says nothing of it.
    named["right"] = named["right"] or tuple(choices.right_ones(keys, known))
    listed = named.pop("choices")
    if rows and (answers := known.get(choices.ANSWERS)) and choices.key_of((answers,), named["right"], rows):
        listed += (answers,)
    return _Fields(named, (*((name,) for name in listed), *choices.series_of(known, with_gaps=True)))


def _given_fields(given: Mapping[str, str], keys: Sequence[str]) -> tuple[_Fields, dict[str, str]]:
    """What a user says about the columns, and what of that is training's to read.

    Args:
        given: the column of each target; "choices" may name several, with commas between.

    Raises:
        UserError: there is no such column.
    """
    rest = {target.strip().casefold(): column for target, column in given.items()}
    chosen: dict[str, tuple[str, ...]] = {target: (rest.pop(target),) for target in list(rest) if target in TARGETS}
    answers = [target for target in ("answer", "output") if target in rest]
    offered: tuple[tuple[str, ...], ...] = ()
    if "choices" in chosen:
        name, = chosen.pop("choices")
        offered = ((name,) if name in keys else tuple(map(str.strip, name.split(","))),)
        chosen["right"] = tuple(rest.pop(target) for target in answers)
    elif not chosen.keys() & {"exact", "references"}:
        chosen["answer"] = tuple(rest[target] for target in answers)
    if "exact" in chosen:
        chosen["references"] = chosen["exact"]
    found, by_name = _Fields(chosen, offered), _fields_by_name(keys)
    check_columns(found.of("choices", "references", "pattern", *TAGS), keys)
    if not rest and not offered and chosen.keys() <= {*TAGS, "answer"}:
        return _Fields({**by_name.named, **{tag: chosen[tag] for tag in TAGS if tag in chosen}}, by_name.choices), rest
    return _Fields({**{tag: by_name.named[tag] for tag in TAGS}, **chosen}, offered), rest


# -- their rows ---------------------------------------------------------------------------------------------------


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
        given: the column of each target, where a user knows better; see `TARGETS` and training's.

    Raises:
        UserError: there is no such column or target.

    Attributes:
        unused: names of the columns that usable rows have beside the ones read.
    """

    __test__ = False

    def __init__(self, sample: Sequence[Any], given: Mapping[str, str]):
        self.unused: set[str] = set()
        self._shapes: dict[tuple[str, ...], _Fields] = {}
        rows = self._sample = [_as_published(value) for value in sample[:SAMPLE] if isinstance(value, dict)]
        keys = list(dict.fromkeys(name for row in rows for name in row))
        self._given: _Fields | None = None
        rest: dict[str, str] = {}
        if given:
            self._given, rest = _given_fields(given, keys)
        judged = [(row, self._fields(row).judged_by(row)) for row in rows]
        learned = [row for row, by in judged if not by]
        asked = [self._fields(row).asked(row, by) for row, by in judged if by]
        is_judged = self._given is not None and bool(self._given.of("choices", "references", "pattern"))
        self._learned = Mapper(learned, rest if learned and not is_judged else None, asks=False)
        here = {name for row in asked for name in row}  # the other rows may have more columns
        chosen = {target: column for target, column in rest.items() if column in here or column not in keys}
        self._asked = Mapper(asked, {**chosen, "output": STAND_IN} if chosen and asked else None, asks=False)
        self._judged_by = next((by for _, by in judged if by), {})

    def read(self, value: Any) -> list[Draft]:
        """What a row says: most often one thing.

        Raises:
            RowError: everything that is wrong with it.
        """
        if not isinstance(value, dict):
            raise RowError([("", tr("the row is {kind}; it must be an object: {example}.", kind=kind_of(value),
                                    example='{"question": …, "answer": …}'))])
        row = _as_published(value)
        fields = self._fields(row)
        judged_by = fields.judged_by(row)
        mapper = self._asked if judged_by else self._learned
        read = _read(mapper, fields.asked(row, judged_by) if judged_by else row, bool(judged_by))
        drafts = [_draft(row, fields, each, bool(judged_by), mapper) for each in read]
        self.unused.update(*(each.unused - fields.of("references", "pattern", *TAGS) for each in read))
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

    def _fields(self, row: Mapping[str, Any]) -> _Fields:
        keys = tuple(row)
        found = self._given or self._shapes.get(keys)
        if found is None:
            found = _fields_by_name(keys, [row for row in self._sample if tuple(row) == keys])
            if len(self._shapes) < MOST_SHAPES:
                self._shapes[keys] = found
        return found


def _as_published(value: dict[str, Any]) -> dict[str, Any]:
    """A row whose choices are in a column, as its published layout finds them: ARC's are within "question"."""
    row: dict[str, Any] = rows_of(value, may_split=False)[0]
    return row if "choices" in row else value


def _read(mapper: Mapper, row: dict[str, Any], is_judged: bool) -> list[Row]:
    """What training makes of a row: conversations that end with an answer."""
    try:
        read = mapper.read(row)
    except ColumnsMissing as error:
        asked, answered = ([name for name in row if names.column(name) in words] for words in (
            (*names.ASKED, *names.CONVERSATION), names.ANSWERED))
        if blank := next((name for name in (*asked, *answered) if is_blank(row[name])), ""):
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


def _draft(row: Mapping[str, Any], fields: _Fields, read: Row, is_judged: bool, mapper: Mapper) -> Draft:
    findings: Findings = []
    messages, answer = read.messages[:-1], read.messages[-1]
    choice, name = None, ""
    references: tuple[str, ...] = () if is_judged else (message_text(answer),)
    if is_judged and (offered := fields.offered(row)):
        right = {each: row[each] for each in fields.named.get("right", ())
                 if (len(offered) == 1 or each not in offered) and not is_blank(row.get(each))}
        choice = choices.of_row(row, offered, right, findings)
    elif is_judged and (name := fields.first(row, "references", "answer")):
        references = _references(row[name], name, name in fields.of("exact"), findings)
    pattern = _pattern(row, fields.first(row, "pattern"), findings)
    if any(len(text) > LONGEST_ANSWER for text in (choice.choices if choice else references)):
        findings.append(("answer", tr("an answer has more than {most:,} characters; such answers aren't compared.",
                                      most=LONGEST_ANSWER)))
    own_kind = next((word for each in fields.named.get("kind", ()) if isinstance(row.get(each), str)
                     and (word := row[each].strip().casefold()) in KINDS), "")
    ends_in_number = references and all(GSM8K_END.search(text[-80:]) for text in references)
    kind = "choice" if choice else "pattern" if pattern else own_kind or (
        "exact" if name and name in fields.of("exact") else "number" if ends_in_number else "free")
    if not findings and not choice and not pattern and (not references or kind in ("choice", "pattern")):
        findings.append(("answer", tr('the row is called a "{kind}" row, but has no {kind}.', kind=kind)
                         if references else tr("the reference is missing, so no answer can be judged.")))
    if findings:
        raise RowError(findings)
    language = languages.from_column(_tag(row, fields.first(row, "language")))
    guessed = None if language else languages.guess(messages[-1]["content"], *references[:1])
    return Draft({
        "kind": kind, "messages": messages, "references": references, "choices": choice.choices if choice else None,
        "pattern": pattern, "category": " ".join(_tag(row, fields.first(row, "category")).split())[:200] or None,
        "language": language or guessed, "language_guessed": guessed is not None,
        "below": _below(row, messages, mapper), "tools": read.tools,
        "reply": answer if answer.get("tool_calls") and not is_judged else None,
    }, choice, bool(own_kind))


def _tag(row: Mapping[str, Any], name: str) -> str:
    """The text or number in a column; "" if there is none."""
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
