"""Questions with choices, as MMLU's and ARC's, as a question with these below it and the right one as its answer."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from string import ascii_lowercase, ascii_uppercase
from typing import Any

from slmstudio.core.data import column_names as names
from slmstudio.core.data.mapping.look import ColumnMap, Look
from slmstudio.core.data.mapping.values import as_text

RIGHT = ("answer", "answerkey", "answer_key", "answer_idx", "answer_index", "correct", "correct_answer",
         "correct_answer_num", "correct_option", "correct_choice", "correct_index", "gold", "target", "label", "cop",
         "key")
"""Columns that say which choice is right; several may, if they agree."""
_LETTERS = ("कखगघङ", "अबकडइ", "अबसदइ", "কখগঘঙ", "કખગઘઙ", "ਕਖਗਘਙ", "କଖଗଘଙ", "అఆఇఈఉ", "ಅಆಇಈಉ", "அஆஇஈஉ")
SERIES = (tuple(ascii_lowercase), *(
    tuple(f"{word}{mark}" for mark in marks)
    for word in ("option_", "option", "choice_", "choice", "alternative_", "op", "ending", "mc_answer", "sol", "answer",
                 "answer_")
    for marks in (ascii_lowercase, range(10), range(1, 10))
), tuple("123456789"), *map(tuple, _LETTERS), *(
    tuple(f"{word}{mark}" for mark in marks) for word in ("option_", "choice_") for marks in _LETTERS))
"""Names of columns with a choice each: MMLU's A, B, C, D; MedMCQA's opa, opb ...; Winogrande's option1, option2."""
LISTED = ("choices", "options", "endings")
"""Columns with all choices."""
_OF_RIGHT = frozenset({"correct", "right", "answer", "key", "सही"})
"""Words in the names of such columns."""
_ANSWERS = "answers"
"""One that may have them too, where a number says which is right, as in ReClor; otherwise they are several right
answers."""
_NAMED = re.compile(r"(?:option|choice|alternative|ending|answer)[\s_]*", re.IGNORECASE)
"""How an answer names a choice by its column: "option2"."""
_MARK = re.compile(r"(?:^|[\s;,|/])\(?([A-Ha-h]) ?[).:]\s*")
"""What begins a choice in a cell that has them all."""


def look_at(look: Look) -> ColumnMap | None:
    """A question with its choices, each in a column of its own, as MMLU's A, B, C and D, or all in one, and the right
    one."""
    listed = [(look.by_name[word],) for word in (*LISTED, _ANSWERS) if word in look.by_name]
    for series in (*series_of(look.by_name), *listed):
        offers = [offered(row, series) for row in look.rows]
        named = [column for column in look.columns if not _OF_RIGHT.isdisjoint(names.column(column).split("_"))]
        answers = [column for column in (*map(look.by_name.get, RIGHT), *named) if column and column not in series]
        key = next((column for column in answers if are_read(
            [(each, row.get(column)) for each, row in zip(offers, look.rows, strict=True)])), "")
        if series == (look.by_name.get(_ANSWERS),) and not all(_is_place(str(value)) for value in look.values(key)):
            continue
        question = look.first((*names.ASKED, "sentence", *names.BELOW), (*series, key))
        if key and question:
            below = look.first(names.BELOW, (*series, key, question))
            found = look.map("instruction", instruction=question, input=below, output=key,
                             choices="" if len(series) > 1 else series[0])
            return replace(found, series=series) if len(series) > 1 else found
    return None


def columns_of(series: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """A column for each choice, from the first on. Half of those between may be missing: they are gaps then, "".

    Args:
        known: the columns by their names in English.
    """
    here = [at for at, name in enumerate(series) if name in known]
    while here and 2 * len(here) <= here[-1]:
        here.pop()  # as "Q", which isn't the seventeenth choice
    if len(here) < 2 or here[0]:
        return {}
    return {name: known.get(name, "") for name in series[: here[-1] + 1]}


def series_of(known: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Columns with a choice each, without gaps; the longest first, as two ways of counting may begin alike."""
    found = (tuple(columns_of(each, known).values()) for each in SERIES)
    return sorted((each for each in found if each and all(each)), key=len, reverse=True)


def joined(row: Mapping[str, Any], series: Sequence[str]) -> dict[str, list[Any]]:
    """The choices of columns with one each, as ARC has them; empty ones at the end are those of rows with more.

    What a choice is called is its column's number or Indian letter, or else a letter by its place.

    >>> joined({"option1": "Pune", "option2": "Goa"}, ("option1", "option2"))
    {'text': ['Pune', 'Goa'], 'label': ['1', '2']}
    """
    texts = [as_text(row.get(column)) for column in series]
    while texts and texts[-1] in (None, ""):
        texts.pop()
    ends = [names.column(column)[-1:] for column in series]
    marks = ends if all(map(str.isdecimal, ends)) or not any(map(str.isascii, ends)) else list(ascii_uppercase)
    return {"text": texts, "label": marks[:len(texts)]}


def offered(row: Mapping[str, Any], columns: Sequence[str]) -> Any:
    """The choices of a row, from a column for each, or the only one for all."""
    return row.get(columns[0]) if len(columns) == 1 else joined(row, columns)


def listed(value: Any) -> tuple[list[str], list[str]]:
    """The texts of choices and what each is called, of a list, of ARC's {"text": […], "label": […]}, or one of these
    for each, of MedQA's {"A": …, "B": …}, or of a cell of a table that holds them all; otherwise nothing.

    >>> listed(["Pune", "Goa"]), listed("(a) Pune (b) Goa")
    ((['Pune', 'Goa'], ['A', 'B']), (['Pune', 'Goa'], ['A', 'B']))
    """
    if isinstance(value, str):
        value = _of_cell(value)
    if isinstance(value, list) and value and all(isinstance(each, dict) and "text" in each for each in value):
        value = {"text": [each["text"] for each in value], "label": [each.get("label") for each in value]}
    if isinstance(value, dict) and "".join(map(str, value)) in (
            ascii_uppercase[:len(value)], ascii_lowercase[:len(value)]):
        value = {"text": list(value.values()), "label": list(value)}
    texts, marks = (value.get("text"), value.get("label")) if isinstance(value, dict) else (value, None)
    if not isinstance(texts, list) or not 2 <= len(texts) <= len(ascii_uppercase) or not all(
            isinstance(each, str) and each.strip() for each in texts):
        return [], []
    fit = isinstance(marks, list) and len(marks) == len(texts) and all(isinstance(each, str) for each in marks)
    return texts, list(marks or ()) if fit else list(ascii_uppercase[:len(texts)])


def _of_cell(text: str) -> list[str]:
    """The choices that one text holds: a list as Python or JSON write it, or each behind its letter, or each on a line
    or behind a semicolon or a bar."""
    if text[:1] == "[":
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return []
        return found if isinstance(found, list) else []
    before, *parts = _MARK.split(text.strip())
    if not before.strip() and "".join(parts[::2]).upper() == ascii_uppercase[:len(parts) // 2]:
        return [part.strip().rstrip(",;|/").strip() for part in parts[1::2]]
    return next(([part.strip() for part in text.split(mark) if part.strip()] for mark in ("\n", ";", "|")
                 if mark in text.strip()), [])


def right(texts: list[str], marks: list[str], answer: Any, first: int | None = None) -> int | None:
    """Which choice an answer names, by what it is called, by its words, or by its place; None if none is.

    Args:
        first: as `first_place` finds it.

    >>> right(["Pune", "Goa"], ["A", "B"], "(b)"), right(["Pune", "Goa"], ["A", "B"], "Pune")
    (1, 0)
    """
    said = str(answer).strip()
    if first is None:
        for name, each in ((said, marks), (said, texts), (_NAMED.sub("", said).strip("().").upper(), marks)):
            if name in each:
                return each.index(name)
        letter = _NAMED.sub("", said).strip("().").upper()
        if len(letter) == 1 and letter in ascii_uppercase[:len(marks)] and not any(map(str.isascii, marks)):
            return ascii_uppercase.index(letter)
    at = int(said) - (first or 0) if _is_place(said) else -1
    return at if 0 <= at < len(texts) else None


def first_place(rows: Iterable[tuple[Any, Any]]) -> int | None:
    """What number the answers of a file give to the first choice, 0 or 1; None if they aren't such numbers, or don't
    show it.

    Args:
        rows: the choices of each row and its answer.
    """
    answered = [(*listed(value), answer) for value, answer in rows if value is not None and answer not in (None, "")]
    said = [(texts, marks, str(answer).strip()) for texts, marks, answer in answered]
    if not all(_is_place(answer) and int(answer) <= len(texts) for texts, _, answer in said):
        return None
    if all(answer in marks for _, marks, answer in said) or all(
            isinstance(answer, str) and answer.strip() in (*texts, *marks) for texts, marks, answer in answered):
        return None
    if any(answer == "0" for _, _, answer in said):
        return 0
    return 1 if any(int(answer) == len(texts) for texts, _, answer in said) else None


def _is_place(said: str) -> bool:
    return said.isdecimal() and len(said) <= 2


def written(value: Any, answer: Any, first: int | None = None) -> tuple[str, str] | None:
    """The choices as lines below their question, and the right one; None if it isn't known.

    Args:
        first: as `first_place` finds it.

    >>> written(["Pune", "Goa"], 1)
    ('A. Pune\\nB. Goa', 'B. Goa')
    """
    texts, marks = listed(value)
    at = right(texts, marks, answer, first)
    if at is None:
        return None
    lines = [text if re.match(rf"\(?{re.escape(mark)}\s*[).:]", text) else f"{mark}. {text}"
             for mark, text in zip(marks, texts, strict=True)]
    return "\n".join(lines), lines[at]


def are_read(rows: Sequence[tuple[Any, Any]]) -> bool:
    """Whether the answers of a file clearly name their choices.

    Args:
        rows: the choices of each row and its answer; numbers that may count from 0 or from 1 aren't sure.
    """
    said = [(listed(value), str(answer).strip()) for value, answer in rows if value is not None and answer is not None]
    places = any(answer not in (*marks, *texts) and _is_place(answer) for (texts, marks), answer in said)
    first = first_place(rows)
    named = sum(right(texts, marks, answer, first) is not None for (texts, marks), answer in said)
    return all(texts for (texts, _), _ in said) and not (places and first is None) and 2 * named > len(said)
