"""A row that a person adds, written in the columns that the file's other rows have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from slmstudio.core.data.conversations import Message, Messages
from slmstudio.core.data.record import Record
from slmstudio.core.data.rows import ColumnsMissing, RowError, read_row
from slmstudio.core.errors import Problem, UserError


@dataclass(frozen=True)
class NewRow:
    """What is to be added.

    Attributes:
        messages: as in `Record`; the last is the answer that shall be learned, or that a test expects.
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
        """Whether a row of a file says the same, but for white space around its texts."""
        rejected = None if self.rejected is None else self.rejected.strip()
        its = None if record.rejected is None else record.rejected.strip()
        return rejected == its and _said(self.messages) == _said(record.messages)

    def asks_like(self, record: Record) -> bool:
        """Whether a row of a file asks the same, perhaps in the middle of a conversation.

        The system message and the answer may be others.
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


def as_columns(row: NewRow, like: Mapping[str, Any] | None) -> dict[str, Any]:
    """The row in the columns of `like`, another row of the file, as far as these can say it.

    Each way to write it is read back; where none of the file's own says the same, the row is written as messages.

    Raises:
        UserError: the row is none that can be learned: an empty answer, a conversation out of turn.
    """
    for columns in _ways(row, like or {}):
        try:
            found = read_row(columns)
        except (RowError, ColumnsMissing):
            continue
        if found.messages == tuple(row.messages) and found.rejected == row.rejected:
            own = {name: columns[name] for name in like or {} if name in columns}
            return {**own, **columns, **{name: text for name, text in row.tags.items() if text.strip()}}
    try:
        read_row(_plain(row))
    except RowError as error:
        problems = [Problem(sentence, field=key or None) for key, sentence in error.findings]
        raise UserError("The row cannot be added.", error.findings[0][1], "Complete it and add it again.",
                        problems) from error
    raise UserError("The row cannot be added.", "It would not read back as it is.", "Change its texts a little.")


def _plain(row: NewRow) -> dict[str, Any]:
    if row.rejected is None:
        return {"messages": list(row.messages)}
    return {"prompt": list(row.messages[:-1]), "chosen": [row.messages[-1]], "rejected": [_reply(row.rejected)]}


def _reply(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _ways(row: NewRow, like: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The row in several columns, those that are most like `like` first. Not all of them say it rightly."""
    if row.rejected is None and like.get("messages") is not None:
        yield _plain(row)
    system = "".join(message["content"] for message in row.messages[:1] if message["role"] == "system")
    turns = [message for message in row.messages if message["role"] != "system"]
    about = {"system": system} if system or "system" in like else {}
    if len(turns) == 2:  # one question and its answer may be texts
        asked = next((name for name in ("prompt", "question", "instruction") if isinstance(like.get(name), str)), "")
        if asked:
            more = {"input": ""} if asked == "instruction" and "input" in like else {}
            question = {asked: turns[0]["content"], **more}
            yield {**about, **question, **_answers(row, like)}
    if row.rejected is None:
        if "completion" in like:
            yield {"prompt": list(row.messages[:-1]), "completion": [row.messages[-1]]}
    elif not any(like.get(name) is not None for name in ("prompt", "question", "instruction")) and like:
        both = {"chosen": row.messages, "rejected": (*row.messages[:-1], _reply(row.rejected))}
        if isinstance(like.get("chosen"), str):
            yield {name: _transcript(messages) for name, messages in both.items()}
        yield {name: list(messages) for name, messages in both.items()}
    yield _plain(row)


def _answers(row: NewRow, like: Mapping[str, Any]) -> dict[str, Any]:
    """The answers, as texts or as messages, whichever the other row has."""
    texts = {"chosen": row.messages[-1]["content"], "rejected": row.rejected or ""}
    if row.rejected is None:
        name = next((name for name in ("output", "answer", "completion") if name in like), "completion")
        texts = {name: row.messages[-1]["content"]}
    return {name: [_reply(text)] if isinstance(like.get(name), list) else text for name, text in texts.items()}


def _transcript(messages: Messages) -> str:
    """A conversation as one text, as `conversations.transcript` reads it. It has no place for a system message."""
    names = {"user": "Human", "assistant": "Assistant", "system": "System"}
    return "".join(f"\n\n{names[message['role']]}: {message['content']}" for message in messages)
