"""Questions that a run never learned, with the answers that its rows have: to ask in Chat."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slmstudio.core.data.record import Record
from slmstudio.core.errors import UserError
from slmstudio.core.run.rows import run_rows

LOOKED_AT = 512 * 1024
"""Bytes of held-out rows that are read: hundreds of questions."""


@dataclass(frozen=True)
class HeldOutQuestion:
    """The first question of a held-out row.

    Attributes:
        expected: the answer that the row has.
        system: the row's system message, or "".
    """

    question: str
    expected: str
    system: str = ""


def questions(run: Path) -> list[HeldOutQuestion]:
    """Those of the first held-out rows, in the order of the file, each once; none where the run kept no such rows or
    they can't be read."""
    try:
        rows = run_rows.head(run, run_rows.EVALUATION, LOOKED_AT)
    except UserError:
        return []
    return list(dict.fromkeys(found for row in rows if (found := _first_question(row)) is not None))


def _first_question(row: Record) -> HeldOutQuestion | None:
    """None where a chat can't ask what the row asks, as of plain text and of rows with tools, and where the row only
    has an answer that is bad."""
    said = {message["role"]: str(message["content"]) for message in reversed(row.messages)}  # the first of each role
    if row.has_tools or row.desirable is False or not {"user", "assistant"} <= said.keys():
        return None
    return HeldOutQuestion(said["user"], said["assistant"], said.get("system", ""))
