"""Category and language of a test row, written where they belong: into the evaluation, and into the test file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.evaluation import items_file
from slmstudio.core.evaluation.answer_rows import ITEMS
from slmstudio.core.evaluation.item_edits import Contents, score_again, write_all
from slmstudio.core.evaluation.testset import file_edits
from slmstudio.core.evaluation.testset.file_edits import Edited
from slmstudio.core.evaluation.testset.reader import read_test_set


@dataclass(frozen=True)
class Tagged:
    """A row that has other tags now.

    Attributes:
        in_file: whether it has them in the test file too. A file that has changed since, or cannot be written, stays as
            it is.
        unscored: why the scores are still those from before; None where they are new.
    """

    in_file: bool
    unscored: UserError | None = None


@dataclass(frozen=True)
class _InFile:
    """What became of the test file.

    Attributes:
        moved: on which line each row is now.
        about: what items.json says from now on.
    """

    edited: Edited
    moved: dict[int, int] = field(default_factory=dict)
    about: Contents = field(default_factory=dict)


def set_tags(job_folder: Path, item: int, category: str, language: str) -> Tagged:
    """Tag a row of an evaluation anew, and score it again: scores are told apart by category and language.

    Args:
        item: the row's id.
        category, language: "" takes the tag away.

    Raises:
        UserError: the evaluation is at work, has no such row, or cannot be written. Nothing is changed then.
    """
    if jobs.Job(job_folder).is_alive():
        raise UserError("The row was not changed.", "The evaluation is at work.", "Wait until it is done.")
    tags = {"category": category or None, "language": language or None}
    try:
        lines = list(files.LineReader(job_folder / ITEMS).read())
        row = next((line for line in lines if line.get("id") == item), None)
        if row is None:
            raise UserError("The row was not changed.", f"{job_folder.name} has no row {item}.", "Evaluate again.")
        in_file = _write_test_file(job_folder, row, category, language)
        row |= {**tags, "language_guessed": False}
        try:
            moved, about = (in_file.moved, in_file.about) if in_file else ({}, {})
            write_all({job_folder / ITEMS: b"".join(files.dump_line(
                {**line, "line": moved.get(line.get("line") or 0, line.get("line"))}) for line in lines), **about})
        except OSError:
            if in_file:
                file_edits.undo(in_file.edited)
            raise
    except OSError as error:
        raise from_os_error(error, "change the row") from error
    return Tagged(in_file is not None, score_again(job_folder))


def _write_test_file(job_folder: Path, row: dict[str, Any], category: str, language: str) -> _InFile | None:
    """Returns None where the test file stays as it is."""
    request = files.read_json(job_folder / jobs.REQUEST) or {}
    test = request.get("test")
    if not isinstance(test, str) or test == request.get("train_file"):
        return None
    try:
        found = read_test_set(Path(test))
        item = next((each for each in found.items
                     if each.line == row.get("line") and each.messages == tuple(row.get("messages") or ())), None)
        if item is None:
            return None
        edited = file_edits.set_tags(found, item, category=category, language=language)
        try:
            return _InFile(edited, file_edits.moved(found, read_test_set(found.path)),
                           items_file.edited(job_folder, found.sha256, edited.sha256))
        except Exception:
            file_edits.undo(edited)
            raise
    except UserError:
        return None
