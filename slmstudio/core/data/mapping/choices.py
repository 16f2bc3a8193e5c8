"""Multiple choice as files write it: the choices, how answers name the right one, and how a file's numbers count.

Training reads these, and tests do; both ask `Counting`, which decides by all rows that it is given.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from string import ascii_uppercase as LETTERS
from typing import Any, NamedTuple

from slmstudio.core.data import column_names as names
from slmstudio.core.data.conversations import Findings, kind_of
from slmstudio.core.data.mapping.values import value_in
from slmstudio.core.data.rows import RowError
from slmstudio.core.data.sources.labels import INDIAN_LETTERS
from slmstudio.core.data.sources.row import number_text
from slmstudio.core.data.strict_json import printable
from slmstudio.core.i18n import ntr, tr

SERIES = tuple(tuple(f"{word}{mark}" for mark in marks) for words, many in (
    (("", "option_", "option", "choice_", "choice", "alternative_", "op", "ending", "mc_answer", "sol", "answer",
      "answer_"), (LETTERS.lower(), range(10), range(1, 10))),
    (("", "option_", "choice_"), INDIAN_LETTERS)) for word in words for marks in many if word or marks != range(10))
"""Names of columns with a choice each: MMLU's A, B, C, D; MedMCQA's opa, opb ...; Winogrande's option1, option2."""
ANSWERS = "answers"
"""A column that may have all choices, as those of `names.LISTED` have: see `key_of`."""
_NAMED = re.compile(r"(?:option|choice|alternative|ending|answer)[\s_]*", re.IGNORECASE)
"""How an answer names a choice by its column: "option2"."""
_MARK = re.compile(r"(?:^|[\s;,|/])\(?([A-Ha-h]) ?[).:]\s*")
"""What begins a choice in a cell that has them all."""
_BEHIND = re.compile(r"\(?([A-Za-z]|\d) ?[).:]\s*\S.*", re.DOTALL)
"""An answer with what its choice is called before it: "B: Rickon"."""
_NUMBER = re.compile(r"-?\d{1,6}")
MOST_MISTAKES = 10
"""Of numbers that count in two ways, those of the rarer one are mistakes if the others are more than this many times
as many."""


class Choice(NamedTuple):
    """The choices of a row and what is said about the right one.

    Attributes:
        choices: their texts, two or more.
        marks: what each is called where it is shown: by its label, by its column's number or Indian letter, or else a
            letter by its place.
        ways: each way in which what is there names a choice: "name" (a label, a column or a letter) and "text" with
            an index from 0, "number" with the number itself. Of several, the file's other rows tell which is meant.
        first: the number that the columns give the first choice: 1 of option1, option2 ...; 0 if they don't tell.
        is_number: whether the answer is a number of JSON's, or of a sheet; what is text in a table may be one, too.
    """

    choices: tuple[str, ...]
    marks: Sequence[str]
    ways: dict[str, int]
    first: int = 0
    is_number: bool = False


class _Options(NamedTuple):
    """The choices of a row: their texts, and for each its label or the name of its column, if they have any."""

    texts: list[str]
    labels: Sequence[str] = ()
    columns: Sequence[str] = ()

    @property
    def marks(self) -> Sequence[str]:
        """As of `Choice`."""
        ends = self.labels or [column[-1:] for column in self.columns]
        is_own = self.labels or all(map(str.isdecimal, ends)) or not any(map(str.isascii, ends))
        return ends if ends and is_own else LETTERS[:len(self.texts)]


# -- the choices -----------------------------------------------------------------------------------------------


def series_of(known: Mapping[str, str], with_gaps: bool = False) -> list[tuple[str, ...]]:
    """Columns with a choice each; the most first, as two ways of counting may begin alike.

    Args:
        known: the columns by their names in English.
        with_gaps: whether up to half of those between may be missing, as gaps under the name that they would have.
    """
    found = []
    for series in SERIES:
        here = [at for at, name in enumerate(series) if name in known]
        while here and 2 * len(here) <= here[-1]:
            here.pop()  # as "Q", which isn't the seventeenth choice
        if len(here) > 1 and not here[0] and (with_gaps or len(here) == here[-1] + 1):
            found.append((len(here), tuple(known.get(name, name) for name in series[:here[-1] + 1])))
    return [each for _, each in sorted(found, key=lambda each: -each[0])]


def right_ones(columns: Sequence[str], by_name: Mapping[str, str]) -> list[str]:
    """Columns that are called as those are that say which choice is right, the likeliest first."""
    named = [column for column in columns if not names.RIGHT_WORDS.isdisjoint(
        (*names.all_words(column), *names.column(column).split("_")))]
    return list(dict.fromkeys((*(by_name[word] for word in names.RIGHT if word in by_name), *named)))


def are_marks(values: Iterable[Any]) -> bool:
    """Whether values are single letters or digits, or some of the first letters such as "ABD", which name choices and
    say nothing without them."""
    marks = [str(each).strip(" ().") for each in values]
    return all(len(each) == 1 or (each.isupper() and set(each) <= set(LETTERS[:8])) for each in marks)


def offers(text: Any) -> bool:
    """Whether a text has choices in it: "(a) Pune (b) Goa"."""
    return isinstance(text, str) and len(_MARK.findall(text)) > 1


def is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and (not value or value.isspace()))


def _offered(row: Mapping[str, Any], columns: Sequence[str], findings: Findings) -> _Options:
    """The choices of a row, from a column for each, of which empty ones at the end are those of rows with more; or from
    the only one for all."""
    if len(columns) == 1:
        return _listed(row.get(columns[0]), columns[0], findings)
    values = [row.get(name) for name in columns]
    while values and is_blank(values[-1]):
        values.pop()
    findings += [(columns[at], tr("choice {letter} is empty.", letter=LETTERS[at]))
                 for at, value in enumerate(values[:len(LETTERS)]) if is_blank(value)]
    return _Options([_text(value, name, findings) if not is_blank(value) else ""
                     for value, name in zip(values, columns, strict=False)],
                    columns=list(map(names.column, columns[:len(values)])))


def _listed(value: Any, name: str, findings: Findings) -> _Options:
    """The choices of a list, of {"A": text, …}, of ARC's {"text": […], "label": […]}, or of the text of a cell that
    holds them all."""
    value = _of_cell(value) if isinstance(value, str) else value
    labels: Any = []
    if isinstance(value, dict):
        texts = next((value[key] for key in ("text", "texts", "choices") if isinstance(value.get(key), list)), None)
        if texts is None:
            return _Options([_text(each, name, findings) for each in value.values()], list(map(str, value)))
        labels, value = value.get("label"), texts
    elif isinstance(value, list) and value and all(isinstance(each, dict) and "text" in each for each in value):
        labels = [each["label"] for each in value if each.get("label") is not None]
        value = [each["text"] for each in value]
    if not isinstance(value, list):
        findings.append((name, tr('"{column}" is {kind}; it must be a list of texts.', column=name,
                                  kind=kind_of(value))))
        return _Options([])
    labels = labels if isinstance(labels, list) and len(labels) == len(value) else []
    return _Options([_text(each, name, findings) for each in value],
                    [number_text(each) if isinstance(each, float) else str(each) for each in labels])


def _of_cell(text: str) -> Any:
    """What a cell holds: a list or an object; or choices behind their letters, or each on a line or behind a semicolon
    or a bar.

    >>> _of_cell("(a) Pune (b) Goa"), _of_cell("Pune; Goa")
    ({'A': 'Pune', 'B': 'Goa'}, ['Pune', 'Goa'])
    """
    value = value_in(text)
    if value is not text or text.lstrip()[:1] in ("[", "{"):
        return value
    before, *parts = _MARK.split(text.strip())
    if parts and not before.strip() and "".join(parts[::2]).upper() == LETTERS[:len(parts) // 2]:
        return {mark.upper(): part.strip().rstrip(",;|/").strip()
                for mark, part in zip(parts[::2], parts[1::2], strict=True)}
    return next(([part.strip() for part in text.split(mark) if part.strip()] for mark in ("\n", ";", "|")
                 if mark in text.strip()), text)


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


def of_row(row: Mapping[str, Any], columns: Sequence[str], said: Mapping[str, Any], findings: Findings,
           may_repeat: bool = False) -> Choice | None:
    """The choices of a row, or None if something is wrong, which goes to `findings`.

    Args:
        columns: one for each choice, or the only one for all.
        said: what is in the columns that may say which choice is right, where there is something. One that names
            none is passed over where another does: "label" may hold a remark.
        may_repeat: whether two choices may be the same, of which the first is meant.
    """
    options = _options(row, columns, findings, may_repeat)
    return _named(options, said, findings) if options else None


def _options(row: Mapping[str, Any], columns: Sequence[str], findings: Findings,
             may_repeat: bool = True) -> _Options | None:
    options = _offered(row, columns, findings)
    count, plain = len(options.texts), list(map(_same, options.texts))
    if findings:
        return None
    if not 2 <= count <= len(LETTERS):
        findings.append(("choices", tr("there are {count:,} choices; at most {most} can have a letter.", count=count,
                                       most=len(LETTERS)) if count > 1 else
                         tr("there is only one choice; two or more are needed.") if count else
                         tr("there is no choice; two or more are needed.")))
    elif not may_repeat:
        findings += [("choices", tr("choices {first} and {second} are the same.", first=LETTERS[plain.index(text)],
                                    second=LETTERS[at])) for at, text in enumerate(plain) if plain.index(text) < at]
    return None if findings else options


def _named(options: _Options, said: Mapping[str, Any], findings: Findings) -> Choice | None:
    """The choices with what names one of them; see `of_row`."""
    wrong: Findings = []
    found = [ways for name, value in said.items() if (ways := _ways(value, name, options, wrong))]
    if not found:
        findings += wrong or [("answer", tr('no column says which choice is right; such a column may be called '
                                            '"answer".'))]
        return None
    sure = [ways for ways in found if "number" not in ways] or found
    if not set.intersection(*(set(ways.values()) for ways in sure)) or (sure is not found and any(
            not {ways["number"], ways["number"] - 1} & set(sure[0].values()) for ways in found if "number" in ways)):
        findings.append(("answer", tr("there are two correct choices: the columns that say which one is right "
                                      "differ.")))
        return None
    return Choice(tuple(options.texts), options.marks, min(sure, key=len),
                  int(bool(options.columns) and options.columns[0].endswith("1")),
                  any(isinstance(each, (int, float)) for each in said.values()))


def _ways(value: Any, name: str, options: _Options, findings: Findings) -> dict[str, int]:
    """Each way in which a value names a choice; see `Choice.ways`."""
    plain = list(map(_same, options.texts))
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
        return {"name": options.labels.index(text)}
    if not text.isdigit() and _bare(text) in (columns := list(map(_bare, options.columns))):
        return {"name": columns.index(_bare(text))}  # MILU says "option2"; under columns A, B, C a letter is theirs
    ways = {"text": plain.index(_same(text))} if _same(text) in plain else {}
    if _NUMBER.fullmatch(text) and not any(map(str.isdigit, options.labels)):
        return ways if ways and not 0 <= int(text) <= len(plain) else {**ways, "number": int(text)}
    ways |= _by_letter(text, options, bool(ways))
    if not ways:
        marks = list(options.labels or LETTERS[:len(plain)])
        findings.append((name, tr('the answer "{answer}" isn\'t one of the {count} choices, which are called {first} '
                                  "to {last}.", answer=printable(text), count=len(plain), first=marks[0].upper(),
                                  last=marks[-1].upper())))
    return ways


def _by_letter(text: str, options: _Options, is_choice: bool) -> dict[str, int]:
    """The choice that a letter names, alone or before the choice's text ("B) Paris"); nothing if there is none."""
    count = len(options.texts)
    marks = [mark.upper() for mark in options.marks]
    if not options.labels or not any(map(str.isascii, options.labels)):
        marks += LETTERS[:count]  # which also count those with labels in another script
    letter = _NAMED.sub("", text).strip("().: ").upper()
    if letter in marks and (len(text) == 1 or not is_choice):
        return {"name": marks.index(letter) % count}
    behind = _BEHIND.fullmatch(text)
    if behind and not is_choice and behind[1].upper() in marks:
        return {"name": marks.index(behind[1].upper()) % count}
    return {}


def _bare(text: str) -> str:
    return re.sub(r"[\s_]+", "", text).casefold()


def _same(text: str) -> str:
    """What two choices are compared by: "aa" and "AA" differ, as genotypes do; spaces and Unicode's forms don't."""
    return " ".join((text if text.isascii() else unicodedata.normalize("NFC", text)).split())


class Counting:
    """How a file's answers name its choices, decided once by all of its rows.

    Letters and texts say themselves which choice they mean. Numbers count from 0 if one of them is 0, from 1 where
    one is the number of all choices of its row and none is 0; a file with both has mistakes in it, which are a few of
    one kind, or else nobody knows. Where there is neither, they count as the columns do (option1, option2 ...), else
    from 0. What is one choice's text and another's letter or number is read like the rows in which it can be only one
    of these; if there is none, numbers of JSON's that show how they count are such.
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
        zeros, lasts = ([(line, len(choice.choices)) for choice, line in self._numbers
                         if choice.ways["number"] == len(choice.choices) * is_last] for is_last in (0, 1))
        self._zero, self._last = (few[0] if few and MOST_MISTAKES * len(few) >= len(many) else None
                                  for few, many in ((zeros, lasts), (lasts, zeros)))

    @property
    def is_sure(self) -> bool:
        """Whether the numbers, if there are any, show where they begin, or the columns do."""
        return bool(self._zero or self._last) or all(choice.first for choice, _ in self._numbers)

    def answer(self, choice: Choice) -> int | str:
        """The index of the right choice from 0, or what is wrong."""
        ways, last = dict(choice.ways), len(choice.choices) - 1
        first = 0 if self._zero else 1 if self._last else choice.first
        if "number" in ways:
            ways["number"] -= first
            if len(ways) > 1 and not 0 <= ways["number"] <= last:
                del ways["number"]
        meant = {ways[way] for way in self._used & ways.keys()} or set(ways.values())
        said = choice.ways.get("number", LETTERS[ways.get("name", 0)])
        if len(meant) > 1:
            letter = LETTERS[ways["text"]]
            return (tr("the answer {answer} may be the text of choice {letter} or the number of another; write the "
                       "letter instead.", answer=said, letter=letter) if "number" in ways else
                    tr("the answer {answer} may be the text of choice {letter} or the letter of another; write the "
                       "choices as {example} instead.", answer=said, letter=letter, example='{"A": …, "B": …}'))
        index = meant.pop()
        if ways.get("number") == index and "text" not in ways and self._last and self._zero:
            return tr("some answers count the choices from 0 (line {zero_line:,} has 0) and some from 1 (line "
                      "{last_line:,} has {last}, the number of all choices); write letters instead.",
                      zero_line=self._zero[0], last_line=self._last[0], last=self._last[1])
        return index if 0 <= index <= last else tr(
            "the answer {answer} is outside the choices, which are counted from {first} to {last}.", answer=said,
            first=first, last=first + last)

    def notes(self) -> Iterable[str]:
        """How the numbers were understood, where that isn't plain."""
        told = {choice.first for choice, _ in self._numbers}
        if self._last and not self._zero and told != {1}:
            yield tr("The answers count the choices from 1: none is 0.")
        if told and not self._zero and not self._last:
            yield (tr("No answer is 0 or the number of all choices, so they were read as counting from 1, as their "
                      "columns do. If they count from 0, write letters instead.") if told == {1} else
                   tr("No answer is 0 or the number of all choices, so they were read as counting from 0. If they "
                      "count from 1, write letters instead."))


# -- what training makes of it -----------------------------------------------------------------------------------


def key_of(series: Sequence[str], columns: Iterable[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Which of the columns says clearly which of the choices in `series` is right, by more than half of the rows, with
    numbers of which it is sure how they count; "" if none does.

    Several "answers" are right ones, unless it says it by a number, as in ReClor.
    """
    offers = [_options(row, series, []) for row in rows]
    for key in columns:
        answered = [(options, row[key]) for options, row in zip(offers, rows, strict=True)
                    if row.get(key) is not None and any(row.get(name) is not None for name in series)]
        found = [(choice, 1) for options, answer in answered
                 if options and (choice := _named(options, {key: answer}, []))]
        offered = sum(options is not None for options, _ in answered)  # a gap here and there is a mistake
        if key not in series and 2 * len(found) > len(answered) and Counting(found).is_sure and (
                4 * offered >= 3 * len(answered)):
            is_number = all(_NUMBER.fullmatch(str(answer)) for _, answer in answered if not is_blank(answer))
            return key if is_number or names.column(series[0]) != ANSWERS else ""
    return ""


def counting(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], key: str) -> Counting:
    """How the answers of a file name its choices."""
    return Counting((choice, line) for line, row in enumerate(rows, 1) if not is_blank(row.get(key)) and (
        choice := of_row(row, columns, {key: row[key]}, [], may_repeat=True)))


def written(row: Mapping[str, Any], columns: Sequence[str], answer: Any,
            counting: Counting | None = None) -> tuple[str, str] | None:
    """The choices as lines below their question, and the right one; None if the answer is none of them.

    Args:
        counting: of the file; else by this row alone.

    Raises:
        RowError: the rows don't tell which one is right.

    >>> written({"choices": ["Pune", "Goa"]}, ["choices"], 1)
    ('A. Pune\\nB. Goa', 'B. Goa')
    """
    choice = of_row(row, columns, {"": answer}, [], may_repeat=True)
    at = (counting or Counting([(choice, 1)])).answer(choice) if choice else ""
    if choice is None or (isinstance(at, str) and counting is None):
        return None
    if isinstance(at, str):
        raise RowError([("answer", at)])
    lines = [text if re.match(rf"\(?{re.escape(mark)}\s*[).:]", text) else f"{mark}. {text}"
             for mark, text in zip(choice.marks, choice.choices, strict=True)]
    return "\n".join(lines), lines[at]
