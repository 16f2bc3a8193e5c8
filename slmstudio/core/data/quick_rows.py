"""Whole blocks of JSONL at once, by pyarrow, where all their rows are alike and nothing is wrong with them.

Most rows of large files are questions with answers, or texts. Reading those one by one takes three times as long as
pyarrow's parser, which works on several cores. A block with anything unusual in it is read the careful way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import Any, NamedTuple

from slmstudio.core.data import column_names
from slmstudio.core.data.mapping.look import ColumnMap
from slmstudio.core.data.mapping.published import rows_of
from slmstudio.core.data.record import GROUP
from slmstudio.core.data.row_texts import ROW_LIMIT

BLOCK = 4 << 20
"""Bytes that are read at once; a block ends with a line."""
READERS = 2
"""Blocks that are read at a time: pyarrow works outside Python's lock."""
AHEAD = READERS + 2
"""Blocks that are kept in memory until it is their turn."""
PLAIN = frozenset({"instruction", "input", "output", "text"})
"""Targets that a quick row may have; each is text."""
_BLANK = r"\pZ\t-\r\x{1c}-\x{1f}\x{85}"
"""What `str.strip` takes away, for RE2."""


class Quick(NamedTuple):
    """The rows of a block.

    Attributes:
        rows: how many; each is a line.
        texts: by target, the texts of all rows, as pyarrow's array; None in it stands for nothing.
        unused: names of the other columns that hold something.
    """

    rows: int
    texts: dict[str, Any]
    unused: frozenset[str]


class Block(NamedTuple):
    """Some lines of a file.

    Attributes:
        line: 1-based number of the first.
        data: their text.
        lines: how many, where each begins with a bracket; otherwise 0.
        endless: instead of data the text of one line, to be read to its end before the next block.
    """

    line: int
    data: bytes | memoryview = b""
    lines: int = 0
    endless: Iterator[bytes] | None = None

    @property
    def kept(self) -> Iterator[bytes]:
        """Its text, as often as it is wanted; nothing of an endless line."""
        return iter([bytes(self.data)])

    @property
    def text(self) -> Iterator[bytes]:
        """Its text, to be read once."""
        return self.kept if self.endless is None else self.endless


def blocks(chunks: Iterator[bytes]) -> Iterator[Block]:
    """A text in blocks of about `BLOCK` bytes that end where a line does, however long the lines are."""
    chunks, line, size = filter(None, chunks), 1, 0
    begun: list[bytes] = []  # what isn't handed out yet
    for chunk in chain(chunks, [b""]):
        begun.append(chunk)
        size += len(chunk)
        if chunk and size < BLOCK:
            continue
        text = b"".join(begun)
        end = text.rfind(b"\n") + 1 if chunk else len(text)
        rest = text[end:]
        if end:
            lines = text.count(b"\n", 0, end) + (text[end - 1:end] != b"\n")
            brackets = text.count(b"\n{", 0, end) + text.startswith(b"{")
            yield Block(line, memoryview(text)[:end], lines if lines == brackets else 0)
            line += lines
        elif size > ROW_LIMIT:  # it will be dropped, so it is handed out as it comes
            after: list[bytes] = []
            yield Block(line, endless=chain([rest], _until_line_end(chunks, after)))
            line, rest = line + 1, b"".join(after)
        begun, size = [rest], len(rest)


def _until_line_end(chunks: Iterator[bytes], after: list[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        text, end, rest = chunk.partition(b"\n")
        yield text + end
        if end:
            after.append(rest)
            return


def read_all(found: Iterator[Block], shape: Shape | None) -> Iterator[tuple[Block, Quick | None]]:
    """Each block with its rows where these can be read quickly, in order; several are read at a time."""
    if shape is None:
        yield from ((block, None) for block in found)
        return
    with ThreadPoolExecutor(READERS) as pool:
        waiting: deque[tuple[Block, Future[Quick | None]]] = deque()
        for block in found:
            waiting.append((block, pool.submit(read, block, shape)))
            while waiting and (block.endless is not None or len(waiting) > AHEAD):
                done, quick = waiting.popleft()
                yield done, quick.result()
        for done, quick in waiting:
            yield done, quick.result()


class Shape(NamedTuple):
    """What rows must be like to be read quickly.

    Attributes:
        columns: what they hold.
        types: of each column, pyarrow's type. Only columns that are named here are read, and none that holds lists or
            objects: pyarrow crashes on those that are nested a hundred thousand times.
    """

    columns: ColumnMap
    types: dict[str, Any]


def shape_of(columns: ColumnMap | None, sample: Sequence[Any]) -> Shape | None:
    """The shape of rows like these; None if they must be read one by one."""
    import pyarrow

    if columns is None or columns.layout not in ("instruction", "text") or not columns.said.keys() <= PLAIN:
        return None
    types: dict[str, Any] = {}
    for row in sample:
        if rows_of(row) != [row]:
            return None
        for name, value in row.items() if isinstance(row, dict) else ():
            if isinstance(value, (list, dict)):
                return None
            if value is not None and not isinstance(value, str):
                types[name] = pyarrow.bool_() if isinstance(value, bool) else pyarrow.float64()
            types.setdefault(name, pyarrow.string())
    if GROUP in types:
        return None
    return Shape(columns, {**types, **dict.fromkeys(columns.columns.values(), pyarrow.string())})


def read(block: Block, shape: Shape) -> Quick | None:
    """The rows of a block; None if one of them needs a closer look: it is damaged, blank, or unlike the others."""
    import pyarrow

    columns, table = shape.columns, _table(block, shape)
    if table is None:
        return None
    names = table.column_names
    texts = {}
    for target, column in columns.columns.items():
        if column not in names:
            if target != "input":
                return None
            continue
        values = table[column]
        if values.type == pyarrow.null() and target == "input":
            continue
        if values.type != pyarrow.string() or (target != "input" and not _are_plain(values, target)):
            return None
        texts[target] = values
    unused = frozenset(name for name in names if name not in columns.columns.values() and _says_something(table[name]))
    if not column_names.PICTURES.isdisjoint(map(column_names.column, unused)):
        return None
    return Quick(table.num_rows, texts, unused)


def _table(block: Block, shape: Shape) -> Any:
    """The columns of a block as pyarrow's table, or None if not every line is a whole row."""
    import pyarrow
    from pyarrow import compute, json

    if not block.lines or (len(block.data) > ROW_LIMIT and max(map(len, bytes(block.data).split(b"\n"))) > ROW_LIMIT):
        return None
    try:
        whole = json.ReadOptions(use_threads=False, block_size=2 * max(BLOCK, ROW_LIMIT))
        known = json.ParseOptions(pyarrow.schema(list(shape.types.items())), unexpected_field_behavior="error")
        table = json.read_json(pyarrow.BufferReader(block.data), whole, known)
        table.validate(full=True)  # UTF-8 too
    except (pyarrow.ArrowException, OSError):
        return None
    # Rows hold no objects, so a bracket that begins a line begins a row: each line has one, and no second one.
    if table.num_rows != block.lines or any(
            column.type == pyarrow.float64() and compute.all(compute.is_finite(column)).as_py() is False
            for column in table.columns):  # pyarrow reads NaN and Infinity
        return None
    return table


def _are_plain(values: Any, target: str) -> bool:
    """Whether all texts say something, and none may be more than text, as a list or an object written as one is."""
    from pyarrow import compute

    but = r"\[{" if target == "output" else ""
    if values.null_count or not compute.all(
            compute.match_substring_regex(values, f"^[{_BLANK}]*[^{_BLANK}{but}]")).as_py():
        return False
    return target != "instruction" or not any(
        compute.any(compute.starts_with(values, begin)).as_py() for begin in ("\n\nHuman:", '["'))


def _says_something(values: Any) -> bool:
    """Whether a column holds anything but nulls and blank texts."""
    import pyarrow
    from pyarrow import compute

    if values.null_count == len(values):
        return False
    return values.type != pyarrow.string() or bool(compute.max(compute.binary_length(values)).as_py())
