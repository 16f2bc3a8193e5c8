"""One usable row of a dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slmstudio.core.data.conversations import Messages

GROUP = "split_group"
"""The column that says which rows stay on one side of a split: those that have the same there."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row: a conversation, perhaps with what is said about its last answer, or plain text.

    Attributes:
        messages: each {"role": "system" | "user" | "assistant" | "tool", "content": text}; an optional system message,
            then user and assistant in turns; the last is the assistant's. An assistant's message that calls tools has
            `tool_calls`, [{"type": "function", "function": {"name": text, "arguments": object}}], and the messages of
            the role "tool" with what these returned come after it. Empty for plain text.
        line: 1-based line of the file where the row begins; of a table, its row.
        rejected: of a preference pair, the worse answer in place of the last message, which is the better one.
        desirable: of a labelled row, whether the last message is a good answer.
        text: of plain text, all of it.
        tools: functions that the assistant may call, each {"type": "function", "function": {"name": …, …}}.
        file: of several files that were read together, the name of the row's; otherwise "".
        group: the same of rows that one row of the file became, or that have the same in the column `GROUP`, and of no
            others; "" of a row that has nothing to do with another.
    """

    messages: Messages
    line: int
    rejected: str | None = None
    desirable: bool | None = None
    text: str | None = None
    tools: tuple[dict[str, Any], ...] = ()
    file: str = ""
    group: str = ""

    @property
    def prompt(self) -> tuple[str, ...]:
        """What the first answer answers: the system message, if there is one, and the first user message.

        Of plain text it is the text: rows that say the same stay on one side of a split.
        """
        if self.text is not None:
            return (self.text,)
        contents = []
        for message in self.messages:
            if message["role"] == "assistant":
                break
            contents.append(message["content"])
        return tuple(contents)

    @property
    def has_tools(self) -> bool:
        """Whether tools are offered, called, or have answered."""
        return bool(self.tools) or any(each.get("tool_calls") or each["role"] == "tool" for each in self.messages)

    @property
    def contents(self) -> tuple[str, ...]:
        """All texts that a user reads in this row; those of messages that call tools as `message_text` has them."""
        beside = tuple(text for text in (self.rejected, self.text) if text is not None)
        return (*map(message_text, self.messages), *beside)


def message_text(message: Mapping[str, Any]) -> str:
    """All that a message says: its text, and the tools that it calls, each on a line."""
    text: str = message.get("content") or ""
    if "tool_calls" not in message:
        return text
    return "\n".join([*([text] if text else []), *map(call_line, message["tool_calls"] or ())])


def call_line(call: Mapping[str, Any]) -> str:
    """A call of a tool as people read it: get_weather(city="Pune")."""
    function = call["function"]
    arguments = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in function["arguments"].items())
    return f"{function['name']}({', '.join(arguments)})"


def as_row(record: Record) -> dict[str, Any]:
    """A record as the columns that `mapping` reads back to the same record.

    A question with its answer is {"instruction", "output"}, with a system message {"system", …} too; other
    conversations are {"messages"}; text is {"text"}.
    """
    beside: dict[str, Any] = {GROUP: record.group} if record.group else {}
    if record.text is not None:
        return {"text": record.text, **beside}
    messages = list(record.messages)
    beside |= {"tools": list(record.tools)} if record.tools else {}
    answer = messages[-1]
    if record.rejected is not None:
        return {"prompt": messages[:-1], "chosen": [answer],
                "rejected": [{"role": "assistant", "content": record.rejected}], **beside}
    if record.desirable is not None:
        return {"prompt": messages[:-1], "completion": [answer], "label": record.desirable, **beside}
    roles = [message["role"] for message in messages]
    is_plain = roles == ["user", "assistant"] and not record.has_tools
    # A text that looks like JSON would be read as what it holds.
    if is_plain and not any(message["content"].lstrip()[:1] in ("[", "{") for message in messages):
        return {"instruction": messages[0]["content"], "output": answer["content"], **beside}
    return {"messages": messages, **beside}
