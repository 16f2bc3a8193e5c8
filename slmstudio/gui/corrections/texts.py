"""An answer that is corrected, and messages about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slmstudio.core.i18n import ntr, tr

if TYPE_CHECKING:
    from slmstudio.core.chat.corrections import Learned
    from slmstudio.core.data.appending import Added

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
    """As in "corrections.jsonl now has 12 rows"."""
    return ntr("{file} now has {n:,} row", "{file} now has {n:,} rows", added.rows, file=added.path.name)


def not_added(answered: Answered) -> str:
    return tr("“{question}” wasn't added.", question=shortened(answered))


def learned_text(found: Learned) -> str:
    """Why a question can't test this model."""
    if found.same_answer:
        return tr("The model was trained on exactly this row (line {line:,} of {file}), so testing it says nothing "
                  "about new questions.", line=found.line, file=found.file.name)
    return tr("The model was trained on this question with another answer (line {line:,} of {file}).",
              line=found.line, file=found.file.name)
