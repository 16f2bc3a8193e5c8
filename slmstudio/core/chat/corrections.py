"""Answers that a user corrected, as rows of datasets and of test sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slmstudio.core.chat.partners import train_file
from slmstudio.core.data.versions.appending import Added, NewRow, append, find_twin, undo
from slmstudio.core.errors import UserError

NOTHING: Mapping[Path, str] = {}


@dataclass(frozen=True)
class Learned:
    """Where a model has learned a question.

    Attributes:
        line: of the file, from 1.
        same_answer: whether the answer is the same too.
    """

    file: Path
    line: int
    same_answer: bool


def learned_by(models: Sequence[Path], row: NewRow,
               cancelled: Callable[[], bool] | None = None) -> tuple[Learned | None, str]:
    """Whether one of the GGUF files comes of a run that has learned what `row` asks.

    Returns:
        where, or None; and what hindered looking it up, as a file that is gone, or "".
    """
    hindered = ""
    for file, said in dict.fromkeys(filter(None, map(train_file, models))):
        try:
            twin = find_twin(file, row, cancelled, said)
        except UserError as error:
            hindered = error.what
            continue
        if twin is not None:
            return Learned(file, twin.line, twin.same_answer), ""
    return None, hindered


def add_all(wanted: Sequence[tuple[Path, NewRow]], cancelled: Callable[[], bool] | None = None,
            said: Mapping[Path, str] = NOTHING) -> list[Added]:
    """Add each row to its file: all, or none.

    Args:
        said: what the columns of files hold, where a user chose that.

    Raises:
        UserError: one can't be added.
    """
    added: list[Added] = []
    try:
        for path, row in wanted:
            added.append(append(path, row, cancelled, said.get(path) or None))
    except BaseException:
        undo_all(added)
        raise
    return added


def undo_all(added: Sequence[Added]) -> None:
    """Take rows back, the last one first. Raises UserError: one is no longer the last of its file."""
    for each in reversed(added):
        undo(each)
