"""The layouts a dataset may have, and what can be learned from each."""

from __future__ import annotations

from slmstudio.core.i18n import noop, tr

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
    "chat": noop("this row is a conversation."),
    "preference": noop("this row is a preference pair."),
    "labelled": noop("this row is an answer marked good or bad."),
    "text": noop("this row is plain text."),
}
_OTHERS = {
    "chat": noop("The other rows are conversations, and the model learns all rows of a file in the same way: put this "
                 "row into a file of its own."),
    "preference": noop("The other rows are preference pairs, and the model learns all rows of a file in the same way: "
                       "put this row into a file of its own."),
    "labelled": noop("The other rows are answers marked good or bad, and the model learns all rows of a file in the "
                     "same way: put this row into a file of its own."),
    "text": noop("The other rows are plain text, and the model learns all rows of a file in the same way: put this row "
                 "into a file of its own."),
}
"""By the kind of the file."""


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
    """What is wrong with a row of the kind `row` in a file of the kind `file`, in two sentences."""
    return f"{tr(_STRAY[row])} {tr(_OTHERS[file])}"
