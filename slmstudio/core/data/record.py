"""One usable row of a dataset."""

from __future__ import annotations

from dataclasses import dataclass

from slmstudio.core.data.conversations import Messages


@dataclass(frozen=True, slots=True)
class Record:
    """One row: a conversation, perhaps with what is said of its last answer, or plain text.

    Attributes:
        messages: each {"role": "system" | "user" | "assistant", "content": text}; an optional system message,
            then user and assistant in turns; the last is the assistant's. Empty for plain text.
        line: 1-based line of the file where the row begins.
        rejected: of a preference pair, the worse answer in place of the last message, which is the better one.
        desirable: of a labelled row, whether the last message is a good answer.
        text: of plain text, all of it.
    """

    messages: Messages
    line: int
    rejected: str | None = None
    desirable: bool | None = None
    text: str | None = None

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
    def contents(self) -> tuple[str, ...]:
        """All texts that a person reads in this row."""
        beside = tuple(text for text in (self.rejected, self.text) if text is not None)
        return (*(message["content"] for message in self.messages), *beside)
