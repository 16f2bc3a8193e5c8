"""Questions in Moodle's GIFT format, as rows with a question, its choices and the right answer.

Source: Moodle's documentation, "GIFT format".
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

_LEAST_SHARE = 0.75
"""Share of a text's paragraphs that are questions in this format, at least."""
_REMARK = re.compile(r"^\s*(?://.*|\$CATEGORY:.*)$", re.MULTILINE)
_QUESTION = re.compile(r"\s*(?:::(?P<title>(?:\\.|[^\\])*?)::)?\s*(?:\[\w+\])?(?P<before>(?:\\.|[^\\{}])*)"
                       r"\{(?P<inside>(?:\\.|[^\\{}])*)\}(?P<after>(?:\\.|[^\\{}])*)", re.DOTALL)
_INSIDE = re.compile(r"\s*(?:$|[=~#]|(?:T|F|TRUE|FALSE)\s*(?:#|$))")
"""What the brackets hold: nothing, answers behind a sign, a number, or whether it is true."""
_ANSWER = re.compile(r"(?P<sign>[=~])(?P<text>(?:\\.|[^\\=~])*)", re.DOTALL)
_WEIGHT = re.compile(r"\s*%(?P<share>-?[\d.]+)%")
_REMARKED = re.compile(r"(?<!\\)#.*", re.DOTALL)
_ESCAPED = re.compile(r"\\([~=#{}:\\])")
GAP = "_____"
"""What stands for the answer inside a sentence."""


class _Choice(NamedTuple):
    text: str
    is_right: bool


def is_gift(text: str) -> bool:
    """Whether a text, or its beginning, has questions in this format and hardly anything else."""
    found = [each for each in re.split(r"\n\s*\n", _REMARK.sub("", text).strip()) if each.strip()]
    asked = [match for each in found if (match := _QUESTION.fullmatch(each)) and _INSIDE.match(match["inside"])]
    has_signs = any(match["title"] or _ANSWER.search(match["inside"]) for match in asked)
    return has_signs and len(asked) >= _LEAST_SHARE * len(found)


def rows(text: str) -> list[dict[str, Any]]:
    """A row for each question: "question", "answer" and "choices".

    A question without an answer, as an essay's, and a paragraph that isn't a question have "" for it. Where only some
    have choices, these are lines below their questions instead.
    """
    paragraphs = [each for each in re.split(r"\n\s*\n", _REMARK.sub("", text).strip()) if each.strip()]
    found = [_row(match) if (match := _QUESTION.fullmatch(each)) and _INSIDE.match(match["inside"]) else
             {"question": _plain(each), "answer": ""} for each in paragraphs]
    if not all("choices" in row for row in found):
        for row in found:
            row["question"] = "\n- ".join((row["question"], *row.pop("choices", ())))
    return found


def _row(match: re.Match[str]) -> dict[str, Any]:
    before, after, inside = (match[name].strip() for name in ("before", "after", "inside"))
    asked = _plain(f"{before} {GAP} {after}" if after else before)
    if inside[:1] == "#":
        return {"question": asked, "answer": _number(inside[1:])}
    if inside[:1] in ("T", "F"):
        answer = "True" if inside[0] == "T" else "False"
        return {"question": asked, "choices": ["True", "False"], "answer": answer}
    choices = [_choice(each) for each in _ANSWER.finditer(inside)]
    if any("->" in each.text for each in choices):
        return {"question": asked, "answer": "\n".join(each.text for each in choices)}
    right = [each.text for each in choices if each.is_right]
    if all(each.is_right for each in choices):  # other ways to write the same
        return {"question": asked, "answer": right[0] if right else ""}
    return {"question": asked, "choices": [each.text for each in choices], "answer": ", ".join(right)}


def _choice(match: re.Match[str]) -> _Choice:
    weight = _WEIGHT.match(match["text"])
    text = match["text"][weight.end():] if weight else match["text"]
    return _Choice(_plain(text), match["sign"] == "=" or (weight is not None and float(weight["share"]) > 0))


def _number(inside: str) -> str:
    """The number of "4:0.1", "1..5" or "=3:0 =%50%4:1": without how far an answer may be off."""
    answers = [_choice(each).text for each in _ANSWER.finditer(inside)] or [_plain(inside)]
    return answers[0].split(":")[0].strip()


def _plain(text: str) -> str:
    """A text without remarks for whoever answers, and without the signs that protect others."""
    return _ESCAPED.sub(r"\1", _REMARKED.sub("", text)).strip()
