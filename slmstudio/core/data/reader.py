"""Reads a dataset: every usable row as messages, and everything that is wrong with the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slmstudio.core.data.pieces import Piece, cut
from slmstudio.core.data.rows import ColumnsMissing, Messages, RowError, read_row, unused_keys
from slmstudio.core.data.source import CHOOSE, ReadingCancelled, Source
from slmstudio.core.data.strict_json import NotJson, parse, printable
from slmstudio.core.errors import Problem, UserError

__all__ = ["Dataset", "ReadingCancelled", "Record", "read_dataset"]

EXAMPLE = '{"instruction": "What is the capital of Kerala?", "output": "Thiruvananthapuram."}'
REMEDY = f"A row looks like this, on one line: {EXAMPLE}"


@dataclass(frozen=True, slots=True)
class Record:
    """One row, as a conversation.

    Attributes:
        messages: each {"role": "system" | "user" | "assistant", "content": text}; an optional system message,
            then user and assistant in turns; the last is the assistant's.
        line: 1-based line of the file where the row begins.
    """

    messages: Messages
    line: int

    @property
    def prompt(self) -> tuple[str, ...]:
        """What the first answer answers: the system message, if there is one, and the first user message."""
        contents = []
        for message in self.messages:
            if message["role"] == "assistant":
                break
            contents.append(message["content"])
        return tuple(contents)


@dataclass
class Dataset:
    """What a file holds.

    Attributes:
        path: the file.
        layout: "instruction", "messages", or "mixed" where it has rows of both.
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
    """Read JSONL, or one JSON array, of instruction rows or conversations.

    Rows are {"instruction": text, "input": text (may be absent), "output": text} or
    {"messages": [{"role": ..., "content": text}, ...]}. Memory beyond the records stays below about 100 MB,
    however long a line is; a row may have 16 MB.

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
    return Dataset(source.path, rows.layouts.pop() if len(rows.layouts) == 1 else "mixed", source.encoding,
                   rows.records, problems, source.sha256, source.size, tuple(sorted(rows.unused)))


def _collect(source: Source) -> _Rows | None:
    """The file's rows, or None where memory ran out; they are let go then, which an error's traceback would prevent."""
    try:
        rows = _Rows()
        for piece in cut(source.chunks()):
            rows.add(piece)
        return rows
    except MemoryError:
        return None


class _Rows:
    """Collects records and problems."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.layouts: set[str] = set()
        self.unused: set[str] = set()
        self._problems: list[Problem] = []
        self._other_columns: dict[tuple[str, ...], list[int]] = {}  # columns: the lines of the rows that have them
        self._sentences: dict[str, str] = {}

    def add(self, piece: Piece) -> None:
        if piece.trouble:
            self._complain(piece, piece.trouble)
            return
        try:
            value = parse(piece.text)
            layout, messages = read_row(value)
        except NotJson as error:
            column = error.column
            if column is not None and error.line == 1:
                column += piece.column - 1
            self._complain(piece, error.reason, error.line - 1, column, error.key)
        except RowError as error:
            for key, sentence in error.findings:
                self._complain(piece, sentence, field=key or None)
        except ColumnsMissing as error:
            self._other_columns.setdefault(error.columns, []).append(piece.line)
        else:
            self.records.append(Record(messages, piece.line))
            self.layouts.add(layout)
            self.unused.update(map(printable, unused_keys(value, layout)))

    def all_problems(self) -> list[Problem]:
        """Every problem, by line.

        Where no row is usable, the rows with the same wrong columns are one problem: the file needs other
        columns. Beside usable rows, each is a problem of its own.
        """
        found = list(self._problems)
        for columns, lines in self._other_columns.items():
            error = ColumnsMissing(columns)
            sentence = error.sentence()
            if not self.records and len(lines) > 1:
                sentence = f"{sentence[:-1]} ({len(lines):,} rows are like this, lines {lines[0]:,} to {lines[-1]:,})."
                lines = lines[:1]
            found += [Problem(sentence, line, field=error.missing) for line in lines]
        return sorted(found, key=lambda problem: problem.line or 0)

    def _complain(self, piece: Piece, sentence: str, lines_down: int = 0, column: int | None = None,
                  field: str | None = None) -> None:
        # 100,000 rows with one mistake share one sentence.
        shared = self._sentences.setdefault(sentence, sentence)
        self._problems.append(Problem(shared, piece.line + lines_down, column, field))


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
    first = str(problems[0])
    if len(problems) > 1:
        return UserError(what, f"There are {len(problems):,} problems; the first: {first}", REMEDY, problems)
    return UserError(what, first[0].upper() + first[1:], REMEDY, problems)
