"""What a model thinks before it answers, `<think>…</think>`: no part of the answer, and kept beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

OPEN, CLOSE = "<think>", "</think>"
KEY = "thoughts"
"""In the line of an answer: what the model thought before it; None if it thought nothing."""


def parted(text: str, opened: bool = False, ended: bool = False) -> tuple[str | None, str]:
    """The thoughts that a text begins with, None if it begins with none, and what follows them.

    Args:
        opened: whether what comes before the text has begun to think.
        ended: whether the text's writer ended by itself: then it isn't a thought, unless it says where the thought
            ends. Of a text that was cut, thoughts that don't end are all there is.

    >>> parted("<think>\\n2 + 2\\n</think>\\n\\n4"), parted("4"), parted("<think>Well"), parted("Well</think>4", True)
    (('2 + 2', '4'), (None, '4'), ('Well', ''), ('Well', '4'))
    """
    begun = text.lstrip()
    if (ended and CLOSE not in begun) or (not opened and not begun.startswith(OPEN)):
        return None, text
    thoughts, _, answer = begun.removeprefix(OPEN).partition(CLOSE)
    return thoughts.strip(), answer.strip()


def answer_of(text: str) -> str:
    """A text without the thoughts before it; one that holds nothing else stays as it is."""
    return parted(text)[1] or text


def as_scored(line: dict[str, Any]) -> dict[str, Any]:
    """An answer's line as it is scored. One with `KEY` is so already, and so is a choice. Lines from before there was
    this key hold the thoughts in the answer; where the prompt had opened them, without the tag that opens."""
    text = line.get("answer")
    if KEY in line or not isinstance(text, str) or line.get("choice_logprobs") or line.get("choices_by"):
        return line
    before, close, _ = text.partition(CLOSE)
    thought, answer = parted(text, bool(close) and OPEN not in before, line.get("finish") == "stop")
    return line if thought is None else {**line, KEY: thought, "answer": answer}


def opens(prompt: str) -> bool:
    """Whether a rendered prompt ends where the thoughts begin, as that of a model does which always thinks."""
    return prompt.rstrip().endswith(OPEN)


def hold_thoughts(references: Iterable[str]) -> bool:
    """Whether any of these references shows how to think, so that models are to think too."""
    return any(CLOSE in each for each in references)


def is_cut(line: Mapping[str, Any]) -> bool:
    """Whether an answer's line has thoughts alone, since there was no room for more."""
    return line.get(KEY) is not None and not line.get("answer") and line.get("finish") == "length"
