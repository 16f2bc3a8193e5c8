"""Questions with choices, as MMLU's and ARC's, as a question with these below it and the right one as its answer."""

from __future__ import annotations

from collections.abc import Iterable
from string import ascii_uppercase
from typing import Any


def listed(value: Any) -> tuple[list[str], list[str]]:
    """The texts of choices and what each is called, of a list or of ARC's {"text": […], "label": […]}; else nothing.

    >>> listed(["Pune", "Goa"])
    (['Pune', 'Goa'], ['A', 'B'])
    """
    texts, marks = (value.get("text"), value.get("label")) if isinstance(value, dict) else (value, None)
    if not isinstance(texts, list) or not 2 <= len(texts) <= len(ascii_uppercase) or not all(
            isinstance(each, str) and each.strip() for each in texts):
        return [], []
    fit = isinstance(marks, list) and len(marks) == len(texts) and all(isinstance(each, str) for each in marks)
    return texts, list(marks or ()) if fit else list(ascii_uppercase[:len(texts)])


def right(texts: list[str], marks: list[str], answer: Any) -> int | None:
    """Which choice an answer names, by what it is called, by its words, or by its place from 0; None where none is."""
    said = str(answer).strip()
    for each in (marks, texts):
        if said in each:
            return each.index(said)
    return int(said) if said.isdecimal() and int(said) < len(texts) else None


def written(value: Any, answer: Any) -> tuple[str, str] | None:
    """The choices as lines that stand below their question, and the right one; None where that can't be told.

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
    """Whether the answers of a file name their choices in a way that is sure.

    Args:
        rows: the choices of each row and its answer; numbers that never are 0 may count from 1, so they aren't sure.
    """
    said = [(value, answer) for value, answer in rows if value is not None and answer is not None]
    places = [answer for _, answer in said if isinstance(answer, int)]
    return bool(said) and all(listed(value)[0] for value, _ in said) and (not places or 0 in places) and any(
        written(value, answer) for value, answer in said)
