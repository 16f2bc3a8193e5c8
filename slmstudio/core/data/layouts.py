"""The layouts a dataset may have, and what can be learned from each."""

from __future__ import annotations

from slmstudio.core.i18n import join_sentences, noop, tr

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

_STRAY = {
    "chat": (noop("this row is a conversation."), noop("The other rows are conversations.")),
    "preference": (noop("this row is a preference pair."), noop("The other rows are preference pairs.")),
    "labelled": (noop("this row is an answer marked good or bad."),
                 noop("The other rows are answers marked good or bad.")),
    "text": (noop("this row is plain text."), noop("The other rows are plain text.")),
}
"""What is said of one row of a kind, and of the others."""


def objectives(layout: str) -> tuple[str, ...]:
    """What rows of this layout can be trained for (`RunConfig.objective`); the first is proposed.

    Raises:
        KeyError: there is no such layout.
    """
    return _OBJECTIVES[layout]


def sentence(layout: str) -> str:
    """What a row of this layout is, for people."""
    return tr(_SENTENCES[layout])


def kind(layout: str) -> str:
    """Rows of one kind may be in one file: "chat" (three layouts), "preference", "labelled" or "text"."""
    return "chat" if _OBJECTIVES[layout] is _CHAT else layout


def stray(row: str, file: str) -> str:
    """What is wrong with a row of the kind `row` in a file of the kind `file`."""
    return join_sentences(tr(_STRAY[row][0]), tr(_STRAY[file][1]), tr(
        "The model learns all rows of a file in the same way: put this row into a file of its own."))
