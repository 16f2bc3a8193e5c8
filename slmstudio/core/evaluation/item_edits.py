"""References of an evaluated row changed, or the row taken out: in the test file, in the evaluation, and in its scores;
and back again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.evaluation import scoring, test_set_edits
from slmstudio.core.evaluation.answer_rows import ITEMS
from slmstudio.core.evaluation.test_item import TestItem, TestSet
from slmstudio.core.evaluation.test_set_edits import Edited
from slmstudio.core.evaluation.test_sets import read_test_set

Line = dict[str, Any]
OF_THE_FILE = ("kind", "references", "choices", "answer", "pattern")
"""What an item has from its row of the test file, and no tag."""
UNKNOWN: Line = {"reference_nats": [], "reference_tokens": []}
"""How likely a model held a reference that nobody has asked it about."""


@dataclass(frozen=True)
class ItemEdit:
    """A change that was made.

    Attributes:
        folder: of the evaluation.
        item: the row's id.
        test: what became of the test file.
        row: the row as it was, and its place among the others.
        others: for each file beside items.jsonl, the lines that were changed or taken out, each with its place.
        lines: for each other row, by its id, on which line of the test file it was.
    """

    folder: Path
    item: int
    test: Edited
    row: tuple[int, Line]
    others: dict[str, list[tuple[int, Line]]] = field(default_factory=dict)
    lines: dict[int, int | None] = field(default_factory=dict)


def set_references(job_folder: Path, item: int, references: Sequence[str]) -> ItemEdit:
    """Write a row's references in place of those it has, and score it again. How likely a model held the old ones is
    forgotten: that row counts no more in the loss.

    Args:
        item: the row's id.

    Raises:
        UserError: the evaluation is at work or has no such row; or the test file has changed since, or cannot be
            written, or the references cannot be used (`test_set_edits.set_references`). Nothing is changed then.
    """
    rows, place, test, of_file = _found(job_folder, item)
    edited = test_set_edits.set_references(test, of_file, references)

    def change() -> ItemEdit:
        after = next(each for each in read_test_set(test.path).items if each.line == of_file.line)
        row = {**rows[place], **{name: after.to_dict()[name] for name in OF_THE_FILE}}
        others = {path.name: _edit_lines(path, item, lambda line: {**line, **UNKNOWN})
                  for path in job_folder.glob("answers-*.jsonl")}
        _write(job_folder / ITEMS, [*rows[:place], row, *rows[place + 1:]])
        return ItemEdit(job_folder, item, edited, (place, rows[place]), others)

    return _carried_out(job_folder, edited, change)


def remove(job_folder: Path, item: int) -> ItemEdit:
    """Take a row out of the test file and out of the evaluation, with what a judge said of it, and score the others.

    Raises:
        UserError: as `set_references`; or it is the only row.
    """
    rows, place, test, of_file = _found(job_folder, item)
    if len(rows) < 2:
        raise UserError("The row was not removed.", "It is the only one of this evaluation.", "")
    edited = test_set_edits.remove(test, of_file)

    def change() -> ItemEdit:
        left = [each.line for each in test.items if each.line != of_file.line]
        moved = dict(zip(left, (each.line for each in read_test_set(test.path).items), strict=False))
        kept = [row for row in rows if row["id"] != item]
        others = {path.name: _edit_lines(path, item, None) for path in (job_folder / scoring.JUDGE,) if path.is_file()}
        _write(job_folder / ITEMS, [{**row, "line": moved.get(row.get("line") or 0, row.get("line"))} for row in kept])
        return ItemEdit(job_folder, item, edited, (place, rows[place]), others,
                        {row["id"]: row.get("line") for row in kept})

    return _carried_out(job_folder, edited, change)


def undo(edit: ItemEdit) -> None:
    """Put back what was there, in the test file too.

    Raises:
        UserError: the test file has changed since, the evaluation is at work, or one of them cannot be written.
    """
    _must_be_still(edit.folder)
    test_set_edits.undo(edit.test)
    try:
        rows = [{**row, "line": edit.lines.get(row["id"], row.get("line"))} for row in _lines(edit.folder / ITEMS)
                if row.get("id") != edit.item]
        place, row = edit.row
        _write(edit.folder / ITEMS, [*rows[:place], row, *rows[place:]])
        for name, lines in edit.others.items():
            _put_back(edit.folder / name, lines)
    except OSError as error:
        raise from_os_error(error, "undo the change") from error
    _score(edit.folder)


def _found(job_folder: Path, item: int) -> tuple[list[Line], int, TestSet, TestItem]:
    """All rows, the row's place among them, and its place in the test file."""
    _must_be_still(job_folder)
    request = files.read_json(job_folder / jobs.REQUEST) or {}
    rows = _lines(job_folder / ITEMS)
    place = next((at for at, row in enumerate(rows) if row.get("id") == item), None)
    if place is None:
        raise UserError("The row was not changed.", f"{job_folder.name} has no row {item}.", "Evaluate again.")
    test = request.get("test")
    if not isinstance(test, str) or test == request.get("train_file"):
        raise UserError("The row was not changed.", "It is not from a test file of its own.",
                        "Add it to a test set, and change it there.")
    read = read_test_set(Path(test))
    messages = list(rows[place].get("messages") or [])
    asked = (tuple(messages), tuple(messages[1:]))  # with or without the evaluation's system prompt
    of_file = next((each for each in read.items if each.line == rows[place].get("line")
                    and tuple(each.messages) in asked), None)
    if of_file is None:
        raise UserError("The row was not changed.", f"{read.path.name} has another row there now.",
                        "Evaluate again, with the file as it is now.")
    return rows, place, read, of_file


def _must_be_still(job_folder: Path) -> None:
    if jobs.Job(job_folder).is_alive():
        raise UserError("The row was not changed.", "The evaluation is at work.", "Wait until it is done.")


def _carried_out(job_folder: Path, edited: Edited, change: Callable[[], ItemEdit]) -> ItemEdit:
    """Change the evaluation as its test file was changed; where that fails, the file is as it was."""
    try:
        edit = change()
    except (OSError, UserError) as error:
        test_set_edits.undo(edited)
        if isinstance(error, UserError):
            raise
        raise from_os_error(error, "change the row") from error
    _score(job_folder)
    return edit


def _score(job_folder: Path) -> None:
    if (job_folder / scoring.SCORES).is_file():
        scoring.score(job_folder)


def _lines(path: Path) -> list[Line]:
    return list(files.LineReader(path).read())


def _write(path: Path, lines: list[Line]) -> None:
    files.write_atomically(path, b"".join(map(files.dump_line, lines)))


def _edit_lines(path: Path, item: int, change: Callable[[Line], Line] | None) -> list[tuple[int, Line]]:
    """Change the lines of a row, or with None take them out. Returns them as they were, each with its place."""
    lines = _lines(path)
    found = [(at, line) for at, line in enumerate(lines) if line.get("id") == item]
    if found:
        new = [line if line.get("id") != item else change(line) if change else None for line in lines]
        _write(path, [line for line in new if line is not None])
    return found


def _put_back(path: Path, found: list[tuple[int, Line]]) -> None:
    if not found:
        return
    item = found[0][1].get("id")
    lines = [line for line in _lines(path) if line.get("id") != item]
    for at, line in found:
        lines.insert(at, line)
    _write(path, lines)
