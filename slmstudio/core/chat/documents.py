"""Documents that a question is about: how much of their text fits, and the message that a model reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slmstudio.core.data.source import Source
from slmstudio.core.data.sources.documents import text_of
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.units import format_bytes

KEY = "documents"
"""Of a question's figures: [{"name": text, "text": what the model reads of it, "tokens": of all of it, "left_out": of
what it doesn't read}]."""
MOST_BYTES = 32 << 20


def read_document(path: Path) -> tuple[dict[str, Any], str]:
    """Name and text of a document, and which pages have none, or "". It may take a while.

    Raises:
        UserError: it is too large, damaged or locked, or has no text.
    """
    with os_errors_as(tr("Could not read the document.")):
        size = path.stat().st_size
    if size > MOST_BYTES:
        raise UserError(tr("{name} is too large to ask about.", name=path.name),
                        tr("It has {size}; at most {most} can be read.", size=format_bytes(size),
                           most=format_bytes(MOST_BYTES)), tr("Save the pages that matter as a file of their own."))
    notes: list[str] = []
    return {"name": path.name, "text": text_of(Source(path, whole=False), notes)}, " ".join(notes)


def message_text(question: str, attached: Sequence[Mapping[str, Any]]) -> str:
    """What a model reads: the documents, then the question."""
    return "\n\n".join([*(f'<document name="{each["name"]}">\n{each["text"]}\n</document>' for each in attached),
                        question])


def cut_before(text: str, at: int) -> int:
    """Where a paragraph, line, sentence or word ends shortly before a place in a text; else the place itself."""
    ends = ((text.rfind(end, at - at // 10, at), end.strip()) for end in ("\n\n", "\n", ". ", "। ", " "))
    return next((found + len(sign) for found, sign in ends if found >= 0), at)


def size_text(document: Mapping[str, Any]) -> str:
    """A document with its size: "rules.pdf · 1,240 tokens", or how much of them is read."""
    name, tokens, left_out = document["name"], document["tokens"], document["left_out"]
    if left_out:
        return tr("{name} · {read:,} of {tokens:,} tokens", name=name, read=tokens - left_out, tokens=tokens)
    return f"{name} · {ntr('{n:,} token', '{n:,} tokens', tokens)}"
