"""The layouts a dataset may have, and what can be learned from each."""

from __future__ import annotations

from slmstudio.core.i18n import noop

_CHAT = ("sft", "text")

_OBJECTIVES = {
    "instruction": _CHAT, "messages": _CHAT, "mixed": _CHAT,
    "preference": ("dpo", "orpo", "sft"),
    "labelled": ("kto",),
    "text": ("text",),
}

_SENTENCES = {
    "instruction": noop("Each row is a question with its answer."),
    "messages": noop("Each row is a conversation."),
    "mixed": noop("The rows are questions with their answers, and conversations."),
    "preference": noop("Each row is a question with a better and a worse answer."),
    "labelled": noop("Each row is a question with one answer, marked good or bad."),
    "text": noop("Each row is plain text, which is learned whole."),
}

_ROWS = {
    "chat": ("a conversation", "conversations"),
    "preference": ("a preference pair", "preference pairs"),
    "labelled": ("an answer marked good or bad", "answers marked good or bad"),
    "text": ("plain text", "rows of plain text"),
}
"""Kind: one row, several rows."""


def objectives(layout: str) -> tuple[str, ...]:
    """What rows of this layout can be trained for (`RunConfig.objective`); the first is proposed.

    Raises:
        KeyError: there is no such layout.
    """
    return _OBJECTIVES[layout]


def sentence(layout: str) -> str:
    """What a row of this layout is, for people."""
    return _SENTENCES[layout]


def kind(layout: str) -> str:
    """Rows of one kind may stand in one file: "chat" (three layouts), "preference", "labelled" or "text"."""
    return "chat" if _OBJECTIVES[layout] is _CHAT else layout


def stray(row: str, file: str) -> str:
    """What is wrong with a row of the kind `row` in a file of the kind `file`, as a sentence."""
    return (f"this row is {_ROWS[row][0]} among {_ROWS[file][1]}; the rows of one file are learned in one way, "
            "so put it into a file of its own.")
