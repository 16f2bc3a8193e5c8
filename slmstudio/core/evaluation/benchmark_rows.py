"""The questions of a benchmark with what each model chose, as rows like those of a test set.

    benchmark-rows.jsonl    {"id", "subject", "question", "choices", "right": each right answer,
                             "answers": {model: chosen}, "scores": {model: 0 to 1}}, a line a question

Written whole when the benchmark ends, from the same samples as its scores.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.evaluation.answer_rows import ITEMS, Row
from slmstudio.core.i18n import tr

FILE = "benchmark-rows.jsonl"
METRIC = "accuracy"


def shows(folder: Path) -> bool:
    """Whether a job's rows are those of a benchmark; those of a test set come first, as its scores do."""
    return (folder / FILE).is_file() and not (folder / ITEMS).is_file()


def read(folder: Path, progress: Callable[[int, int], None] | None = None) -> list[Row]:
    """All questions, in the benchmark's order.

    Args:
        progress: called with (questions read, questions) now and then; what it raises ends the reading.

    Raises:
        UserError: there are none, or the file can't be read.
    """
    with os_errors_as(tr("Could not read the benchmark's answers.")):
        lines = list(files.LineReader(folder / FILE).read())
    rows: list[Row] = []
    for done, line in enumerate(lines):
        if progress and done % 256 == 0:
            progress(done, len(lines))
        if (row := _row(line)) is not None:
            rows.append(row)
    if not rows:
        raise UserError(tr("{folder} has no answers to a benchmark.", folder=folder.name),
                        tr("They are written when a benchmark ends; older versions didn't do that.") if not lines else
                        tr("{file} is damaged.", file=FILE), tr("Run the benchmark again."))
    return rows


def _row(line: dict[str, Any]) -> Row | None:
    """None for a damaged line."""
    answers, scores = line.get("answers"), line.get("scores")
    if not isinstance(line.get("id"), int) or not isinstance(answers, dict) or not isinstance(scores, dict):
        return None
    right, subject = line.get("right"), line.get("subject")
    return Row(line["id"], None, "choice" if line.get("choices") else "free",
               [{"role": "user", "content": str(line.get("question") or "")}],
               [str(each) for each in right] if isinstance(right, list) else [],
               str(subject) if subject else None, None, False,
               {str(name): str(text) for name, text in answers.items()},
               {str(name): {METRIC: 100.0 * value} for name, value in scores.items()
                if isinstance(value, int | float) and not isinstance(value, bool)})
