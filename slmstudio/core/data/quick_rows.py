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
from slmstudio.core.data.mapping.opened import rows_of
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
        chunks: their text, to be read to the end before the next block.
        line: 1-based number of the first.
        lines: how many; 0 where that isn't known.
        size: bytes; 0 where that isn't known.
    """

    chunks: Iterator[bytes]
    line: int
    lines: int = 0
    size: int = 0


def blocks(chunks: Iterator[bytes]) -> Iterator[Block]:
    """A text in blocks of about `BLOCK` bytes that end where a line does, however long the lines are."""
    whole: list[memoryview] = []  # lines that have ended
    begun: list[memoryview] = []  # the one that hasn't
    size = begun_size = 0
    line = 1
    rest: list[bytes] = []
    while chunk := rest.pop() if rest else next(chunks, b""):
        end = chunk.rfind(b"\n") + 1
        if end:
            whole += [*begun, memoryview(chunk)[:end]]
            size += begun_size + end
            begun, begun_size = [], 0
        begun.append(memoryview(chunk)[end:])
        begun_size += len(chunk) - end
        if whole and (size >= BLOCK or begun_size > ROW_LIMIT):
            text = b"".join(whole)
            lines = text.count(b"\n")
            yield Block(iter([text]), line, lines, len(text))
            line, whole, size = line + lines, [], 0
        if begun_size > ROW_LIMIT:  # the line will be dropped, so it is handed out as it comes
            yield Block(chain(map(bytes, begun), _until_line_end(chunks, rest)), line)
            line, begun, begun_size = line + 1, [], 0
    if size + begun_size:
        yield Block(iter([b"".join([*whole, *begun])]), line)


def twice(block: Block) -> tuple[Block, Iterator[bytes]]:
    """The block, and its text once more, as far as that is one piece; a line without end has no rows to look at."""
    text = next(block.chunks)
    more = next(block.chunks, None)
    if more is None:
        return block._replace(chunks=iter([text])), iter([text])
    return block._replace(chunks=chain([text, more], block.chunks)), iter(())


def _until_line_end(chunks: Iterator[bytes], rest: list[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        text, end, after = chunk.partition(b"\n")
        yield text + end
        if end:
            if after:
                rest.append(after)
            return


def read_all(found: Iterator[Block], shape: Shape | None) -> Iterator[tuple[Block, Quick | None]]:
    """Each block with its rows where these can be read quickly, in order; several are read at a time."""
    if shape is None:
        yield from ((block, None) for block in found)
        return
    with ThreadPoolExecutor(READERS) as pool:
        waiting: deque[tuple[Block, Future[Quick | None]]] = deque()
        for block in found:
            text = next(block.chunks)
            more = next(block.chunks, None)
            if more is None:
                waiting.append((Block(iter([text]), block.line), pool.submit(read, text, shape, block.lines)))
            while waiting and (more is not None or len(waiting) > AHEAD):
                done, quick = waiting.popleft()
                yield done, quick.result()
            if more is not None:  # a line without end
                yield Block(chain([text, more], block.chunks), block.line), None
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
    """The shape of rows like these; None where they must be read one by one."""
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


def read(text: bytes, shape: Shape, lines: int = 0) -> Quick | None:
    """The rows of a block; None where one of them needs a closer look: it is damaged, blank, or unlike the others.

    Args:
        lines: how many the block has, where that is known.
    """
    import pyarrow
    from pyarrow import compute, json

    columns = shape.columns
    if len(text) > ROW_LIMIT and max(map(len, text.split(b"\n"))) > ROW_LIMIT:
        return None
    try:
        whole = json.ReadOptions(use_threads=False, block_size=2 * max(BLOCK, ROW_LIMIT))
        known = json.ParseOptions(pyarrow.schema(list(shape.types.items())), unexpected_field_behavior="error")
        table = json.read_json(pyarrow.BufferReader(text), whole, known)
        table.validate(full=True)  # UTF-8 too
    except (pyarrow.ArrowException, OSError):
        return None
    # Rows hold no objects, so that a bracket after a line's end begins a row: each line has one, and one alone.
    if not table.num_rows == (lines or text.count(b"\n") + (not text.endswith(b"\n"))) == (
            text.count(b"\n{") + text.startswith(b"{")):
        return None
    if any(column.type == pyarrow.float64() and compute.all(compute.is_finite(column)).as_py() is False
           for column in table.columns):
        return None  # pyarrow reads NaN and Infinity
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
    return values.type != pyarrow.string() or compute.max(compute.binary_length(values)).as_py() > 0
