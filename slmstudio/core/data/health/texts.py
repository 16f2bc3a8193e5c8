"""The texts of a row, and the row with its texts changed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from slmstudio.core.data.conversations import Message
from slmstudio.core.data.record import Record

CODE = re.compile(r"(```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]+`)", re.DOTALL)
"""Code in Markdown: fenced, or between backticks in a line. What looks like a fault there is intended."""


Part = Literal["everything", "spoken", "answers"]
"""Texts of a row: all that is learned from or read; what people and the assistant say, without what tools are called
with and return; or what the assistant answers, without calls of tools and rejected answers."""


def spoken(record: Record) -> list[str]:
    """What people and the assistant say: neither what tools return, nor what they are called with."""
    texts = [message["content"] for message in record.messages if message["role"] != "tool"]
    return [*texts, *(text for text in (record.rejected, record.text) if text is not None)]


def everything(record: Record) -> list[str]:
    """All that is learned from or read: what is said, what tools return, and the texts they are called with."""
    texts = list(record.contents)

    def note(text: str) -> str:
        texts.append(text)
        return text

    for message in record.messages:
        if "tool_calls" in message:
            _changed(message["tool_calls"], note)
    return texts


def answers(record: Record) -> list[str]:
    """What the assistant answers, in its order; a call of tools isn't an answer, nor is a rejected one."""
    return [message["content"] for message in record.messages
            if message["role"] == "assistant" and not message.get("tool_calls")]


def rewritten(record: Record, change: Callable[[str], str], part: Part) -> Record:
    """The row with `change` made to each text of a part of it."""
    messages = tuple(_rewritten_message(message, change, part) for message in record.messages)
    if part == "answers":
        return replace(record, messages=messages)
    return replace(record, messages=messages,
                   rejected=None if record.rejected is None else change(record.rejected),
                   text=None if record.text is None else change(record.text))


def _rewritten_message(message: Message, change: Callable[[str], str], part: Part) -> Message:
    calls = message.get("tool_calls")
    if (part == "spoken" and message["role"] == "tool") or (
            part == "answers" and (calls or message["role"] != "assistant")):
        return message
    new = {**message, "content": change(message["content"])}
    return {**new, "tool_calls": _changed(calls, change)} if part == "everything" and calls else new


def prose_parts(text: str) -> list[str]:
    """The text in parts that make it up when joined: prose and code in turns, prose first."""
    return CODE.split(text) if "`" in text or "~~~" in text else [text]


def in_prose(text: str, change: Callable[[str], str]) -> str:
    """The text with `change` made outside code."""
    parts = prose_parts(text)
    return "".join(part if number % 2 else change(part) for number, part in enumerate(parts))


def is_blank(text: str) -> bool:
    """Whether nothing is visible: only blanks, controls and invisible characters."""
    if not text or text.isspace():
        return True
    # A letter or a digit near the beginning, as nearly always, spares the long way.
    return not any(map(str.isalnum, text[:20])) and not any(map(_shows, text))


def _shows(character: str) -> bool:
    return character.isprintable() and not character.isspace()


def canonical(value: Any) -> str:
    """Tools or calls of them as one text: the same for the same, whatever the order of keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)


def _changed(value: Any, change: Callable[[str], str], is_value: bool = False) -> Any:
    """Calls of tools with `change` made to the texts that they are called with: values, never keys or names."""
    if isinstance(value, str):
        return change(value) if is_value else value
    if isinstance(value, dict):
        return {key: _changed(each, change, is_value or key == "arguments") for key, each in value.items()}
    return [_changed(each, change, is_value) for each in value] if isinstance(value, (list, tuple)) else value
