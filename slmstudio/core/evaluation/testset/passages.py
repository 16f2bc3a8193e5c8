"""The passage that a question of a test row belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from slmstudio.core.data.conversations import Findings, Messages, text_of
from slmstudio.core.evaluation.testset import multiple_choice

SURE = ("context", "passage")
"""Columns that hold a passage and nothing else."""
PASSAGES = (*SURE, "article", "document", "story", "paragraph", "premise", "support", "flores_passage", "sentence",
            "text")
"""Columns that hold a passage, all but `SURE` perhaps a title or a file's name. The first that is filled counts."""
_WEAK = ("sentence", "text")
"""Those that may be the question itself, or that and its answer: Alpaca's "text" holds all."""
_WHOLE = (("prompt", "completion"), ("chosen", "rejected"))
_TRAINED = (("question", "answer"), ("instruction", "output"))
LONG = 40
"""Characters of a text that is more than a title."""
WORDS = 4
_FILE = re.compile(r"\.[^\W_]\w{1,4}$")
_NO_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u4e00-\u9fff]")
"""Scripts that part no words: Thai, Lao, Burmese, Khmer, Japanese, Chinese."""


def with_passage(messages: Messages, row: Mapping[str, Any], findings: Findings, may_use_input: bool,
                 references: Sequence[str] = ()) -> Messages:
    """The passage goes below the question, as training puts "input" below "instruction".

    Rows that are learned as a whole get none, so that they are asked in the words in which they are learned.

    Args:
        references: of a row without choices; a text that holds one gives the answer away.
    """
    asked = messages[-1]["content"] if messages else ""
    if not asked or row.get("messages") is not None or _has_pair(row, _WHOLE):
        return messages
    for name in (*PASSAGES, "input") if may_use_input else PASSAGES:
        text = _joined(row.get(name))
        if not text.strip() or not (name in SURE or name == "input" or _is_passage(row, name, text, asked, references)):
            continue
        text = text_of({name: text}, name, findings)
        return (*messages[:-1], {**messages[-1], "content": f"{asked}\n\n{text}"})
    return messages


def passage_of(messages: Messages, row: Mapping[str, Any]) -> tuple[str, int]:
    """The column whose text was put below the question, and how many characters that are; "" and 0 where none was."""
    for name in (*PASSAGES, "input") if row.get("instruction") is None else PASSAGES:
        below = f"\n\n{_joined(row.get(name))}"
        if below.strip() and messages and messages[-1]["content"].endswith(below):
            return name, len(below)
    return "", 0


def _has_pair(row: Mapping[str, Any], pairs: Sequence[tuple[str, str]]) -> bool:
    return any(row.get(one) is not None and row.get(other) is not None for one, other in pairs)


def _joined(value: Any) -> str:
    """A text, or those of a list below each other."""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return "\n\n".join(value)
    return value if isinstance(value, str) else ""


def _is_passage(row: Mapping[str, Any], name: str, text: str, asked: str, references: Sequence[str]) -> bool:
    """Whether a column that may hold a passage does: one beside choices, or a long text in a row that is not learned
    without it."""
    if name in _WEAK and not _is_apart(row, text, asked.strip()):
        return False
    if multiple_choice.has_choices(row):
        return True
    if name == "support" or _has_pair(row, _TRAINED):
        return False
    if name in _WEAK and any(each.strip().casefold() in text.casefold() for each in references):
        return False
    words = text.split()
    return len(text.strip()) > LONG and _FILE.search(text.strip()) is None and (
        len(words) >= WORDS or _NO_SPACES.search(text) is not None)


def _is_apart(row: Mapping[str, Any], text: str, asked: str) -> bool:
    """Whether a text is more than the question, and does not hold it."""
    plain = any(row.get(name) is not None for name in ("question", "query", "problem"))
    return plain and row.get("instruction") is None and asked not in text and text.strip() not in asked
