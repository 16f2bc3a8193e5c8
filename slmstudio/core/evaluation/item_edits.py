"""Rows of an evaluation corrected, tagged or taken out, and scored again; and back again.

All of it is kept beside the rows (`corrections`). The test file is never written: `export` makes another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError, from_os_error, os_errors_as
from slmstudio.core.evaluation import answer_rows, scoring
from slmstudio.core.evaluation.answer_rows import ITEMS
from slmstudio.core.evaluation.scores.matching import last_number
from slmstudio.core.i18n import tr

OF_A_TEST_FILE = ("kind", "messages", "references", "choices", "answer", "pattern", "category", "language")


@dataclass(frozen=True)
class ItemEdit:
    """A change that was made.

    Attributes:
        item: the row's id; `line`: of the test file, where it came from one.
        change: its name in the evaluation's corrections.
        unscored: why the scores are still those from before the change; None if they are new.
    """

    folder: Path
    item: int
    line: int | None
    change: str
    unscored: UserError | None = None


def set_references(job_folder: Path, item: int, references: Sequence[str]) -> ItemEdit:
    """Give a row other references, and score it again. What was found out with the old ones counts no more: how likely
    a model held them, and what a judge said who had read them.

    Raises:
        UserError: the evaluation is running or has no such row, or the references can't be used, or the change can't
            be written. Nothing is changed then.
    """
    row = _found(job_folder, item)[1]
    what = tr("The reference wasn't changed.")
    if row.get("kind") == "choice":
        raise UserError(what, tr("Its right answer is one of its choices."), tr("Change the choices in the test file."))
    if not references or not all(text.strip() for text in references):
        raise UserError(what, tr("A reference is empty."), tr("Write what a good answer is."))
    if row.get("kind") == "number" and not all(map(last_number, references)):
        raise UserError(what, tr("The answer to this row is a number, and the reference has none."),
                        tr("Write the number."))
    return _changed(job_folder, row, references=list(dict.fromkeys(references)))


def set_tags(job_folder: Path, item: int, category: str, language: str) -> ItemEdit:
    """Give a row another category and language, and score again: scores are told apart by them.

    Args:
        category, language: "" takes the tag away.

    Raises:
        UserError: as `set_references`.
    """
    return _changed(job_folder, _found(job_folder, item)[1], category=category or None, language=language or None)


def remove(job_folder: Path, item: int) -> ItemEdit:
    """Take a row out of the evaluation, with what a judge said about it, and score the others.

    Raises:
        UserError: as `set_references`; or it is the only row.
    """
    rows, row = _found(job_folder, item)
    if len(rows) < 2:
        raise UserError(tr("The row wasn't removed."), tr("It's the only one in this evaluation."), "")
    return _changed(job_folder, row, removed=True)


def undo(edit: ItemEdit) -> UserError | None:
    """Put back what was there.

    Returns:
        why the scores are still those from before; None if they are new.

    Raises:
        UserError: the evaluation is running, or it can't be written.
    """
    _need_ended(edit.folder)
    with os_errors_as(tr("Could not undo the change.")):
        answer_rows.undo_correction(edit.folder, edit.change)
    return _rescore(edit.folder)


def export(job_folder: Path, path: Path) -> int:
    """Write the rows as they are now as a test file (JSON Lines). Returns how many they are.

    Raises:
        UserError: it can't be written.
    """
    system = (files.read_json(job_folder / jobs.REQUEST) or {}).get("system")
    rows = _rows(job_folder)
    with os_errors_as(tr("Could not write the test set.")):
        files.write_atomically(path, b"".join(files.dump_line(_as_asked(row, system)) for row in rows))
    return len(rows)


def _as_asked(row: dict[str, Any], system: str | None) -> dict[str, Any]:
    """A row as a test file has it, without the evaluation's own system prompt."""
    messages = list(row.get("messages") or [])
    if system and messages and messages[0] == {"role": "system", "content": system}:
        messages = messages[1:]
    language = None if row.get("language_guessed") else row.get("language")
    values = {**row, "messages": messages, "language": language}
    if row.get("kind") == "choice":  # a number could be read as counting from 0 or from 1
        values |= {"answer": ascii_uppercase[row["answer"]], "references": None}
    return {name: values[name] for name in OF_A_TEST_FILE if values.get(name) not in (None, [], ())}


def _rows(job_folder: Path) -> list[dict[str, Any]]:
    lines = [line for line in files.LineReader(job_folder / ITEMS).read() if isinstance(line.get("id"), int)]
    return answer_rows.read_corrections(job_folder).applied(lines)


def _found(job_folder: Path, item: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    _need_ended(job_folder)
    rows = _rows(job_folder)
    row = next((row for row in rows if row["id"] == item), None)
    if row is None:
        raise UserError(tr("The row wasn't changed."),
                        tr("{evaluation} has no row {item}.", evaluation=job_folder.name, item=item),
                        tr("Evaluate again."))
    return rows, row


def _need_ended(job_folder: Path) -> None:
    if jobs.Job(job_folder).is_alive():
        raise UserError(tr("The row wasn't changed."), tr("The evaluation is running."), tr("Wait until it's done."))


def _changed(job_folder: Path, row: dict[str, Any], **change: Any) -> ItemEdit:
    with os_errors_as(tr("Could not change the row.")):
        name = answer_rows.add_correction(job_folder, row["id"], **change)
    return ItemEdit(job_folder, row["id"], row.get("line"), name, _rescore(job_folder))


def _rescore(job_folder: Path) -> UserError | None:
    """Score again, where there are scores. The change is made by now, and can be undone: that it couldn't be scored
    must not hide it.

    Returns:
        why the scores are still those from before; None if they are new.
    """
    try:
        if (job_folder / scoring.SCORES).is_file():
            scoring.score(job_folder)
    except UserError as error:
        return error
    except OSError as error:
        return from_os_error(error, tr("Could not score the answers."))
    return None
