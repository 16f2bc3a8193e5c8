"""Multiple choice as files write it: the choices, which one is right, and how a file's numbers count them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from slmstudio.core.data.conversations import Findings, kind_of
from slmstudio.core.data.sources.row import number_text
from slmstudio.core.data.strict_json import printable
from slmstudio.core.evaluation.testset.cells import value_in
from slmstudio.core.i18n import ntr, tr

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_NUMBER = re.compile(r"-?\d{1,6}")


class Choice(NamedTuple):
    """The choices of a row and what is said about the right one.

    Attributes:
        choices: different texts, two or more.
        ways: each way in which what is there names a choice: "letter" (or the choice's own label) and "text" with
            an index from 0, "number" with the number itself. Of several, the file's other rows tell which is meant.
        first: the number that the columns give the first choice: 1 of option1, option2 ...; 0 if they don't tell.
    """

    choices: tuple[str, ...]
    ways: dict[str, int]
    first: int


class _Options(NamedTuple):
    """Texts of choices; their labels, if each has one; which are flagged as right; and the columns that hold one each,
    by the names that are known."""

    texts: list[str]
    labels: Sequence[str] = ()
    flags: Sequence[Any] = ()
    columns: Sequence[str] = ()


def of_columns(row: Mapping[str, Any], columns: Mapping[str, str], findings: Findings) -> _Options:
    """The choices of columns that hold one each; empty ones at the end are those of rows with more.

    Args:
        columns: the name of each by that which is known; "" for one that is missing among them.
    """
    cells = [(known, name, row.get(name)) for known, name in columns.items()]
    while cells and is_blank(cells[-1][2]):
        cells.pop()
    for at, (known, name, value) in enumerate(cells):
        if is_blank(value):
            findings.append((name or known, tr("choice {letter} is empty.", letter=LETTERS[at])))
    return _Options([_text(value, name, findings) if not is_blank(value) else "" for _, name, value in cells],
                    columns=[known for known, *_ in cells])


def of_list(value: Any, name: str, findings: Findings) -> _Options:
    """The choices of a list, of {"A": text, …}, of ARC's {"text": […], "label": […]}, or of mc1_targets' {"choices":
    […], "labels": [1, 0, …]}; in a table as text."""
    value = value_in(value) if isinstance(value, str) else value
    labels: Any = []
    flags: Any = []
    if isinstance(value, dict):
        texts = next((value[key] for key in ("text", "texts", "choices") if isinstance(value.get(key), list)), None)
        if texts is None:
            return _Options([_text(each, name, findings) for each in value.values()], list(map(str, value)))
        labels, flags, value = value.get("label"), value.get("labels"), texts
    elif isinstance(value, list) and value and all(isinstance(each, dict) and "text" in each for each in value):
        labels = [each["label"] for each in value if each.get("label") is not None]
        flags = [each.get("correct", each.get("is_correct", False)) for each in value]
        value = [each["text"] for each in value]
    if not isinstance(value, list):
        findings.append((name, tr('"{column}" is {kind}; it must be a list of texts.', column=name,
                                  kind=kind_of(value))))
        return _Options([])
    labels, flags = (each if isinstance(each, list) and len(each) == len(value) else [] for each in (labels, flags))
    return _Options([_text(each, name, findings) for each in value],
                    [number_text(each) if isinstance(each, float) else str(each) for each in labels], flags)


def read_choice(options: _Options, said: Mapping[str, Any], findings: Findings) -> Choice | None:
    """The choices of a row, or None if something is wrong, which goes to `findings`.

    Args:
        said: what is in the columns that may say which choice is right, where there is something. One that names
            none is passed over where another does: "label" may hold a remark.
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
    twice = [(plain.index(text), at) for at, text in enumerate(plain) if plain.index(text) < at]
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
    return Choice(tuple(texts), min(sure or found, key=len), first)


def _differ(found: list[dict[str, int]]) -> bool:
    return not set.intersection(*(set(ways.values()) for ways in found))


def _ways(value: Any, name: str, options: _Options, plain: list[str], findings: Findings) -> dict[str, int]:
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
    named = re.sub(r"[\s_]", "", text).casefold()
    columns = [each.replace("_", "") for each in options.columns]
    if named in columns and not named.isdigit():  # MILU says "option2"; under columns A, B, C a letter is theirs
        return {"letter": columns.index(named)}
    ways = {"text": plain.index(_same(text))} if _same(text) in plain else {}
    if _NUMBER.fullmatch(text) and not any(map(str.isdigit, options.labels)):
        return ways if ways and not 0 <= int(text) <= len(plain) else {**ways, "number": int(text)}
    names = [each.upper() for each in options.labels] or list(LETTERS[: len(plain)])
    bare = text.strip("().: ").upper()
    if bare in names and (len(text) == 1 or not ways):
        ways["letter"] = names.index(bare)
    if not ways:
        findings.append((name, tr('the answer "{answer}" isn\'t one of the {count} choices, which are called {first} '
                                  "to {last}.", answer=printable(text), count=len(plain), first=names[0],
                                  last=names[-1])))
    return ways


class Counting:
    """How a file's answers name its choices, decided once by all of its rows.

    Letters and texts say themselves which choice they mean. Numbers count from 0 if one of them is 0, from 1 where
    one is the number of all choices of its row and none is 0; a file with both has mistakes in it. Where there is
    neither, they count as the columns do (option1, option2 ...), else from 0. What is one choice's text and another's
    letter or number is read like the rows in which it can be only one of these.
    """

    def __init__(self, choices: Iterable[tuple[Choice, int]]):
        """
        Args:
            choices: those of each row, with its line.
        """
        rows = list(choices)
        self._used = {way for choice, _ in rows if len(choice.ways) == 1 for way in choice.ways}
        self._numbers = [(choice, line) for choice, line in rows if "number" in choice.ways and (
            len(choice.ways) == 1 or self._used & {"number", "text"} == {"number"})]
        self._zero = next((line for choice, line in self._numbers if choice.ways["number"] == 0), None)
        self._last = next(((line, len(choice.choices)) for choice, line in self._numbers
                           if choice.ways["number"] == len(choice.choices)), None)

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


def is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and (not value or value.isspace()))


def _same(text: str) -> str:
    """What two choices are compared by: "aa" and "AA" differ, as genotypes do; spaces and Unicode's forms don't."""
    return " ".join((text if text.isascii() else unicodedata.normalize("NFC", text)).split())


def _text(value: Any, name: str, findings: Findings) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number_text(value)
    if not isinstance(value, str) or is_blank(value):
        findings.append((name, tr('a choice in "{column}" is empty; it must be text.', column=name)
                         if isinstance(value, str) else
                         tr('a choice in "{column}" is {kind}; it must be text.', column=name, kind=kind_of(value))))
        return ""
    return value
