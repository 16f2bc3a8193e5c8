"""An answer that is corrected, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slmstudio.core.i18n import ntr, tr

if TYPE_CHECKING:
    from slmstudio.core.chat.corrections import Learned
    from slmstudio.core.data.appending.append import Added

NAMED = 40
"""Letters of a question that tell it from others."""


@dataclass(frozen=True)
class Answered:
    """An answer of a conversation.

    Attributes:
        messages: all before it, the system message too; the last is the question.
        text: the answer.
        models: the GGUF files that gave it, the adapter's too.
    """

    messages: tuple[dict[str, str], ...]
    text: str
    models: tuple[Path, ...]


def shortened(answered: Answered) -> str:
    """As much of its question as tells it from others."""
    line = " ".join(answered.messages[-1]["content"].split())
    return line if len(line) <= NAMED else line[:NAMED].rstrip() + "…"


def added_text(added: Added) -> str:
    """As in "corrections.jsonl has 12 rows now"."""
    return tr("{file} has {rows} now", file=added.path.name, rows=ntr("{n:,} row", "{n:,} rows", added.rows))


def not_added(answered: Answered) -> str:
    return tr("“{question}” was not added.", question=shortened(answered))


def learned_text(found: Learned) -> str:
    """Why a question is no test of this model."""
    text = (tr("The model has learned this very row, line {line} of {file}: a test of it says nothing about new "
               "questions.") if found.same_answer else
            tr("The model has learned this question, line {line} of {file}, with another answer."))
    return text.format(line=f"{found.line:,}", file=found.file.name)
