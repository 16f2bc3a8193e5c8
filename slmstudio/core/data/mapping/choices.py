"""Questions with choices, as MMLU's and ARC's, as a question with these below it and the right one as its answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from string import ascii_lowercase, ascii_uppercase
from typing import Any

from slmstudio.core.data import column_names as names
from slmstudio.core.data.mapping.values import as_text

RIGHT = ("answer", "answerkey", "answer_key", "answer_idx", "answer_index", "correct", "correct_answer",
         "correct_answer_num", "correct_option", "correct_choice", "correct_index", "gold", "target", "label", "cop")
"""Columns that say which choice is right; several may, if they agree."""
SERIES = (tuple(ascii_lowercase), *(
    tuple(f"{word}{mark}" for mark in marks)
    for word in ("option_", "option", "choice_", "choice", "alternative_", "op", "ending", "mc_answer", "sol", "answer",
                 "answer_")
    for marks in (ascii_lowercase, range(10), range(1, 10))
), tuple("123456789"), *map(tuple, ("कखगघङ", "अबकडइ", "কখগঘঙ", "કખગઘઙ", "ਕਖਗਘਙ", "କଖଗଘଙ", "అఆఇఈఉ", "ಅಆಇಈಉ", "அஆஇஈஉ")))
"""Names of columns with a choice each: MMLU's A, B, C, D; MedMCQA's opa, opb ...; Winogrande's option1, option2."""


def columns_of(series: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """A column for each choice, from the first on. Half of those between may be missing: they are gaps then, "".

    Args:
        known: the columns by their names in English.
    """
    here = [at for at, name in enumerate(series) if name in known]
    if len(here) < 2 or here[0] or 2 * len(here) <= here[-1]:
        return {}
    return {name: known.get(name, "") for name in series[: here[-1] + 1]}


def series_of(known: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Columns with a choice each, without gaps."""
    found = (tuple(columns_of(each, known).values()) for each in SERIES)
    return [each for each in found if each and all(each)]


def joined(row: Mapping[str, Any], series: Sequence[str]) -> dict[str, list[Any]]:
    """The choices of columns with one each, as ARC has them; empty ones at the end are those of rows with more.

    What a choice is called is its column's number, or else its letter.

    >>> joined({"option1": "Pune", "option2": "Goa"}, ("option1", "option2"))
    {'text': ['Pune', 'Goa'], 'label': ['1', '2']}
    """
    texts = [as_text(row.get(column)) for column in series]
    while texts and texts[-1] in (None, ""):
        texts.pop()
    ends = [names.column(column)[-1:] for column in series]
    marks = ends if all(map(str.isdecimal, ends)) else list(ascii_uppercase)
    return {"text": texts, "label": marks[:len(texts)]}



def listed(value: Any) -> tuple[list[str], list[str]]:
    """The texts of choices and what each is called, of a list, of ARC's {"text": […], "label": […]}, or of MedQA's
    {"A": …, "B": …}; else nothing.

    >>> listed(["Pune", "Goa"])
    (['Pune', 'Goa'], ['A', 'B'])
    """
    if isinstance(value, dict) and "".join(map(str, value)) in (
            ascii_uppercase[:len(value)], ascii_lowercase[:len(value)]):
        value = {"text": list(value.values()), "label": list(value)}
    texts, marks = (value.get("text"), value.get("label")) if isinstance(value, dict) else (value, None)
    if not isinstance(texts, list) or not 2 <= len(texts) <= len(ascii_uppercase) or not all(
            isinstance(each, str) and each.strip() for each in texts):
        return [], []
    fit = isinstance(marks, list) and len(marks) == len(texts) and all(isinstance(each, str) for each in marks)
    return texts, list(marks or ()) if fit else list(ascii_uppercase[:len(texts)])


def right(texts: list[str], marks: list[str], answer: Any) -> int | None:
    """Which choice an answer names, by what it is called, by its words, or by its place from 0; None where none is.

    >>> right(["Pune", "Goa"], ["A", "B"], "(b)"), right(["Pune", "Goa"], ["A", "B"], "Pune")
    (1, 0)
    """
    said = str(answer).strip()
    for name, each in ((said, marks), (said, texts), (said.strip("().").upper(), marks)):
        if name in each:
            return each.index(name)
    return int(said) if _is_place(said) and int(said) < len(texts) else None


def _is_place(said: str) -> bool:
    return said.isdecimal() and len(said) <= 2


def written(value: Any, answer: Any) -> tuple[str, str] | None:
    """The choices as lines below their question, and the right one; None where it isn't known.

    >>> written(["Pune", "Goa"], 1)
    ('A. Pune\\nB. Goa', 'B. Goa')
    """
    texts, marks = listed(value)
    at = right(texts, marks, answer)
    if at is None:
        return None
    lines = [f"{mark}. {text}" for mark, text in zip(marks, texts, strict=True)]
    return "\n".join(lines), lines[at]


def are_read(rows: Iterable[tuple[Any, Any]]) -> bool:
    """Whether the answers of a file clearly name their choices.

    Args:
        rows: the choices of each row and its answer; numbers that never are 0 may count from 1, so they aren't sure.
    """
    said = [(listed(value), str(answer).strip()) for value, answer in rows if value is not None and answer is not None]
    places = [answer for (texts, marks), answer in said if answer not in (*marks, *texts) and _is_place(answer)]
    named = sum(right(texts, marks, answer) is not None for (texts, marks), answer in said)
    return all(texts for (texts, _), _ in said) and (not places or "0" in places) and 2 * named > len(said)
