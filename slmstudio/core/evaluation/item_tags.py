"""Category and language of a test row, written where they belong: into the evaluation, and into the test file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.evaluation import scoring
from slmstudio.core.evaluation.test_row_kinds import CATEGORIES, LANGUAGES

ITEMS = "items.jsonl"


def set_tags(job_folder: Path, item: int, category: str, language: str) -> bool:
    """Tag a row of an evaluation anew, and score it again: scores are told apart by category and language.

    Args:
        item: the row's id.
        category, language: "" takes the tag away.

    Returns:
        whether the row stands so in the test file too. One that is no JSON lines, or has changed since, stays as it is.

    Raises:
        UserError: the evaluation is at work, has no such row, or cannot be written.
    """
    if jobs.Job(job_folder).is_alive():
        raise UserError("The row was not changed.", "The evaluation is at work.", "Wait until it is done.")
    tags = {"category": category or None, "language": language or None}
    try:
        lines = list(files.LineReader(job_folder / ITEMS).read())
        row = next((line for line in lines if line.get("id") == item), None)
        if row is None:
            raise UserError("The row was not changed.", f"{job_folder.name} has no row {item}.", "Evaluate again.")
        row |= {**tags, "language_guessed": False}
        files.write_atomically(job_folder / ITEMS, b"".join(map(files.dump_line, lines)))
        in_file = _write_test_file(job_folder, row, tags)
    except OSError as error:
        raise from_os_error(error, "change the row") from error
    if (job_folder / scoring.SCORES).is_file():
        scoring.score(job_folder)
    return in_file


def _write_test_file(job_folder: Path, row: dict[str, Any], tags: dict[str, str | None]) -> bool:
    request = files.read_json(job_folder / jobs.REQUEST) or {}
    test, line = request.get("test"), row.get("line")
    if not isinstance(test, str) or not isinstance(line, int) or test == request.get("train_file"):
        return False
    path = Path(test)
    if path.suffix.lower() not in (".jsonl", ".ndjson") or not path.is_file():
        return False
    rows = path.read_bytes().splitlines(keepends=True)
    if not 0 < line <= len(rows):
        return False
    try:
        value = json.loads(rows[line - 1])
    except ValueError:
        return False
    question = row["messages"][-1]["content"] if row.get("messages") else ""
    if not isinstance(value, dict) or question.strip() not in "\n".join(_texts(value)):
        return False
    for names, tag in ((CATEGORIES, tags["category"]), (LANGUAGES, tags["language"])):
        name = next((each for each in names if each in value), names[0])
        value = {key: each for key, each in value.items() if key != name or tag} | ({name: tag} if tag else {})
    end = rows[line - 1][len(rows[line - 1].rstrip(b"\r\n")):]
    rows[line - 1] = json.dumps(value, ensure_ascii=False).encode("utf-8") + end
    files.write_atomically(path, b"".join(rows))
    return True


def _texts(value: Any) -> list[str]:
    """All texts of a JSON value."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in inner for text in _texts(each)]
