"""The texts of a row, and the row with its texts changed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from slmstudio.core.data.conversations import Message
from slmstudio.core.data.record import Record

CODE = re.compile(r"(```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]+`)", re.DOTALL)
"""Code in Markdown: fenced, or between backticks in a line. What looks like a fault there is intended."""


def said(record: Record) -> list[str]:
    """What people and the assistant say: neither what tools return, nor what they are called with."""
    texts = [message["content"] for message in record.messages if message["role"] != "tool"]
    if record.rejected is not None:
        texts.append(record.rejected)
    if record.text is not None:
        texts.append(record.text)
    return texts


def written(record: Record) -> list[str]:
    """Everything that is learned from or read: what is said, what tools return, and the texts they are called with."""
    texts = list(record.contents)

    def keep(text: str) -> str:
        texts.append(text)
        return text

    for message in record.messages:
        if "tool_calls" in message:
            _changed(message["tool_calls"], keep)
    return texts


def answers(record: Record) -> list[str]:
    """What the assistant answers, in its order; a call of tools isn't an answer, nor is a rejected one."""
    return [message["content"] for message in record.messages
            if message["role"] == "assistant" and not message.get("tool_calls")]


def rewritten(record: Record, change: Callable[[str], str], tools: bool) -> Record:
    """The row with `change` made to each text: of `written` with `tools`, else of `said`."""
    messages = tuple(_rewritten_message(message, change, tools) for message in record.messages)
    return replace(record, messages=messages,
                   rejected=None if record.rejected is None else change(record.rejected),
                   text=None if record.text is None else change(record.text))


def _rewritten_message(message: Message, change: Callable[[str], str], tools: bool) -> Message:
    if message["role"] == "tool" and not tools:
        return message
    new = {**message, "content": change(message["content"])}
    if tools and "tool_calls" in message:
        new["tool_calls"] = _changed(message["tool_calls"], change)
    return new


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


def _changed(calls: Any, change: Callable[[str], str]) -> Any:
    """Calls of tools with `change` made to the texts that they are called with: values, never keys or names."""
    return [{**call, "function": {**call["function"], "arguments": _changed_leaves(
        call["function"].get("arguments"), change)}} if "function" in call else call for call in calls]


def _changed_leaves(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _changed_leaves(each, change) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_changed_leaves(each, change) for each in value]
    return value
