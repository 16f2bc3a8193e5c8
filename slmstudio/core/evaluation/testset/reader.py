"""Reads a test set: every usable row, and everything that is wrong with the others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from slmstudio.core.data.opening import TEXT_SUFFIXES
from slmstudio.core.data.row_texts import Piece, cut
from slmstudio.core.data.source import AS_JSONL, ReadingCancelled, Source
from slmstudio.core.data.source import CHOOSE as CHOOSE_DATASET
from slmstudio.core.data.sources.tables import delimiter_of, table_rows
from slmstudio.core.data.strict_json import NotJson, parse
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.evaluation.testset.drafts import Drafts
from slmstudio.core.evaluation.testset.header import NoColumns, named_columns
from slmstudio.core.evaluation.testset.item import TestItem, TestSet

__all__ = ["ReadingCancelled", "TestItem", "TestSet", "read_test_set"]

TABLE_SUFFIXES = (".csv", ".tsv", ".tab")
JSON_BEGINS = re.compile(rb'\s*(\[\s*)*(\{|\]\s*$)')
IN_JSON = '{"question": "What is the capital of Kerala?", "answer": "Thiruvananthapuram."}'
REMEDY = f"A row looks like this, on one line: {IN_JSON}"
CHOOSE = "Choose a file with questions and their answers: JSONL, CSV or TSV."
REMEDIES = {AS_JSONL: "Save it as CSV (UTF-8) or JSONL, and open that file.", CHOOSE_DATASET: CHOOSE}
"""What to do with files that are no text: tables can be read here, but not as datasets."""


def read_test_set(path: str | Path, progress: Callable[[int, int], None] | None = None,
                  cancelled: Callable[[], bool] | None = None) -> TestSet:
    """Read JSONL, one JSON array, CSV or TSV of test rows. What a row is, is found by its columns:

    - multiple choice: "choices" (a list, {"A": text, ...}, or ARC's {"text": [], "label": []}) or columns "A", "B",
      "C" ...; "answer" names the right one by its letter, its index from 0 (or from 1, where the
      file shows that), or its text. A table without column names may have MMLU's: question, A, B, C, D, answer;
    - a pattern: "pattern" or "regex", found anywhere in an answer;
    - several references: "references" or "answers", a list; or a list as "answer";
    - exact: "exact" or "expected", which an answer must equal;
    - a number: an answer that ends with "#### 42"; or a file whose answers are numbers, nearly all;
    - free: every layout of question and answer that `core.data.reader` reads.

    "kind" may say it instead. "system", "context", "category" (or "subject") and "language" may stand beside. Columns
    may be named in other languages (`column_words`). What was made of nothing is told in the notes. Without a column
    the language is guessed by the script. Memory beyond the items stays below about 100 MB, however long a line is.

    Args:
        path: the file.
        progress: called with (bytes read, bytes in all) about every MB.
        cancelled: asked about every MB; True ends the reading.

    Raises:
        UserError: nothing can be used: no such file, a folder, no permission, empty, binary, changed while it
            was read, or no usable row (then with the problems of all rows).
        ReadingCancelled: `cancelled` said so.
    """
    source = Source(Path(path), progress, cancelled)
    drafts = _collect(source)
    if drafts is None:
        raise UserError(f"{source.path.name} does not fit into memory.", f"It has {source.size:,} bytes.",
                        "Close other programs, or split the file.")
    items, problems, notes = drafts.finish()
    if not items:
        raise _nothing_usable(source, problems)
    return TestSet(source.path, items, problems, source.sha256, drafts.kinds, notes)


def read_table_into(drafts: Drafts, chunks: Iterator[bytes], suffix: str) -> None:
    """Read a table's rows.

    Raises:
        NoColumns: it has no column names, and its columns do not tell what they are; the file is read to its end.
    """
    first = next(chunks, b"")
    try:
        for row in named_columns(table_rows(chain([first], chunks), delimiter_for(suffix, first)), drafts.notes):
            if row.trouble:
                drafts.problems.append(row.trouble)
            else:
                drafts.add(row.columns, row.line)
    except NoColumns:
        for _ in chunks:  # the checksum is that of the whole file
            pass
        raise


def delimiter_for(suffix: str, first: bytes) -> str:
    """What parts a table's columns, by its name's ending and the beginning of its text."""
    return "\t" if suffix in (".tsv", ".tab") else delimiter_of(first)


def _collect(source: Source) -> Drafts | None:
    """The file's rows, or None where memory ran out; they are let go then, which an error's traceback would prevent."""
    suffix = source.path.suffix.lower()
    try:
        chunks = source.chunks()
        first = next(chunks, b"")
        if suffix in TEXT_SUFFIXES and first.strip() and not JSON_BEGINS.match(first):
            raise UserError(f"{source.path.name} is plain text.", "A test set needs questions with their answers.",
                            CHOOSE)
        return _fill(Drafts(), chain([first], chunks), suffix)
    except MemoryError:
        return None
    except NoColumns as error:
        raise UserError(f"The columns of {source.path.name} have no names.", error.why, error.remedy) from None
    except UserError as error:
        error.remedy = REMEDIES.get(error.remedy, error.remedy)
        raise


def _fill(drafts: Drafts, chunks: Iterator[bytes], suffix: str) -> Drafts:
    """Take the rows of a file."""
    first = next(chunks, b"")
    everything = chain([first], chunks)
    if suffix in TABLE_SUFFIXES and not JSON_BEGINS.match(first):
        read_table_into(drafts, everything, suffix)
    else:
        for piece in cut(everything):
            _add_json(drafts, piece)
    return drafts


def _add_json(drafts: Drafts, piece: Piece) -> None:
    """Take the JSON value of one row."""
    if piece.trouble:
        drafts.problems.append(Problem(piece.trouble, piece.line))
        return
    try:
        value = parse(piece.text)
    except NotJson as error:
        column = error.column
        if column is not None and error.line == 1:
            column += piece.column - 1
        drafts.problems.append(Problem(error.reason, piece.line + error.line - 1, column, error.key))
    else:
        drafts.add(value, piece.line)


def _nothing_usable(source: Source, problems: list[Problem]) -> UserError:
    name = source.path.name
    if source.size == 0:
        return UserError(f"The test set {name} is empty.", "It has 0 bytes.", CHOOSE)
    if not problems:
        return UserError(f"The test set {name} is empty.", "It holds no rows.", CHOOSE)
    what = f"{name} has no row that can be used for a test."
    first = str(problems[0])
    if len(problems) > 1:
        return UserError(what, f"There are {len(problems):,} problems; the first: {first}", REMEDY, problems)
    return UserError(what, first[0].upper() + first[1:], REMEDY, problems)
