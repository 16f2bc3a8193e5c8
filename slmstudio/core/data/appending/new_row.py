"""A row that a user adds, written in the columns that the file's other rows have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from slmstudio.core.data.conversations import Message, Messages
from slmstudio.core.data.mapping.look import ColumnMap
from slmstudio.core.data.mapping.mapper import Mapper
from slmstudio.core.data.mapping.speakers import CONTENT_KEYS, ROLE_KEYS, role_of
from slmstudio.core.data.record import Record
from slmstudio.core.data.rows import ColumnsMissing, Row, RowError, as_sentence, read_row
from slmstudio.core.errors import Problem, UserError
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
        rejected = None if self.rejected is None else self.rejected.strip()
        its = None if record.rejected is None else record.rejected.strip()
        return rejected == its and _said(self.messages) == _said(record.messages)

    def asks_like(self, record: Record) -> bool:
        """Whether a row of a file asks the same, perhaps in the middle of a conversation.

        The system message and the answer may differ.
        """
        mine = _turns(self.messages[:-1])
        return bool(mine) and mine == _turns(record.messages)[:len(mine)]

    def answers_like(self, record: Record) -> bool:
        """Whether a row of a file asks the same and is answered the same."""
        mine = _turns(self.messages)
        return mine == _turns(record.messages)[:len(mine)]


def _said(messages: Messages) -> list[tuple[str, str]]:
    return [(message["role"], message["content"].strip()) for message in messages]


def _turns(messages: Messages) -> list[tuple[str, str]]:
    return [each for each in _said(messages) if each[0] != "system"]


def as_columns(row: NewRow, like: Mapping[str, Any] | None, mapper: Mapper | None = None,
               is_chosen: bool = False) -> dict[str, Any]:
    """The row in the columns of `like`, another row of the file, as far as these can say it.

    Each way to write it is read back; if none of the file's own gives the same row, it is written as messages.

    Args:
        mapper: reads the file's rows.
        is_chosen: whether a user chose what its columns hold, so that no others are read.

    Raises:
        UserError: the row can't be learned (an empty answer, a conversation out of turn), or the columns that
            a user chose can't hold it.
    """
    like = like or {}
    columns = mapper.main if mapper is not None else None
    mapped = _mapped(row, like, columns) if columns is not None else {}
    system = next((message["content"] for message in row.messages if message["role"] == "system"), None)
    ways: list[tuple[dict[str, Any], Callable[[dict[str, Any]], list[Row]]]] = []
    if mapper is not None and mapped:
        ways.append((mapped, mapper.read))
        if not is_chosen and {"completion", "chosen"} & like.keys():  # which may be texts or messages
            ways.append((_mapped(row, {name: [] for name in like}, columns), mapper.read))
    if not is_chosen:
        if mapped and system is not None:
            ways.append(({"system": system, **_mapped(replace(row, messages=row.messages[1:]), like, columns)}, _read))
        ways.append((_plain(row), _read))
    for written, reads in ways:
        try:
            found = reads(written)
        except (RowError, ColumnsMissing):
            continue
        if [(each.messages, each.rejected) for each in found] == [(tuple(row.messages), row.rejected)]:
            there = {name: written[name] for name in like if name in written}
            return {**there, **written, **{name: text for name, text in row.tags.items() if text.strip()}}
    if is_chosen:
        raise UserError(tr("The row doesn't fit into the columns that were chosen for this file."),
                        tr("They can't hold a conversation like this."), tr("Choose another file, or a new one."))
    try:
        read_row(_plain(row))
    except RowError as error:
        problems = [Problem(sentence, field=key or None) for key, sentence in error.findings]
        raise UserError(tr("The row can't be added."), as_sentence(error.findings[0][1]),
                        tr("Complete it and add it again."), problems) from error
    raise UserError(tr("The row can't be added."), tr("It would be read back differently."),
                    tr("Change its texts a little."))


def _read(columns: dict[str, Any]) -> list[Row]:
    return [read_row(columns)]


def _mapped(row: NewRow, like: Mapping[str, Any], columns: ColumnMap | None) -> dict[str, Any]:
    """The row in the columns that hold the file's questions and answers, or its conversations, as far as they can; it
    may read back differently. What is empty in the other row is so in this one."""
    at = columns.columns if columns is not None else {}
    asked, answered = ("prompt", "chosen") if "chosen" in at else ("instruction", "output" if "output" in at
                                                                   else "messages")
    has_system = "system" in at and row.messages[0]["role"] == "system"
    turns = row.messages[has_system:]
    before = () if asked in at else turns[:-1]
    said: dict[str, Messages] = {"input": (), "system": row.messages[:has_system], asked: turns[:-1],
                                 answered: (*before, turns[-1])}
    if row.rejected is not None:
        said["rejected"] = (*before, _reply(row.rejected))
    return {name: "" for name, value in like.items() if value == ""} | {
        column: _cell(said[target], like.get(column)) for target, column in at.items() if target in said}


def _cell(messages: Sequence[Message], like: Any) -> Any:
    """Messages as another row has them: as a list, or as one text."""
    if isinstance(like, list):
        return _turns_like(messages, like)
    return "".join(message["content"] for message in messages) if len(messages) < 2 else _transcript(messages)


def _turns_like(messages: Sequence[Message], like: Any) -> list[dict[str, Any]]:
    """Messages with the keys and the roles' names of another conversation."""
    first = next((each for each in like if isinstance(each, dict)), {}) if isinstance(like, list) else {}
    role, content = (next((key for key in keys if key in first), keys[0]) for keys in (ROLE_KEYS, CONTENT_KEYS))
    names = {role_of(each.get(role)): each.get(role) for each in like or () if isinstance(each, dict)
             } if first else {}
    return [{role: names.get(message["role"], message["role"]), content: message["content"]} for message in messages]


def _plain(row: NewRow) -> dict[str, Any]:
    if row.rejected is None:
        return {"messages": list(row.messages)}
    return {"prompt": list(row.messages[:-1]), "chosen": [row.messages[-1]], "rejected": [_reply(row.rejected)]}


def _reply(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _transcript(messages: Sequence[Message]) -> str:
    """A conversation as one text, as `mapping.turns` reads it. It can't hold a system message."""
    names = {"user": "Human", "assistant": "Assistant", "system": "System"}
    return "".join(f"\n\n{names[message['role']]}: {message['content']}" for message in messages)
