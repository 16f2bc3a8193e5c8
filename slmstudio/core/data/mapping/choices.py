"""Multiple choice as files write it: the choices, how answers name the right one, and how a file's numbers count.

Training reads these, and tests do; both ask `Counting`, which decides by all rows that it is given.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from string import ascii_uppercase as LETTERS
from typing import Any, NamedTuple

from slmstudio.core.data import column_names as names
from slmstudio.core.data.conversations import Findings, kind_of
from slmstudio.core.data.mapping.look import ColumnMap, Look
from slmstudio.core.data.mapping.values import value_in
from slmstudio.core.data.rows import RowError
from slmstudio.core.data.sources.row import number_text
from slmstudio.core.data.strict_json import printable
from slmstudio.core.i18n import ntr, tr

RIGHT = ("answer", "answerkey", "answer_key", "answer_idx", "answer_index", "correct", "correct_answer",
         "correct_answer_num", "correct_option", "correct_choice", "correct_index", "gold", "target", "label", "cop",
         "key")
"""Columns that say which choice is right; several may, if they agree."""
_INDIAN = ("कखगघङ", "अबकडइ", "अबसदइ", "কখগঘঙ", "કખગઘઙ", "ਕਖਗਘਙ", "କଖଗଘଙ", "అఆఇఈఉ", "ಅಆಇಈಉ", "அஆஇஈஉ")
SERIES = tuple(tuple(f"{word}{mark}" for mark in marks) for words, many in (
    (("", "option_", "option", "choice_", "choice", "alternative_", "op", "ending", "mc_answer", "sol", "answer",
      "answer_"), (LETTERS.lower(), range(10), range(1, 10))),
    (("", "option_", "choice_"), _INDIAN)) for word in words for marks in many if word or marks != range(10))
"""Names of columns with a choice each: MMLU's A, B, C, D; MedMCQA's opa, opb ...; Winogrande's option1, option2."""
LISTED = ("choices", "options", "endings")
"""Columns with all choices."""
_OF_RIGHT = frozenset({"correct", "right", "answer", "key", "सही"})
"""Words in the names of columns that say which one is right."""
ANSWERS = "answers"
"""One that may have all choices too: see `key_of`."""
_NAMED = re.compile(r"(?:option|choice|alternative|ending|answer)[\s_]*", re.IGNORECASE)
"""How an answer names a choice by its column: "option2"."""
_MARK = re.compile(r"(?:^|[\s;,|/])\(?([A-Ha-h]) ?[).:]\s*")
"""What begins a choice in a cell that has them all."""
_NUMBER = re.compile(r"-?\d{1,6}")
MOST_MISTAKES = 10
"""Of numbers that count in two ways, those of the rarer one are mistakes if the others are more than this many times
as many."""


class Options(NamedTuple):
    """The choices of a row.

    Attributes:
        labels: what each is called in the file, if all have a name.
        flags: for each, whether it is marked as right.
        columns: those that hold one each, by the names that `column_names.column` gives them.
    """

    texts: list[str]
    labels: Sequence[str] = ()
    flags: Sequence[Any] = ()
    columns: Sequence[str] = ()

    @property
    def marks(self) -> Sequence[str]:
        """What each is called: by its label, by its column's number or Indian letter, or else a letter by its place."""
        ends = self.labels or [column[-1:] for column in self.columns]
        own = self.labels or all(map(str.isdecimal, ends)) or not any(map(str.isascii, ends))
        return ends if ends and own else LETTERS[:len(self.texts)]


class Choice(NamedTuple):
    """The choices of a row and what is said about the right one.

    Attributes:
        choices: their texts, two or more.
        ways: each way in which what is there names a choice: "letter" (or the choice's own label) and "text" with
            an index from 0, "number" with the number itself. Of several, the file's other rows tell which is meant.
        first: the number that the columns give the first choice: 1 of option1, option2 ...; 0 if they don't tell.
        is_number: whether the answer is a number of JSON's, or of a sheet; what is text in a table may be one, too.
    """

    choices: tuple[str, ...]
    ways: dict[str, int]
    first: int = 0
    is_number: bool = False


# -- the choices -----------------------------------------------------------------------------------------------


def columns_of(series: Sequence[str], known: Mapping[str, str]) -> tuple[str, ...]:
    """A column for each choice, from the first on. Half of those between may be missing: they are gaps then, under the
    name that they would have.

    Args:
        known: the columns by their names in English.
    """
    here = [at for at, name in enumerate(series) if name in known]
    while here and 2 * len(here) <= here[-1]:
        here.pop()  # as "Q", which isn't the seventeenth choice
    if len(here) < 2 or here[0]:
        return ()
    return tuple(known.get(name, name) for name in series[: here[-1] + 1])


def series_of(known: Mapping[str, str], with_gaps: bool = False) -> list[tuple[str, ...]]:
    """Columns with a choice each; the most first, as two ways of counting may begin alike."""
    here = set(known.values())
    found = (columns_of(each, known) for each in SERIES)
    return sorted((each for each in found if each and (with_gaps or set(each) <= here)),
                  key=lambda each: -sum(name in here for name in each))


def right_ones(columns: Sequence[str], by_name: Mapping[str, str]) -> list[str]:
    """Columns that are called as those are that say which choice is right, the likeliest first."""
    named = [column for column in columns if not _OF_RIGHT.isdisjoint(names.column(column).split("_"))]
    return list(dict.fromkeys((*(by_name[word] for word in RIGHT if word in by_name), *named)))


def of_columns(row: Mapping[str, Any], columns: Sequence[str], findings: Findings) -> Options:
    """The choices of columns that hold one each; empty ones at the end are those of rows with more."""
    values = [row.get(name) for name in columns]
    while values and is_blank(values[-1]):
        values.pop()
    findings += [(columns[at], tr("choice {letter} is empty.", letter=LETTERS[at]))
                 for at, value in enumerate(values[:len(LETTERS)]) if is_blank(value)]
    return Options([_text(value, name, findings) if not is_blank(value) else ""
                    for value, name in zip(values, columns, strict=False)],
                   columns=list(map(names.column, columns[:len(values)])))


def of_list(value: Any, name: str, findings: Findings) -> Options:
    """The choices of a list, of {"A": text, …}, of ARC's {"text": […], "label": […]}, of mc1_targets' {"choices": […],
    "labels": [1, 0, …]}, or of the text of a cell that holds them all; each behind its letter, or each on a line or
    behind a semicolon or a bar.

    >>> of_list("(a) Pune (b) Goa", "options", []).texts
    ['Pune', 'Goa']
    """
    value = _of_cell(value) if isinstance(value, str) else value
    labels: Any = []
    flags: Any = []
    if isinstance(value, dict):
        texts = next((value[key] for key in ("text", "texts", "choices") if isinstance(value.get(key), list)), None)
        if texts is None:
            return Options([_text(each, name, findings) for each in value.values()], list(map(str, value)))
        labels, flags, value = value.get("label"), value.get("labels"), texts
    elif isinstance(value, list) and value and all(isinstance(each, dict) and "text" in each for each in value):
        labels = [each["label"] for each in value if each.get("label") is not None]
        flags = [each.get("correct", each.get("is_correct", False)) for each in value]
        value = [each["text"] for each in value]
    if not isinstance(value, list):
        findings.append((name, tr('"{column}" is {kind}; it must be a list of texts.', column=name,
                                  kind=kind_of(value))))
        return Options([])
    labels, flags = (each if isinstance(each, list) and len(each) == len(value) else [] for each in (labels, flags))
    return Options([_text(each, name, findings) for each in value],
                   [number_text(each) if isinstance(each, float) else str(each) for each in labels], flags)


def offered(row: Mapping[str, Any], columns: Sequence[str]) -> Any:
    """The choices of a row, from a column for each, or the only one for all; None where there are none."""
    if len(columns) == 1:
        return row.get(columns[0])
    return of_columns(row, columns, [])


def _of_cell(text: str) -> Any:
    value = value_in(text)
    if value is not text or text.lstrip()[:1] in ("[", "{"):
        return value
    before, *parts = _MARK.split(text.strip())
    if parts and not before.strip() and "".join(parts[::2]).upper() == LETTERS[:len(parts) // 2]:
        return {mark.upper(): part.strip().rstrip(",;|/").strip()
                for mark, part in zip(parts[::2], parts[1::2], strict=True)}
    return next(([part.strip() for part in text.split(mark) if part.strip()] for mark in ("\n", ";", "|")
                 if mark in text.strip()), text)


def is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and (not value or value.isspace()))


def _text(value: Any, name: str, findings: Findings) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number_text(value)
    if not isinstance(value, str) or is_blank(value):
        findings.append((name, tr('a choice in "{column}" is empty; it must be text.', column=name)
                         if isinstance(value, str) else
                         tr('a choice in "{column}" is {kind}; it must be text.', column=name, kind=kind_of(value))))
        return ""
    return value


# -- the right one -----------------------------------------------------------------------------------------------


def read_choice(options: Options, said: Mapping[str, Any], findings: Findings, may_repeat: bool = False,
                ) -> Choice | None:
    """The choices of a row, or None if something is wrong, which goes to `findings`.

    Args:
        said: what is in the columns that may say which choice is right, where there is something. One that names
            none is passed over where another does: "label" may hold a remark.
        may_repeat: whether two choices may be the same, of which the first is meant.
    """
    texts = options.texts
    if not 2 <= len(texts) <= len(LETTERS):
        if len(texts) > 1:
            trouble = tr("there are {count:,} choices; at most {most} can have a letter.", count=len(texts),
                         most=len(LETTERS))
        else:
            trouble = (tr("there is only one choice; two or more are needed.") if texts else
                       tr("there is no choice; two or more are needed."))
        findings.append(("choices", trouble))
        return None
    plain = list(map(_same, texts))
    twice = [] if may_repeat else [(plain.index(text), at) for at, text in enumerate(plain) if plain.index(text) < at]
    if twice:
        findings += [("choices", tr("choices {first} and {second} are the same.", first=LETTERS[first],
                                    second=LETTERS[at])) for first, at in twice]
        return None
    found = [{"letter": at} for at, flag in enumerate(options.flags) if flag and flag != "0"]
    wrong: Findings = []
    found += [ways for name, value in said.items() if (ways := _ways(value, name, options, plain, wrong))]
    if not found:
        findings += wrong or [("answer", tr('no column says which choice is right; such a column may be called '
                                            '"answer".'))]
        return None
    sure = [ways for ways in found if "number" not in ways]
    numbers = [ways["number"] for ways in found if "number" in ways]
    if _differ(sure or found) or (sure and any(
            not {number, number - 1} & set(sure[0].values()) for number in numbers)):
        findings.append(("answer", tr("there are two correct choices: the columns that say which one is right "
                                      "differ.")))
        return None
    first = int(bool(options.columns) and options.columns[0].endswith("1"))
    return Choice(tuple(texts), min(sure or found, key=len), first,
                  any(isinstance(each, (int, float)) for each in said.values()))


def _differ(found: list[dict[str, int]]) -> bool:
    return not set.intersection(*(set(ways.values()) for ways in found))


def _ways(value: Any, name: str, options: Options, plain: list[str], findings: Findings) -> dict[str, int]:
    """Each way in which a value names a choice; see `Choice.ways`."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = value_in(value)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        findings.append((name, ntr("{n} choice is marked as right; exactly one must be.",
                                   "{n} choices are marked as right; exactly one must be.", len(value))
                         if isinstance(value, list) else
                         tr('"{column}" is {kind}; it must be a letter, a number or the text.', column=name,
                            kind=kind_of(value))))
        return {}
    text = value.strip() if isinstance(value, str) else number_text(value)
    if text in options.labels:
        return {"letter": options.labels.index(text)}
    if options.columns and not text.isdigit():  # MILU says "option2"; under columns A, B, C a letter is theirs
        named, columns = (["".join(re.split(r"[\s_]+", each)).casefold() for each in some]
                          for some in ([text], options.columns))
        if named[0] in columns:
            return {"letter": columns.index(named[0])}
    ways = {"text": plain.index(_same(text))} if _same(text) in plain else {}
    if _NUMBER.fullmatch(text) and not any(map(str.isdigit, options.labels)):
        return ways if ways and not 0 <= int(text) <= len(plain) else {**ways, "number": int(text)}
    bare = _NAMED.sub("", text).strip("().: ").upper()
    if bare and (len(text) == 1 or not ways) and (at := _letter(bare, options)) is not None:
        ways["letter"] = at
    if not ways:
        marks = options.labels or LETTERS[:len(plain)]
        findings.append((name, tr('the answer "{answer}" isn\'t one of the {count} choices, which are called {first} '
                                  "to {last}.", answer=printable(text), count=len(plain), first=marks[0].upper(),
                                  last=marks[-1].upper())))
    return ways


def _letter(bare: str, options: Options) -> int | None:
    """Which choice is called so; Latin letters also count those that have labels in another script."""
    marks = [mark.upper() for mark in options.marks]
    if bare in marks:
        return marks.index(bare)
    is_counted = not options.labels or not any(map(str.isascii, options.labels))
    return LETTERS.index(bare) if is_counted and len(bare) == 1 and bare in LETTERS[:len(marks)] else None


def _same(text: str) -> str:
    """What two choices are compared by: "aa" and "AA" differ, as genotypes do; spaces and Unicode's forms don't."""
    return " ".join((text if text.isascii() else unicodedata.normalize("NFC", text)).split())


class Counting:
    """How a file's answers name its choices, decided once by all of its rows.

    Letters and texts say themselves which choice they mean. Numbers count from 0 if one of them is 0, from 1 where
    one is the number of all choices of its row and none is 0; a file with both has mistakes in it, which are a few of
    one kind, or else nobody knows. Where there is neither, they count as the columns do (option1, option2 ...), else
    from 0. What is one choice's text and another's
    letter or number is read like the rows in which it can be only one of these; if there is none, numbers of JSON's
    that show how they count are such.
    """

    def __init__(self, choices: Iterable[tuple[Choice, int]]):
        """
        Args:
            choices: those of each row, with its line.
        """
        rows = list(choices)
        self._used = {way for choice, _ in rows if len(choice.ways) == 1 for way in choice.ways}
        either = [(choice, line) for choice, line in rows if "number" in choice.ways]
        if not self._used & {"number", "text"} and all(choice.is_number for choice, _ in either) and any(
                choice.ways["number"] in (0, len(choice.choices)) for choice, _ in either):
            self._used.add("number")
        self._numbers = [(choice, line) for choice, line in either
                         if len(choice.ways) == 1 or self._used & {"number", "text"} == {"number"}]
        zeros = [line for choice, line in self._numbers if choice.ways["number"] == 0]
        lasts = [(line, len(choice.choices)) for choice, line in self._numbers
                 if choice.ways["number"] == len(choice.choices)]
        self._zero = zeros[0] if zeros and MOST_MISTAKES * len(zeros) >= len(lasts) else None
        self._last = lasts[0] if lasts and MOST_MISTAKES * len(lasts) >= len(zeros) else None

    @property
    def is_sure(self) -> bool:
        """Whether the numbers, if there are any, show where they begin, or the columns do."""
        return not self._numbers or self._zero is not None or self._last is not None or all(
            choice.first for choice, _ in self._numbers)

    def answer(self, choice: Choice) -> int | str:
        """The index of the right choice from 0, or what is wrong."""
        ways, last = dict(choice.ways), len(choice.choices) - 1
        first = 0 if self._zero is not None else 1 if self._last is not None else choice.first
        if "number" in ways:
            ways["number"] -= first
            if len(ways) > 1 and not 0 <= ways["number"] <= last:
                del ways["number"]
        meant = {ways[way] for way in self._used & ways.keys()} or set(ways.values())
        said = choice.ways.get("number", LETTERS[ways.get("letter", 0)])
        if len(meant) > 1:
            letter = LETTERS[ways["text"]]
            return (tr("the answer {answer} may be the text of choice {letter} or the number of another; write the "
                       "letter instead.", answer=said, letter=letter) if "number" in ways else
                    tr("the answer {answer} may be the text of choice {letter} or the letter of another; write the "
                       "choices as {example} instead.", answer=said, letter=letter, example='{"A": …, "B": …}'))
        index = meant.pop()
        if ways.get("number") == index and "text" not in ways and self._last is not None and self._zero is not None:
            return tr("some answers count the choices from 0 (line {zero_line:,} has 0) and some from 1 (line "
                      "{last_line:,} has {last}, the number of all choices); write letters instead.",
                      zero_line=self._zero, last_line=self._last[0], last=self._last[1])
        return index if 0 <= index <= last else tr(
            "the answer {answer} is outside the choices, which are counted from {first} to {last}.", answer=said,
            first=first, last=first + last)

    def notes(self) -> Iterable[str]:
        """How the numbers were understood, where that isn't plain."""
        told = {choice.first for choice, _ in self._numbers}
        if self._zero is None and self._last is not None and told != {1}:
            yield tr("The answers count the choices from 1: none is 0.")
        if self._zero is None and self._last is None and told:
            yield (tr("No answer is 0 or the number of all choices, so they were read as counting from 1, as their "
                      "columns do. If they count from 0, write letters instead.") if told == {1} else
                   tr("No answer is 0 or the number of all choices, so they were read as counting from 0. If they "
                      "count from 1, write letters instead."))


# -- what training makes of it -----------------------------------------------------------------------------------


def look_at(look: Look) -> ColumnMap | None:
    """A question with its choices, each in a column of its own, as MMLU's A, B, C and D, or all in one, and the right
    one."""
    listed = [(look.by_name[word],) for word in (*LISTED, ANSWERS) if word in look.by_name]
    for series in (*series_of(look.by_name), *listed):
        key = key_of(series, right_ones(look.columns, look.by_name), look.rows)
        question = look.first((*names.ASKED, "sentence", *names.BELOW), (*series, key)) if key else ""
        if key and question:
            below = look.first(names.BELOW, (*series, key, question))
            found = look.map("instruction", instruction=question, input=below, output=key,
                             choices="" if len(series) > 1 else series[0])
            return replace(found, series=series) if len(series) > 1 else found
    return None


def key_of(series: Sequence[str], columns: Iterable[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Which of the columns says clearly which of the choices in `series` is right; "" if none does.

    Several "answers" are right ones, unless it says it by a number, as in ReClor.
    """
    offers = [offered(row, series) for row in rows]
    key = next((column for column in columns if column not in series and are_read(
        [(each, row.get(column)) for each, row in zip(offers, rows, strict=True)])), "")
    is_number = all(_NUMBER.fullmatch(str(row[key])) for row in rows if not is_blank(row.get(key)))
    return key if is_number or names.column(series[0]) != ANSWERS else ""


def are_read(rows: Sequence[tuple[Any, Any]]) -> bool:
    """Whether the answers of a file clearly name their choices.

    Args:
        rows: the choices of each row and its answer; numbers that may count from 0 or from 1 aren't sure.
    """
    answered = [(_options(value), answer) for value, answer in rows if value is not None and answer is not None]
    found = [(choice, at) for at, (options, answer) in enumerate(answered) if (choice := _choice(options, answer))]
    return all(options for options, _ in answered) and Counting(found).is_sure and 2 * len(found) > len(answered)


def first_place(rows: Iterable[tuple[Any, Any]]) -> Counting:
    """How the answers of a file name its choices.

    Args:
        rows: the choices of each row and its answer.
    """
    return Counting((choice, line) for line, (value, answer) in enumerate(rows, 1)
                    if not is_blank(answer) and (choice := _choice(_options(value), answer)))


def written(value: Any, answer: Any, counting: Counting | None = None) -> tuple[str, str] | None:
    """The choices as lines below their question, and the right one; None if the answer is none of them.

    Args:
        counting: as `first_place` finds it; else by this row alone.

    Raises:
        RowError: the rows don't tell which one is right.

    >>> written(["Pune", "Goa"], 1)
    ('A. Pune\\nB. Goa', 'B. Goa')
    """
    options = _options(value)
    choice = _choice(options, answer)
    if options is None or choice is None:
        return None
    at = (counting or Counting([(choice, 1)])).answer(choice)
    if isinstance(at, str):
        if counting is None:
            return None
        raise RowError([("answer", at)])
    lines = [text if re.match(rf"\(?{re.escape(mark)}\s*[).:]", text) else f"{mark}. {text}"
             for mark, text in zip(options.marks, options.texts, strict=True)]
    return "\n".join(lines), lines[at]


def _options(value: Any) -> Options | None:
    findings: Findings = []
    options = value if isinstance(value, Options) else of_list(value, "", findings)
    return None if findings or not 2 <= len(options.texts) <= len(LETTERS) or not all(options.texts) else options


def _choice(options: Options | None, answer: Any) -> Choice | None:
    return read_choice(options, {"": answer}, [], may_repeat=True) if options is not None else None
