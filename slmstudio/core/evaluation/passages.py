"""The passage that a question of a test row belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slmstudio.core.data.conversations import Findings, Messages, text_of

PASSAGES = ("context", "passage", "article", "document", "story", "paragraph", "premise", "support", "flores_passage",
            "sentence", "text")
"""Columns that hold a passage; the first that is filled counts."""
_WEAK = ("sentence", "text")
"""Those that may be the question itself, or that and its answer: Alpaca's "text" holds all."""


def with_passage(messages: Messages, row: Mapping[str, Any], findings: Findings, may_use_input: bool) -> Messages:
    """The passage goes below the question, as training puts "input" below "instruction"."""
    asked = messages[-1]["content"] if messages else ""
    for name in (*PASSAGES, "input") if may_use_input else PASSAGES:
        text = _joined(row.get(name))
        if not asked or not text.strip() or (name in _WEAK and not _is_passage(row, text, asked.strip())):
            continue
        text = text_of({name: text}, name, findings)
        return (*messages[:-1], {**messages[-1], "content": f"{asked}\n\n{text}"})
    return messages


def _joined(value: Any) -> str:
    """A text, or those of a list below each other."""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return "\n\n".join(value)
    return value if isinstance(value, str) else ""


def _is_passage(row: Mapping[str, Any], text: str, asked: str) -> bool:
    """Whether a text is more than the question, and does not hold it."""
    plain = any(row.get(name) is not None for name in ("question", "query", "problem"))
    return plain and row.get("instruction") is None and asked not in text and text.strip() not in asked
