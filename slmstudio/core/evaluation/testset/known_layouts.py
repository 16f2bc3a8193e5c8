"""Rows of well-known sets in the shape that all rows are read in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from slmstudio.core.data.column_names import column
from slmstudio.core.evaluation.testset import multiple_choice

SHORT = frozenset({"q", "a"})
"""Names of a question and its answer, of which "a" is a choice elsewhere."""
WRONG_ONES = ("incorrect_answers", "distractors", "wrong_answers")
DOUBTFUL = re.compile(r"alternatives|alternative_[a-z\d]|[1-9]")
"""Columns of choices, or of other good answers or anything: choices only where the answer names one of them."""
_WRONG_ONE = re.compile(r"(?:distractor|(?:incorrect|wrong)_answer)_?\d")
COPA = {"cause": "What was the cause of this?", "effect": "What happened as a result?"}
"""Roemmele et al. 2011 ask so; the files have one word only (XCOPA, https://arxiv.org/abs/2005.00333)."""


def shaped(value: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a row by the names that the readers know.

    Columns that are null are left out, but for those of choices: a choice that is missing among others is a mistake.
    Of several columns with one meaning, the one with the known name counts, else the first.
    """
    row: dict[str, Any] = {}
    for name, each in value.items():
        known = column(name)
        if each is None and (known in row or not multiple_choice.is_choice_column(known)):
            continue
        if row.get(known) is None or known == name:
            row[known] = each
    if isinstance(row.get("question"), dict):  # ARC's own files: {"question": {"stem": ..., "choices": [...]}}
        inner = row.pop("question")
        row |= {"question": inner.get("stem"), "choices": inner.get("choices")}
    if all(isinstance(row.get(name), str) for name in ("premise", "question")) and multiple_choice.has_choices(row):
        row["question"] = COPA.get(row["question"], row["question"])
    if "q" in row and "a" in row and "b" not in row and not {"question", "answer"} & row.keys():
        row |= {"question": row.pop("q"), "answer": row.pop("a")}
    if isinstance(row.get("correct_answer"), str) and not multiple_choice.has_choices(row):
        _join_wrong_ones(row)
    return _without_doubt(row)


def _join_wrong_ones(row: dict[str, Any]) -> None:
    """SciQ, GPQA and others have the right answer and wrong ones apart. In the order of the alphabet, the right one is
    anywhere."""
    wrong = [row[name] for name in row if _WRONG_ONE.fullmatch(name)]
    for name in WRONG_ONES:
        if isinstance(row.get(name), list):
            wrong += row[name]
    if wrong:
        row["choices"] = sorted([row["correct_answer"], *wrong], key=str)


def has_doubtful(value: Mapping[str, Any]) -> bool:
    """Whether a row has something in columns that may be choices or not."""
    return any(each not in (None, "") and DOUBTFUL.fullmatch(column(name)) for name, each in value.items())


def _without_doubt(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its doubtful columns as choices, where the answer names one of them."""
    doubtful = [name for name in row if DOUBTFUL.fullmatch(name)]
    if not doubtful:
        return row
    others = {name: each for name, each in row.items() if not DOUBTFUL.fullmatch(name)}
    if multiple_choice.has_choices(others):
        return row
    series = {name.replace("alternative", "choice"): row[name] for name in doubtful if name != "alternatives"}
    for choices in ({"choices": row.get("alternatives")}, series):
        if multiple_choice.names_one(others | choices):
            return others | choices
    return {name: each for name, each in row.items() if not name.isdigit()}
