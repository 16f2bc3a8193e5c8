"""Reads a test set: every usable row, and everything that is wrong with the others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from slmstudio.core.data.column_names import column
from slmstudio.core.data.jsonl import as_row
from slmstudio.core.data.mapping.mapper import Mapper
from slmstudio.core.data.opening import NO_CHOICES, Choices, DataFile
from slmstudio.core.data.reader import sampled
from slmstudio.core.data.record import Record
from slmstudio.core.data.rows import ColumnsMissing, RowError
from slmstudio.core.data.source import ReadingCancelled
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.evaluation.testset import multiple_choice
from slmstudio.core.evaluation.testset.drafts import Drafts
from slmstudio.core.evaluation.testset.item import TestItem, TestSet

__all__ = ["ReadingCancelled", "TestItem", "TestSet", "read_test_set"]

IN_JSON = '{"question": "What is the capital of Kerala?", "answer": "Thiruvananthapuram."}'
REMEDY = f"A row looks like this, on one line: {IN_JSON}"
CHOOSE = "Choose a file with questions and their answers: JSONL, JSON, CSV, Excel or Parquet."
TEXTS = ("text", "markdown", "pdf", "docx")


def read_test_set(path: str | Path, progress: Callable[[int, int], None] | None = None,
                  cancelled: Callable[[], bool] | None = None, choices: Choices = NO_CHOICES) -> TestSet:
    """Read test rows from any file of rows that `core.data.opening` opens. What a row is, is found by its columns:

    - multiple choice: "choices" (a list, {"A": text, ...}, or ARC's {"text": [], "label": []}) or columns "A", "B",
      "C" ...; "answer" names the right one by its letter, its index from 0 (or from 1, where the
      file shows that), or its text. A table without column names may have MMLU's: question, A, B, C, D, answer;
    - a pattern: "pattern" or "regex", found anywhere in an answer;
    - several references: "references" or "answers", a list; or a list as "answer";
    - exact: "exact" or "expected", which an answer must equal;
    - a number: an answer that ends with "#### 42"; or a file whose answers are numbers, nearly all;
    - free: question and answer, in every shape that `core.data.mapping` reads.

    "kind" may say it instead. "system", "context", "category" (or "subject") and "language" may stand beside. Columns
    may be named in other languages (`column_names`). What was made of nothing is told in the notes. Without a column
    the language is guessed by the script.

    Args:
        path: the file.
        progress: called with (bytes read, bytes in all) about every MB.
        cancelled: asked about every MB; True ends the reading.
        choices: which sheet is read.

    Raises:
        UserError: nothing can be used: no such file, no permission, empty, binary, damaged, changed while it
            was read, or no usable row (then with the problems of all rows).
        ReadingCancelled: `cancelled` said so.
    """
    file = DataFile(Path(path), choices, progress, cancelled)
    drafts = _collect(file)
    if drafts is None:
        raise UserError(f"{file.path.name} does not fit into memory.", f"It has {file.size:,} bytes.",
                        "Close other programs, or split the file.")
    items, problems, notes = drafts.finish()
    if not items:
        raise _nothing_usable(file, problems)
    return TestSet(file.path, items, problems, file.sha256, drafts.kinds, notes)


def _collect(file: DataFile) -> Drafts | None:
    """The file's rows, or None where memory ran out; they are let go then, which an error's traceback would prevent."""
    drafts = Drafts()
    try:
        for part in file.parts():
            rows = 0
            mapper, everything = sampled(part, None)
            for raw in everything:
                rows += 1
                if raw.problem is not None:
                    drafts.problems.append(raw.problem)
                elif part.format not in TEXTS:
                    drafts.add(_filled(raw.value) if part.columns else raw.value, raw.line, partial(_learned, mapper))
            drafts.notes += part.notes
            if part.format in TEXTS and rows:
                raise UserError(f"{file.path.name} is plain text.", "A test set needs questions with their answers.",
                                CHOOSE)
    except MemoryError:
        return None
    return drafts


def _learned(mapper: Mapper, value: Any) -> list[Any]:
    """What training makes of a row, in the columns of which each layout has its own; nothing where it learns text."""
    with contextlib.suppress(RowError, ColumnsMissing):
        return [as_row(Record(row.messages, 0, row.rejected, row.desirable, tools=row.tools))
                for row in mapper.read(value) if row.text is None and row.desirable is not False]
    return []


def _filled(row: dict[str, Any]) -> dict[str, Any]:
    """A table's row without its blank cells, but for those that are missing where something must be."""
    return {name: cell for name, cell in row.items() if cell.strip() or _stays(name)}


@lru_cache(maxsize=1024)
def _stays(name: str) -> bool:
    """Whether a blank cell says something: that a question is missing, or a choice among others."""
    known = column(name)
    return known in ("question", "answer") or multiple_choice.is_choice_column(known)


def _nothing_usable(file: DataFile, problems: list[Problem]) -> UserError:
    name = file.path.name
    if file.size == 0:
        return UserError(f"The test set {name} is empty.", "It has 0 bytes.", CHOOSE)
    if not problems:
        return UserError(f"The test set {name} is empty.", "It holds no rows.", CHOOSE)
    what = f"{name} has no row that can be used for a test."
    first = str(problems[0])
    if len(problems) > 1:
        return UserError(what, f"There are {len(problems):,} problems; the first: {first}", REMEDY, problems)
    return UserError(what, first[0].upper() + first[1:], REMEDY, problems)
