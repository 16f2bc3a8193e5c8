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

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_NUMBER = re.compile(r"-?\d{1,6}")


class Choice(NamedTuple):
    """The choices of a row and what is said of the right one.

    Attributes:
        choices: different texts, two or more.
        ways: each way in which what stands there names a choice: "letter" (or the choice's own label) and "text" with
            an index from 0, "number" with the number itself. Of several, the file's other rows tell which is meant.
        first: the number that the columns give the first choice: 1 of option1, option2 ...; 0 where they do not tell.
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
            findings.append((name or known, f"choice {LETTERS[at]} is empty."))
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
        findings.append((name, f'"{name}" is {kind_of(value)}; it must be a list of texts.'))
        return _Options([])
    labels, flags = (each if isinstance(each, list) and len(each) == len(value) else [] for each in (labels, flags))
    return _Options([_text(each, name, findings) for each in value],
                    [number_text(each) if isinstance(each, float) else str(each) for each in labels], flags)


def read_choice(options: _Options, said: Mapping[str, Any], findings: Findings) -> Choice | None:
    """The choices of a row, or None where something is wrong, which goes to `findings`.

    Args:
        said: what stands in the columns that may say which choice is right, where there is something. One that names
            none is passed over where another does: "label" may hold a remark.
    """
    texts = options.texts
    if not 2 <= len(texts) <= len(LETTERS):
        few = f"there is {'one choice' if texts else 'no choice'}; two or more are needed."
        many = f"there are {len(texts):,} choices; at most {len(LETTERS)} can have a letter."
        findings.append(("choices", few if len(texts) < 2 else many))
        return None
    plain = list(map(_same, texts))
    twice = [(plain.index(text), at) for at, text in enumerate(plain) if plain.index(text) < at]
    if twice:
        findings += [("choices", f"choices {LETTERS[first]} and {LETTERS[at]} are the same.") for first, at in twice]
        return None
    found = [{"letter": at} for at, flag in enumerate(options.flags) if flag and flag != "0"]
    wrong: Findings = []
    found += [ways for name, value in said.items() if (ways := _ways(value, name, options, plain, wrong))]
    if not found:
        findings += wrong or [("answer", 'no column says which choice is right; it may be called "answer".')]
        return None
    sure = [ways for ways in found if "number" not in ways]
    numbers = [ways["number"] for ways in found if "number" in ways]
    if _differ(sure or found) or (sure and any(
            not {number, number - 1} & set(sure[0].values()) for number in numbers)):
        findings.append(("answer", "two correct choices: the columns that say which one is right differ."))
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
        findings.append((name, f"{len(value)} choices are called right; exactly one must be." if isinstance(
            value, list) else f'"{name}" is {kind_of(value)}; it must be a letter, a number or the text.'))
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
        findings.append((name, f'the answer "{printable(text)}" is not one of the {len(plain)} choices. They are '
                               f"called {names[0]} to {names[-1]}."))
    return ways


class Counting:
    """How a file's answers name its choices, decided once by all of its rows.

    Letters and texts say themselves which choice they mean. Numbers count from 0 where one of them is 0, from 1 where
    one is the number of all choices of its row and none is 0; a file with both has mistakes in it. Where there is
    neither, they count as the columns do (option1, option2 ...), else from 0. What is one choice's text and another's
    letter or number is read as the rows are in which it can be but one of these.
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
        first = self._first(choice)
        if "number" in ways:
            ways["number"] -= first
            if len(ways) > 1 and not 0 <= ways["number"] <= last:
                del ways["number"]
        meant = {ways[way] for way in self._used & ways.keys()} or set(ways.values())
        said = choice.ways.get("number", LETTERS[ways.get("letter", 0)])
        if len(meant) > 1:
            other = ("index of another; write the letter" if "number" in ways else
                     'letter of another; write the choices as {"A": …, "B": …}')
            return f"the answer {said} may be the text of choice {LETTERS[ways['text']]} or the {other} instead."
        index = meant.pop()
        if ways.get("number") == index and "text" not in ways and self._last is not None and self._zero is not None:
            return (f"some answers count the choices from 0 (line {self._zero:,} has 0) and some from 1 (line "
                    f"{self._last[0]:,} has {self._last[1]}, the number of all choices); write letters instead.")
        return index if 0 <= index <= last else (
            f"the answer {said} is outside the choices, which count from {first} to {first + last}.")

    def _first(self, choice: Choice) -> int:
        return 0 if self._zero is not None else 1 if self._last is not None else choice.first

    def notes(self) -> Iterable[str]:
        """How the numbers were understood, where that isn't plain."""
        told = {choice.first for choice, _ in self._numbers}
        if self._zero is None and self._last is not None and told != {1}:
            yield "The answers count the choices from 1: none is 0."
        if self._zero is None and self._last is None and told:
            how = ("from 1, as their columns do; if they count from 0" if told == {1} else
                   "from 0; if they count from 1")
            yield ("No answer is 0 or the number of all choices; they were read as counting "
                   f"{how}, write letters instead.")


def is_blank(value: Any) -> bool:
    """Whether a cell holds nothing."""
    return value is None or (isinstance(value, str) and (not value or value.isspace()))


def _same(text: str) -> str:
    """What two choices are compared by: "aa" and "AA" differ, as genotypes do; spaces and Unicode's forms do not."""
    return " ".join((text if text.isascii() else unicodedata.normalize("NFC", text)).split())


def _text(value: Any, name: str, findings: Findings) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number_text(value)
    if not isinstance(value, str) or is_blank(value):
        what = "empty" if isinstance(value, str) else kind_of(value)
        findings.append((name, f'a choice in "{name}" is {what}; it must be text.'))
        return ""
    return value
