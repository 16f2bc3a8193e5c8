"""Reads a dataset: every usable row, and everything that is wrong with the others."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from slmstudio.core.data.collector import Rows
from slmstudio.core.data.record import Record
from slmstudio.core.data.row_texts import cut, paragraphs
from slmstudio.core.data.source import CHOOSE, ReadingCancelled, Source
from slmstudio.core.errors import Problem, UserError

__all__ = ["Dataset", "ReadingCancelled", "Record", "read_dataset"]

EXAMPLE = '{"instruction": "What is the capital of Kerala?", "output": "Thiruvananthapuram."}'
REMEDY = f"A row looks like this, on one line: {EXAMPLE}"
AS_UTF8 = "Save it as text in UTF-8, in paragraphs of less than 16 MB, and open it again."
TEXT_SUFFIXES = (".txt", ".md")
JSON_BEGINS = re.compile(rb'\s*(\[\s*)?\{\s*"')
"""Text files that begin so are JSON by another name: brackets and keys are nothing to learn."""


@dataclass
class Dataset:
    """What a file holds.

    Attributes:
        path: the file.
        layout: "instruction", "messages", or "mixed" where it has rows of both; "preference", "labelled" or "text".
        encoding: "UTF-8", "UTF-8 with BOM", "UTF-16 LE" or "UTF-16 BE".
        records: the usable rows, in the file's order.
        problems: everything that is wrong with the other rows, by line. The column of a UTF-8 fault counts bytes.
        sha256: of the file's bytes, in hexadecimal.
        bytes: size of the file.
        unused: names of the columns that usable rows have beside the ones read ("id", "messages.weight"), sorted.
    """

    path: Path
    layout: str
    encoding: str
    records: list[Record]
    problems: list[Problem]
    sha256: str
    bytes: int
    unused: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem


def read_dataset(path: str | Path, progress: Callable[[int, int], None] | None = None,
                 cancelled: Callable[[], bool] | None = None) -> Dataset:
    """Read JSONL, or one JSON array, of rows; or a text file (.txt, .md), of which each paragraph is a row.

    Rows are, where MESSAGES is [{"role": ..., "content": text}, ...]:

    - {"instruction": text, "input": text (may be absent), "output": text}, {"question": text, "answer": text},
      {"messages": MESSAGES}, {"prompt": text or MESSAGES, "completion": text or MESSAGES}: chat rows;
    - {"prompt": text or MESSAGES, "chosen": text or MESSAGES, "rejected": text or MESSAGES}: preference pairs. "prompt"
      may be called "question", or "instruction" with "input"; it may be missing where both are whole conversations;
    - {"prompt": ..., "completion": ..., "label": true, false, 1 or 0}: labelled rows;
    - {"text": text}: plain text.

    "system" may stand beside all but "messages" and "text". Rows of another kind than most are problems. Memory beyond
    the records stays below about 100 MB, however long a line is; a row may have 16 MB.

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
    rows = _collect(source)
    if rows is None:
        raise UserError(f"{source.path.name} does not fit into memory.", f"It has {source.size:,} bytes.",
                        "Close other programs, or split the file.")
    problems = rows.all_problems()
    if not rows.records:
        raise _nothing_usable(source, problems)
    return Dataset(source.path, rows.layout, source.encoding, rows.records, problems, source.sha256, source.size,
                   rows.unused)


def _collect(source: Source) -> Rows | None:
    """The file's rows, or None where memory ran out; they are let go then, which an error's traceback would prevent."""
    try:
        rows = Rows()
        chunks = source.chunks()
        first = next(chunks, b"")
        plain = source.path.suffix.lower() in TEXT_SUFFIXES and not JSON_BEGINS.match(first)
        everything = chain([first], chunks)
        for piece in paragraphs(everything) if plain else cut(everything):
            rows.add_text(piece) if plain else rows.add(piece)
        return rows
    except MemoryError:
        return None


def _nothing_usable(source: Source, problems: list[Problem]) -> UserError:
    name = source.path.name
    if source.size == 0:
        return UserError(f"{name} is empty.", "It has 0 bytes.", CHOOSE)
    if not problems:
        return UserError(f"{name} holds no rows.", "There is nothing in it but blanks or an empty list.", CHOOSE)
    if source.path.suffix.lower() in (".csv", ".tsv"):
        return UserError(f"{name} is a table, not JSONL.", "CSV and TSV files are not read yet.",
                         f"Save it as JSONL. {REMEDY}", problems)
    what = f"{name} has no row that can be used."
    remedy = AS_UTF8 if source.path.suffix.lower() in TEXT_SUFFIXES else REMEDY
    first = str(problems[0])
    if len(problems) > 1:
        return UserError(what, f"There are {len(problems):,} problems; the first: {first}", remedy, problems)
    return UserError(what, first[0].upper() + first[1:], remedy, problems)
