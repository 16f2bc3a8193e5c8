"""References of an evaluated row changed, or the row taken out: in the test file, in the evaluation, and in its scores;
and back again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.evaluation import items_file, scoring
from slmstudio.core.evaluation.answer_rows import ITEMS
from slmstudio.core.evaluation.testset import file_edits
from slmstudio.core.evaluation.testset.file_edits import Edited
from slmstudio.core.evaluation.testset.item import TestItem, TestSet
from slmstudio.core.evaluation.testset.reader import read_test_set

Line = dict[str, Any]
Contents = dict[Path, bytes]
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
        unscored: why the scores are still those from before the change; None where they are new.
    """

    folder: Path
    item: int
    test: Edited
    row: tuple[int, Line]
    others: dict[str, list[tuple[int, Line]]] = field(default_factory=dict)
    lines: dict[int, int | None] = field(default_factory=dict)
    unscored: UserError | None = None


def set_references(job_folder: Path, item: int, references: Sequence[str]) -> ItemEdit:
    """Write a row's references in place of those it has, and score it again. What was found out with the old ones is
    forgotten: how likely a model held them, so that the row counts no more in the loss, and what a judge said who had
    read them.

    Args:
        item: the row's id.

    Raises:
        UserError: the evaluation is at work or has no such row; or the test file has changed since, or cannot be
            written, or the references cannot be used (`test_set_edits.set_references`). Nothing is changed then.
    """
    rows, place, test, of_file = _found(job_folder, item)
    edited = file_edits.set_references(test, of_file, references)

    def change() -> tuple[ItemEdit, Contents]:
        read = read_test_set(test.path)
        moved = file_edits.moved(test, read)
        after = next(each for each in read.items if each.line == moved[of_file.line])
        new = [{**row, **{name: after.to_dict()[name] for name in OF_THE_FILE}} if row["id"] == item else row
               for row in rows]
        others, contents = _without_verdicts(job_folder, item)
        for path in sorted(job_folder.glob("answers-*.jsonl")):
            others[path.name], contents[path] = _edit_lines(path, item, lambda line: {**line, **UNKNOWN})
        edit = ItemEdit(job_folder, item, edited, (place, rows[place]), others, _places(rows, item))
        return edit, {job_folder / ITEMS: _as_bytes(_renumbered(new, moved)), **contents}

    return _carried_out(job_folder, test, edited, change)


def remove(job_folder: Path, item: int) -> ItemEdit:
    """Take a row out of the test file and out of the evaluation, with what a judge said of it, and score the others.

    Raises:
        UserError: as `set_references`; or it is the only row.
    """
    rows, place, test, of_file = _found(job_folder, item)
    if len(rows) < 2:
        raise UserError("The row was not removed.", "It is the only one of this evaluation.", "")
    edited = file_edits.remove(test, of_file)

    def change() -> tuple[ItemEdit, Contents]:
        moved = file_edits.moved(test, read_test_set(test.path), of_file)
        kept = [row for row in rows if row["id"] != item]
        others, contents = _without_verdicts(job_folder, item)
        edit = ItemEdit(job_folder, item, edited, (place, rows[place]), others, _places(rows, item))
        return edit, {job_folder / ITEMS: _as_bytes(_renumbered(kept, moved)), **contents}

    return _carried_out(job_folder, test, edited, change)


def undo(edit: ItemEdit) -> UserError | None:
    """Put back what was there, in the test file too.

    Returns:
        why the scores are still those from before; None where they are new.

    Raises:
        UserError: the test file has changed since, the evaluation is at work, or one of them cannot be written.
            Nothing is changed then.
    """
    _must_be_still(edit.folder)
    try:
        rows = [{**row, "line": edit.lines.get(row["id"], row.get("line"))} for row in _lines(edit.folder / ITEMS)
                if row.get("id") != edit.item]
        place, row = edit.row
        contents = {edit.folder / ITEMS: _as_bytes([*rows[:place], row, *rows[place:]])}
        contents |= {edit.folder / name: _put_back(edit.folder / name, lines) for name, lines in edit.others.items()}
        contents |= items_file.edited(edit.folder, edit.test.sha256, hashlib.sha256(edit.test.before).hexdigest())
        before = write_all(contents)
        try:
            file_edits.undo(edit.test)
        except UserError:
            write_all(before)
            raise
    except OSError as error:
        raise from_os_error(error, "undo the change") from error
    return score_again(edit.folder)


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


def _carried_out(job_folder: Path, test: TestSet, edited: Edited,
                 change: Callable[[], tuple[ItemEdit, Contents]]) -> ItemEdit:
    """Change the evaluation as its test file was changed; where that fails, all files are as they were."""
    try:
        edit, contents = change()
        write_all(contents | items_file.edited(job_folder, test.sha256, edited.sha256))
    except Exception as error:
        file_edits.undo(edited)
        if isinstance(error, OSError):
            raise from_os_error(error, "change the row") from error
        raise
    return replace(edit, unscored=score_again(job_folder))


def score_again(job_folder: Path) -> UserError | None:
    """Score again, where there are scores. The change is made by now, and can be undone: that it could not be scored
    must not hide it.

    Returns:
        why the scores are still those from before; None where they are new.
    """
    try:
        if (job_folder / scoring.SCORES).is_file():
            scoring.score(job_folder)
    except UserError as error:
        return error
    except OSError as error:
        return from_os_error(error, "score the answers")
    return None


def write_all(contents: Contents) -> Contents:
    """Write several files, or none of them. All lie beside their places before the first is renamed: that the disk is
    full is known by then.

    Returns:
        what they held before.
    """
    before = {path: path.read_bytes() for path in contents}
    partials = {path: path.with_name(f".{path.name}.new") for path in contents}
    try:
        for path, partial in partials.items():
            files.write_atomically(partial, contents[path])
        with ExitStack() as back:
            for path, partial in partials.items():
                os.replace(partial, path)
                back.callback(files.write_atomically, path, before[path])
            back.pop_all()
        for folder in {path.parent for path in contents}:
            files.fsync_folder(folder)
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
    return before


def _renumbered(rows: list[Line], moved: dict[int, int]) -> list[Line]:
    return [{**row, "line": moved.get(row.get("line") or 0, row.get("line"))} for row in rows]


def _places(rows: list[Line], item: int) -> dict[int, int | None]:
    return {row["id"]: row.get("line") for row in rows if row["id"] != item}


def _lines(path: Path) -> list[Line]:
    return list(files.LineReader(path).read())


def _as_bytes(lines: list[Line]) -> bytes:
    return b"".join(map(files.dump_line, lines))


def _without_verdicts(job_folder: Path, item: int) -> tuple[dict[str, list[tuple[int, Line]]], Contents]:
    """What a judge said of a row, and the judge's file without it."""
    path = job_folder / scoring.JUDGE
    if not path.is_file():
        return {}, {}
    found, content = _edit_lines(path, item, None)
    return {path.name: found}, {path: content}


def _edit_lines(path: Path, item: int, change: Callable[[Line], Line] | None) -> tuple[list[tuple[int, Line]], bytes]:
    """Change the lines of a row, or with None leave them out. Returns them as they were, each with its place, and the
    file's new content."""
    lines = _lines(path)
    found = [(at, line) for at, line in enumerate(lines) if line.get("id") == item]
    new = [line if line.get("id") != item else change(line) if change else None for line in lines]
    return found, _as_bytes([line for line in new if line is not None])


def _put_back(path: Path, found: list[tuple[int, Line]]) -> bytes:
    """The file's content with the lines as they were."""
    item = found[0][1].get("id") if found else None
    lines = [line for line in _lines(path) if not found or line.get("id") != item]
    for at, line in found:
        lines.insert(at, line)
    return _as_bytes(lines)
