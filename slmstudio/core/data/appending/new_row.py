"""A row that a user adds, written in the columns that the file's other rows have."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slmstudio.core.data.conversations import Message, Messages
from slmstudio.core.data.mapping.mapper import Mapper
from slmstudio.core.data.mapping.speakers import CONTENT_KEYS, ROLE_KEYS, role_of
from slmstudio.core.data.record import Record
from slmstudio.core.data.rows import ColumnsMissing, RowError, read_row
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr


@dataclass(frozen=True)
class NewRow:
    """What a user adds.

    Attributes:
        messages: as in `Record`; the last is the answer to learn, or the one that a test expects.
        rejected: the worse answer, which makes a preference pair of it.
        tags: further columns, as category and language of a test.
    """

    messages: Messages
    rejected: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """As in `layouts.kind`."""
        return "chat" if self.rejected is None else "preference"

    def equals(self, record: Record) -> bool:
        """Whether a row of a file says the same, except for white space around its texts."""
        return _said(self.messages, self.rejected) == _said(record.messages, record.rejected)

    def asks_like(self, record: Record) -> bool:
        """Whether a row of a file asks the same, perhaps in the middle of a conversation.

        The system message and the answer may differ.
        """
        return len(self.messages) > 1 and _begins(record.messages, self.messages[:-1])

    def answers_like(self, record: Record) -> bool:
        """Whether a row of a file asks the same and is answered the same."""
        return _begins(record.messages, self.messages)


def _said(messages: Messages, rejected: str | None = None) -> list[tuple[str, str]]:
    said = [(message["role"], message["content"].strip()) for message in messages]
    return said if rejected is None else [*said, ("rejected", rejected.strip())]


def _begins(messages: Messages, with_these: Messages) -> bool:
    """Whether a conversation begins with these messages; system messages don't count."""
    whole, begin = ([each for each in _said(one) if each[0] != "system"] for one in (messages, with_these))
    return whole[:len(begin)] == begin


def as_columns(row: NewRow, like: Mapping[str, Any] | None = None, mapper: Mapper | None = None,
               is_chosen: bool = False) -> dict[str, Any]:
    """The row in the columns of `like`, another row of the file; as messages, where these would be read differently.

    Args:
        mapper: reads the file's rows.
        is_chosen: whether a user chose what its columns hold, so that no others are read.

    Raises:
        UserError: the row can't be learned (an empty answer, a conversation out of turn), or the columns that
            a user chose can't hold it.
    """
    written: dict[str, Any] = {"messages": list(row.messages)} if row.rejected is None else {
        "prompt": list(row.messages[:-1]), "chosen": [row.messages[-1]], "rejected": [_reply(row.rejected)]}
    try:
        read_row(written)
    except RowError as error:
        raise error.refusal(tr("The row can't be added."), tr("Complete it and add it again.")) from error
    if like and mapper is not None and mapper.main is not None:
        mapped = _mapped(row, like, mapper.main.columns)
        found = []
        with contextlib.suppress(RowError, ColumnsMissing):
            found = [(each.messages, each.rejected) for each in mapper.read(mapped)]
        if found == [(tuple(row.messages), row.rejected)]:
            written = {**{name: mapped[name] for name in like if name in mapped}, **mapped}
        elif is_chosen:
            raise UserError(tr("The row doesn't fit into the columns that were chosen for this file."),
                            tr("They can't hold a conversation like this."),
                            tr("Choose another file, or a new one."))
    return written | {name: text for name, text in row.tags.items() if text.strip()}


def _mapped(row: NewRow, like: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """The row in the columns that hold the file's questions and answers, or its conversations, as far as they can; it
    may read back differently. What is empty in the other row is so in this one.

    Args:
        columns: by target.
    """
    asked, answered = ("prompt", "chosen") if "chosen" in columns else (
        "instruction", "output" if "output" in columns else "messages")
    has_system = "system" in columns and row.messages[0]["role"] == "system"
    turns = row.messages[has_system:]
    before = () if asked in columns else turns[:-1]
    said: dict[str, Messages] = {"input": (), "system": row.messages[:has_system], asked: turns[:-1],
                                 answered: (*before, turns[-1])}
    if row.rejected is not None:
        said["rejected"] = (*before, _reply(row.rejected))
    return {name: "" for name, value in like.items() if value == ""} | {
        column: _cell(said[target], like.get(column)) for target, column in columns.items() if target in said}


def _cell(messages: Sequence[Message], like: Any) -> Any:
    """Messages as another row has them: as a list with its keys and names of roles, or as one text, a transcript."""
    if not isinstance(like, list):
        names = {"user": "Human", "assistant": "Assistant", "system": "System"}
        return "".join(message["content"] for message in messages) if len(messages) < 2 else "".join(
            f"\n\n{names[message['role']]}: {message['content']}" for message in messages)
    first = next((each for each in like if isinstance(each, dict)), {})
    role, content = (next((key for key in keys if key in first), keys[0]) for keys in (ROLE_KEYS, CONTENT_KEYS))
    roles = {role_of(each.get(role)): each.get(role) for each in like if isinstance(each, dict)} if first else {}
    return [{role: roles.get(message["role"], message["role"]), content: message["content"]} for message in messages]


def _reply(text: str) -> Message:
    return {"role": "assistant", "content": text}
