"""Collects the rows of a file and what is wrong with them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from slmstudio.core.data import layouts
from slmstudio.core.data.mapping.mapper import Mapper
from slmstudio.core.data.quick_rows import Quick
from slmstudio.core.data.record import GROUP, Record
from slmstudio.core.data.rows import ColumnsMissing, Row, RowError
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.data.strict_json import printable
from slmstudio.core.errors import Problem
from slmstudio.core.i18n import ntr

ALONE = 3
"""How many rows with the same fault are named one by one; more of them become one problem."""
AT_ONCE = 2000
"""Values of a column that pyarrow turns into texts in one call."""


@dataclass
class _Kind:
    """The rows of a kind.

    Attributes:
        records: None if they are only counted; then `places` says where those are that aren't of the file's kind.
        layouts: those that its rows have; `unused`: columns that nothing was made of.
    """

    records: Any
    count: int = 0
    places: list[tuple[str, int]] = field(default_factory=list)
    layouts: set[str] = field(default_factory=set)
    unused: set[str] = field(default_factory=set)


class Rows:
    """The rows of one dataset, separated by kind: the kind with the most rows is the file's.

    Args:
        store: makes what takes the records of a kind, as a list does; None only counts them.

    Attributes:
        left_out: rows that can't be used; `seen`: all rows.
    """

    def __init__(self, store: Callable[[], Any] | None = list) -> None:
        self._store = store
        self._kinds: dict[str, _Kind] = {}
        self._problems: list[Problem] = []
        self._other_columns: dict[tuple[str, ...], list[tuple[str, int]]] = defaultdict(list)  # and where these are
        self._sentences: dict[str, str] = {}
        self._notes: Counter[tuple[str, str]] = Counter()
        self._numbers = map(str, count(1))  # of groups of rows
        self._groups: dict[tuple[str, str], str] = defaultdict(self._numbers.__next__)  # by file and column
        self.left_out = self.seen = 0

    @property
    def kind(self) -> str:
        """The kind that most rows have; if two have equally many, the one that comes first; "" without any row."""
        return max(self._kinds, key=lambda kind: self._kinds[kind].count, default="")

    @property
    def _main(self) -> _Kind:
        return self._kinds.get(self.kind) or _Kind(None)

    @property
    def count(self) -> int:
        return self._main.count

    @property
    def records(self) -> Any:
        return [] if self._main.records is None else self._main.records

    @property
    def layout(self) -> str:
        found = self._main.layouts
        return next(iter(found)) if len(found) == 1 else "mixed"

    @property
    def unused(self) -> tuple[str, ...]:
        return tuple(sorted(self._main.unused - {GROUP}))

    def add(self, raw: Raw, mapper: Mapper, file: str = "") -> None:
        """Take one row."""
        self.seen += 1
        if raw.problem is not None:
            self._complain(raw.problem, file)
            return
        try:
            rows = mapper.read(raw.value)
        except RowError as error:
            self.left_out += 1
            for key, sentence in error.findings:
                self._complain(Problem(sentence, raw.line, field=key or None), file, rows=0)
        except ColumnsMissing as error:
            self.left_out += 1
            self._other_columns[error.columns].append((file, raw.line))
        else:
            group = self._group(raw.value, rows, file)
            for row in rows:
                self._take(row, raw.line, file, group)

    def add_quick(self, quick: Quick, layout: str, line: int, file: str = "") -> None:
        """Take rows that were read together, each on a line of its own from `line` on."""
        kind = self._open(layout)
        self.seen += quick.rows
        kind.count += quick.rows
        kind.unused.update(map(printable, quick.unused))
        if kind.records is None:
            return
        # In pieces: each is a single call, during which no other thread of the process can run.
        texts = {target: [text for at in range(0, len(values), AT_ONCE) for text in values[at:at + AT_ONCE].to_pylist()]
                 for target, values in quick.texts.items()}
        if layout == "text":
            kind.records.extend(Record((), at, text=text, file=file) for at, text in enumerate(texts["text"], line))
            return
        asked = texts["instruction"]
        if "input" in texts:
            asked = [f"{question}\n\n{below}" if below and below.strip() else question
                     for question, below in zip(asked, texts["input"], strict=True)]
        kind.records.extend(
            Record(({"role": "user", "content": question}, {"role": "assistant", "content": answer}), at, file=file)
            for at, (question, answer) in enumerate(zip(asked, texts["output"], strict=True), line))

    def _open(self, layout: str) -> _Kind:
        """The kind of a layout that now has rows."""
        kind = layouts.kind(layout)
        if kind not in self._kinds:
            self._kinds[kind] = _Kind(self._store() if self._store is not None else None)
        self._kinds[kind].layouts.add(layout)
        return self._kinds[kind]

    def _group(self, value: Any, rows: list[Row], file: str) -> str:
        said = value.get(GROUP) if isinstance(value, dict) else None
        if said is None or said == "":
            return next(self._numbers) if len(rows) > 1 else ""
        return self._groups[file, str(said)]

    def _take(self, row: Row, line: int, file: str, group: str) -> None:
        kind = self._open(row.layout)
        kind.count += 1
        if kind.records is not None:
            kind.records.append(
                Record(row.messages, line, row.rejected, row.desirable, row.text, row.tools, file, group))
        elif kind is not self._main:
            kind.places.append((file, line))
        if row.note:
            self._notes[row.note] += 1
        if row.unused:
            kind.unused.update(map(printable, row.unused))

    def all_problems(self) -> list[Problem]:
        """Every problem, by file and line. Where more than `ALONE` rows have the same fault, that is one problem."""
        found = list(self._problems)
        for columns, places in self._other_columns.items():
            error = ColumnsMissing(columns)
            same = [Problem(error.sentence(), line, field=error.missing, file=file or None) for file, line in places]
            found += gathered(same, ALONE if self._kinds else 1)
        for name, kind in self._kinds.items():
            if name != self.kind:
                sentence = layouts.stray(name, self.kind)
                places = kind.places if kind.records is None else [(each.file, each.line) for each in kind.records]
                found += [Problem(sentence, line, file=file or None) for file, line in places]
        return sorted(gathered(found), key=lambda problem: (problem.file or "", problem.line or 0))

    def notes(self) -> list[str]:
        """What was left out of rows on purpose, and of how many rows."""
        return [ntr(one, many, count) for (one, many), count in self._notes.items()]

    def rows_left_out(self) -> int:
        """How many rows can't be used."""
        return self.left_out + sum(kind.count for kind in self._kinds.values()) - self.count

    def _complain(self, problem: Problem, file: str, rows: int = 1) -> None:
        self.left_out += rows
        # 100,000 rows with one mistake share one sentence.
        shared = self._sentences.setdefault(problem.message, problem.message)
        self._problems.append(replace(problem, message=shared, file=file or None))


def gathered(problems: list[Problem], alone: int = ALONE) -> list[Problem]:
    """One problem for all rows with the same fault, where there are more than `alone`, with all their lines."""
    same: dict[tuple[str, str | None, str | None], list[Problem]] = {}
    for problem in problems:
        same.setdefault((problem.message, problem.field, problem.file), []).append(problem)
    found = []
    for (message, about, file), each in same.items():
        if len(each) <= alone or each[0].line is None:
            found += each
            continue
        lines = tuple(problem.line for problem in each if problem.line is not None)
        more = (ntr("{n:,} row is like this, from line {first:,} to {last:,}.",
                    "{n:,} rows are like this, from line {first:,} to {last:,}.", len(each), first=lines[0],
                    last=lines[-1]) if lines[0] < lines[-1] else
                ntr("{n:,} row is like this.", "{n:,} rows are like this.", len(each)))
        found.append(Problem(f"{message} {more}", lines[0], each[0].column, about, file, lines))
    return found
