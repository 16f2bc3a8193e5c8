"""Collects the rows of a file and what is wrong with them."""

from __future__ import annotations

from slmstudio.core.data import layouts
from slmstudio.core.data.record import Record
from slmstudio.core.data.row_texts import Piece
from slmstudio.core.data.rows import ColumnsMissing, Row, RowError, read_row
from slmstudio.core.data.strict_json import NotJson, decode, parse, printable
from slmstudio.core.errors import Problem


class Rows:
    """The rows of one file, those of each kind apart: the kind with the most rows is the file's."""

    def __init__(self) -> None:
        self._records: dict[str, list[Record]] = {}  # by kind, as are the next two
        self._layouts: dict[str, set[str]] = {}
        self._unused: dict[str, set[str]] = {}
        self._problems: list[Problem] = []
        self._other_columns: dict[tuple[str, ...], list[int]] = {}  # columns: the lines of the rows that have them
        self._sentences: dict[str, str] = {}

    @property
    def kind(self) -> str:
        """The kind of most rows, of two with equally many the one that comes first; "" without any row."""
        return max(self._records, key=lambda kind: len(self._records[kind]), default="")

    @property
    def records(self) -> list[Record]:
        return self._records.get(self.kind, [])

    @property
    def layout(self) -> str:
        found = self._layouts[self.kind]
        return next(iter(found)) if len(found) == 1 else "mixed"

    @property
    def unused(self) -> tuple[str, ...]:
        return tuple(sorted(self._unused[self.kind]))

    def add(self, piece: Piece) -> None:
        """Take the JSON value of one row."""
        if piece.trouble:
            self._complain(piece, piece.trouble)
            return
        try:
            row = read_row(parse(piece.text))
        except NotJson as error:
            self._complain_of_text(piece, error)
        except RowError as error:
            for key, sentence in error.findings:
                self._complain(piece, sentence, field=key or None)
        except ColumnsMissing as error:
            self._other_columns.setdefault(error.columns, []).append(piece.line)
        else:
            self._keep(row, piece.line)

    def add_text(self, piece: Piece) -> None:
        """Take one paragraph of plain text."""
        if piece.trouble:
            self._complain(piece, piece.trouble)
            return
        try:
            text = decode(piece.text).replace("\r\n", "\n")
        except NotJson as error:
            self._complain_of_text(piece, error)
            return
        if "\0" in text:
            self._complain(piece, "NUL bytes stand in this paragraph; the file is damaged at this place.")
        elif not text.isspace():
            self._keep(Row("text", (), text=text), piece.line)

    def _keep(self, row: Row, line: int) -> None:
        kind = layouts.kind(row.layout)
        if kind not in self._records:
            self._records[kind], self._layouts[kind], self._unused[kind] = [], set(), set()
        self._records[kind].append(Record(row.messages, line, row.rejected, row.desirable, row.text))
        self._layouts[kind].add(row.layout)
        if row.unused:
            self._unused[kind].update(map(printable, row.unused))

    def all_problems(self) -> list[Problem]:
        """Every problem, by line.

        Where no row is usable, the rows with the same wrong columns are one problem: the file needs other
        columns. Beside usable rows, each is a problem of its own.
        """
        found = list(self._problems)
        for columns, lines in self._other_columns.items():
            error = ColumnsMissing(columns)
            sentence = error.sentence()
            if not self._records and len(lines) > 1:
                sentence = f"{sentence[:-1]} ({len(lines):,} rows are like this, lines {lines[0]:,} to {lines[-1]:,})."
                lines = lines[:1]
            found += [Problem(sentence, line, field=error.missing) for line in lines]
        for kind, records in self._records.items():
            if kind != self.kind:
                sentence = layouts.stray(kind, self.kind)
                found += [Problem(sentence, record.line) for record in records]
        return sorted(found, key=lambda problem: problem.line or 0)

    def _complain_of_text(self, piece: Piece, error: NotJson) -> None:
        column = error.column
        if column is not None and error.line == 1:
            column += piece.column - 1
        self._complain(piece, error.reason, error.line - 1, column, error.key)

    def _complain(self, piece: Piece, sentence: str, lines_down: int = 0, column: int | None = None,
                  field: str | None = None) -> None:
        # 100,000 rows with one mistake share one sentence.
        shared = self._sentences.setdefault(sentence, sentence)
        self._problems.append(Problem(shared, piece.line + lines_down, column, field))
