"""The texts of a row, what checks ask of them, and the row with its texts changed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

from slmstudio.core.data.conversations import Message
from slmstudio.core.data.health.finding import pattern
from slmstudio.core.data.record import Record
from slmstudio.core.units import plain_digits

CODE = re.compile(r"(```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]+`)", re.DOTALL)
"""Code in Markdown: fenced, or between backticks in a line. What looks like a fault there is intended."""
_FOREIGN_DIGIT = re.compile(r"[^\D0-9]")
_SEVEN_DIGITS, _INSIDE_PAN = pattern("seven_digits"), pattern("inside_pan")
"""These begin with a digit and nothing else, so that a text is searched quickly."""
Part = Literal["everything", "spoken", "answers"]
"""Texts of a row: all that is learned from or read; what people and the assistant say, without what tools are called
with and return; or what the assistant answers, without calls of tools and rejected answers."""


class Row:
    """A row, and what the checks ask of it, each found out once.

    Attributes:
        everything, spoken, answers: its texts, see `Part`.
        letters: every character in them, once.
    """

    def __init__(self, record: Record):
        self.record = record
        beside = [text for text in (record.rejected, record.text) if text is not None]
        self.spoken = [message["content"] for message in record.messages if message["role"] != "tool"] + beside
        self.answers = [message["content"] for message in record.messages if _is_answer(message)]
        self.everything = self.spoken
        if record.has_tools:
            self.everything = []
            rewritten(record, self._note, "everything")
        self.joined = self.everything[0] if len(self.everything) == 1 else "\n".join(self.everything)
        self.letters = "".join(set(self.joined))

    def _note(self, text: str) -> str:
        self.everything.append(text)
        return text

    @cached_property
    def may_be_personal(self) -> bool:
        """Whether there may be identifiers of people; quickly says no for nearly all rows without any."""
        text = plain_digits(self.joined) if _FOREIGN_DIGIT.search(self.letters) else self.joined
        return "@" in text or _SEVEN_DIGITS.search(text) is not None or _INSIDE_PAN.search(text) is not None


def canonical(value: Any) -> str:
    """Tools or calls of them as one text: the same for the same, whatever the order of keys; "" for none."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, default=str) if value else ""


def rewritten(record: Record, change: Callable[[str], str], part: Part) -> Record:
    """The row with `change` made to each text of a part of it; of calls of tools to the values that they are called
    with, never to keys or names."""
    def message(each: Message) -> Message:
        if (part == "spoken" and each["role"] == "tool") or (part == "answers" and not _is_answer(each)):
            return each
        new = {**each, "content": change(each["content"])}
        if part == "everything" and each.get("tool_calls"):
            new["tool_calls"] = _rewritten_values(each["tool_calls"], change)
        return new

    def beside(text: str | None) -> str | None:
        return text if text is None or part == "answers" else change(text)

    return replace(record, messages=tuple(map(message, record.messages)), rejected=beside(record.rejected),
                   text=beside(record.text))


def _is_answer(message: Message) -> bool:
    return message["role"] == "assistant" and not message.get("tool_calls")


def _rewritten_values(value: Any, change: Callable[[str], str], is_value: bool = False) -> Any:
    if isinstance(value, str):
        return change(value) if is_value else value
    if isinstance(value, dict):
        return {key: _rewritten_values(each, change, is_value or key == "arguments") for key, each in value.items()}
    return ([_rewritten_values(each, change, is_value) for each in value] if isinstance(value, (list, tuple))
            else value)


def prose_parts(text: str) -> list[str]:
    """The text in parts that make it up when joined: prose and code in turns, prose first."""
    return CODE.split(text) if "`" in text or "~~~" in text else [text]


def is_blank(text: str) -> bool:
    """Whether nothing is visible: only blanks, controls and invisible characters."""
    return not any(character.isprintable() and not character.isspace() for character in text)
