"""Reads a dataset: every usable row, and everything that is wrong with the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain, compress, islice
from pathlib import Path
from typing import Any

from slmstudio.core.data import candidates, layouts, quick_rows
from slmstudio.core.data.candidates import Candidate, Evidence, Part
from slmstudio.core.data.collector import Rows
from slmstudio.core.data.dataset import Dataset, NoUsableRow, legacy_font, nothing_usable, texts_of
from slmstudio.core.data.importers import json_rows
from slmstudio.core.data.mapping.mapper import Mapper
from slmstudio.core.data.opening import DataFile, all_rows, first_rows
from slmstudio.core.data.read_options import NO_OPTIONS, ReadOptions, parse
from slmstudio.core.data.record import Record, as_row
from slmstudio.core.data.rows import ColumnsMissing, Row, RowError
from slmstudio.core.data.source import ReadingCancelled
from slmstudio.core.data.sources.row import Raw, examples, with_words
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr

__all__ = ["Dataset", "NoUsableRow", "ReadOptions", "ReadingCancelled", "Record", "read_as", "read_dataset"]

_CUT_ALONE = ("question", "dialogue")
"""Cuts of a text that make columns, so that the cut says it all."""
_SEPARATED = ("csv", "tsv")
_MISFITS, _MISFIT_SHARE = 3, 0.1
"""Rows that don't fit a table's names, and their share of the first ones, from which on the others are in doubt."""
_DAMAGED = 0.7
"""Certainty of such a table, at most."""


def read_dataset(path: str | Path, progress: Callable[[int, int], None] | None = None,
                 cancelled: Callable[[], bool] | None = None, columns: Mapping[str, str] | None = None,
                 options: ReadOptions = NO_OPTIONS, store: Callable[[], Any] | None = list) -> Dataset:
    """Read JSONL, JSON, CSV, TSV, Excel, OpenDocument, Parquet, Arrow, text, Markdown, PDF or Word; packed by gzip or
    Zstandard; or a folder or ZIP archive of them.

    What the columns of a table or an object hold is found by their names and by looking at rows
    (`mapping.guess`): questions with answers, conversations, preference pairs, answers marked good or bad, plain text.
    Rows of a different kind from most are problems. Memory beyond the records stays bounded, however long a line is; a
    row may have 16 MB.

    Args:
        path: the file.
        progress: called with (bytes read, bytes in all) about every MB.
        cancelled: asked about every MB, and every few rows of a table; True ends the reading.
        columns: the column of each target, where a user knows better; see `mapping.look.TARGETS`.
        options: which sheet is read, and how a text is cut.
        store: makes the store for records of a kind; None keeps none. With a store on disk, memory stays
            bounded for any number of rows.

    Raises:
        UserError: nothing can be used: no such file, no permission, empty, binary, damaged, changed while it
            was read, or no usable row (then with the problems of all rows).
        ReadingCancelled: `cancelled` said so.
    """
    file = DataFile(Path(path), options, progress, cancelled, (columns or {}).values())
    try:
        return _collect(file, columns, store)
    except MemoryError:
        pass  # what was read is freed here, which this error's traceback would prevent
    raise UserError(tr("{name} doesn't fit in memory.", name=file.path.name),
                    ntr("It has {n:,} byte.", "It has {n:,} bytes.", file.size),
                    tr("Close other programs, or split the file."))


def read_as(path: Path, line: str | None, progress: Callable[[int, int], None] | None = None,
            cancelled: Callable[[], bool] | None = None, store: Callable[[], Any] = list) -> Dataset:
    """Read a dataset as somebody said in a line of text. Raises as `read_dataset`, and as `read_options.parse`."""
    columns, options = parse(line)
    return read_dataset(path, progress, cancelled, columns or None, options, store)


def _collect(file: DataFile, given: Mapping[str, str] | None, store: Callable[[], Any] | None) -> Dataset:
    rows, formats, words = Rows(store), set[str](), set[str]()
    found = Dataset(file.path, options=file.options, given=dict(given or {}))
    for part in file.parts():
        mapper = _read_part(part, rows, given, file.options)
        describe(found, part, mapper)
        found.columns += tuple(part.columns or mapper.columns)
        formats.add(part.format)
        words.update(with_words(mapper.sample, rows.unused))
    if file.left_out:
        found.notes += (tr("{files}: held out, not used for training. Choose such a file for the evaluation rows.",
                           files=", ".join(file.left_out[:5])),)
    found.candidates, found.columns = candidates.ranked(found.candidates), tuple(dict.fromkeys(found.columns))
    found.problems, found.sha256, found.bytes = rows.all_problems(), file.sha256, file.size
    found.format = formats.pop() if len(formats) == 1 else "folder" if file.path.is_dir() else "zip"
    if not rows.count:
        raise nothing_usable(found, rows.seen)
    found.layout, found.unused, found.count = rows.layout, rows.unused, rows.count
    found.unused_words = tuple(name for name in found.unused if name in words)
    found.records, found.rows_left_out = rows.records, rows.rows_left_out()
    found.notes += tuple(filter(None, (*rows.notes(), legacy_font(texts_of(found)))))
    return found


def _sample(part: Part) -> list[Raw]:
    """The first rows. Where many of a table's have more or fewer cells than it has names, a cell may have moved in the
    others, too: then the user is asked."""
    found = first_rows(part)
    misfits = sum(raw.problem is not None for raw in found)
    if part.format in _SEPARATED and misfits >= max(_MISFITS, _MISFIT_SHARE * len(found)):
        part.choose(_DAMAGED, [Evidence("misfits", {"n": misfits, "rows": len(found)})])
    return found


def _read_part(part: Part, rows: Rows, given: Mapping[str, str] | None, options: ReadOptions) -> Mapper:
    """Take the rows of one file. Returns what its columns hold."""
    sample = [raw.value for raw in _sample(part)]
    mapper = Mapper(sample, given, options)
    for raw in part.rows:
        rows.add(raw, mapper, part.name)
    blocks = iter(part.blocks or ())
    first = next(blocks, None)
    if first is None:
        return mapper
    # A small file is read before pyarrow is loaded.
    is_quick = 2 * len(first.data) >= quick_rows.BLOCK and mapper.is_plain
    shape = quick_rows.shape_of(mapper.main, sample) if is_quick else None
    for block, quick in quick_rows.read_all(chain([first], blocks), shape):
        if quick is not None and mapper.main is not None:
            rows.add_quick(quick, mapper.main.layout, block.line, part.name)
            continue
        for raw in json_rows.block_rows(block.text, block.line):
            rows.add(raw, mapper, part.name)
    return mapper


def describe(found: Dataset, part: Part, mapper: Mapper) -> None:
    """Add what is known of one of its files, apart from the rows."""
    if mapper.main is not None and (not found.mapping or len(mapper.main.columns) > len(found.mapping)):
        found.mapping = mapper.main.said
    found.candidates += tuple(_candidates_of(part, mapper, found.options))
    found.notes += tuple(f"{part.name}: {note}" if part.name else note for note in part.notes)
    found.format, found.encoding, found.assumed = part.format, part.encoding, found.assumed or part.assumed
    found.text_by, found.sheets = part.text_by, part.sheets
    found.examples = {**examples(mapper.sample), **found.examples}


def _candidates_of(part: Part, mapper: Mapper, options: ReadOptions) -> list[Candidate]:
    """The ways in which a part may be read: by its columns, and cut in other ways; as a user said, that alone."""
    is_cut = options != NO_OPTIONS
    chosen = options if is_cut else part.options
    layout = mapper.published
    by = () if layout is None else (Evidence("published", {"layout": layout["name"]}),)
    found = []
    for each in mapper.maps:
        cut_says_all = chosen.text_by and not mapper.is_given and (
            each.said == {"text": "text"} or chosen.text_by in _CUT_ALONE)
        found.append(Candidate(
            each.name if layout is None else layout["id"], {} if cut_says_all else each.said, chosen,
            1.0 if mapper.is_given or (is_cut and cut_says_all) else each.certainty if is_cut else min(
                part.certainty, each.certainty),
            part.evidence if cut_says_all else (*by, *each.evidence, *part.evidence)))
    if is_cut or mapper.is_given:
        return found
    best = found[0].certainty if found else 1.0  # what the rows are read as stays the first
    return [*found, *(replace(each, certainty=min(each.certainty, 0.9 * best)) for each in part.others)]


# -- the first rows, as the file has them and as a model will see them, long before all of it is read ------------

SHOWN = 3
"""Rows that are shown as the model will see them."""


@dataclass
class Preview(Dataset):
    """What is known of a file by its first rows.

    Attributes:
        rows: the first rows, by column; a row may lack some.
        records: the first `SHOWN` rows as a model will see them; none if no row can be used.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def trouble(self) -> str:
        """Why the first row that can't be used can't; "" if all can be."""
        return self.problems[0].message if self.problems else ""

    @property
    def is_sure(self) -> bool:
        return bool(self.candidates) and self.candidates[0].is_sure


def preview(path: Path, columns: Mapping[str, str] | None = None, options: ReadOptions = NO_OPTIONS, most: int = 20,
            cancelled: Callable[[], bool] | None = None) -> Preview:
    """The first rows of a file, read in a way; of a folder or an archive, of the first file in it.

    Args:
        columns, options: as of `read_dataset`.
        most: rows to return at most as the file has them; the columns are those of more rows, as the reader's are.

    Raises:
        UserError: the file can't be read, or not so.
        ReadingCancelled: `cancelled` said so.
    """
    file = DataFile(Path(path), options, None, cancelled, (columns or {}).values(), whole=False)
    found, kept = Preview(file.path, options=options, given=dict(columns or {})), Rows()
    with closing(file.parts()) as parts:
        for part in islice(parts, 1):
            sample = _sample(part)
            mapper = Mapper([each.value for each in sample], columns, options)
            for each in sample:
                kept.add(each, mapper, part.name)
            describe(found, part, mapper)
            rows = [each.value for each in sample if isinstance(each.value, dict)]
            found.rows = rows[:most]
            found.columns = part.columns or tuple(dict.fromkeys(name for row in rows for name in row))
            found.records, found.problems = list(islice(kept.records, SHOWN)), kept.all_problems()
            found.candidates = candidates.ranked(found.candidates)
            found.unused_words = with_words(mapper.sample, kept.unused) if kept.count else ()
    return found


# -- the rows of a file that records were read from ------------------------------------------------------------


def columns_of(dataset: Dataset, wanted: Collection[Any],
               cancelled: Callable[[], bool] | None = None) -> list[Any] | None:
    """The columns of each wanted record's row, in the file's order; of a row that became several records, the record
    alone, in columns of its own.

    The n-th usable row on a line is the n-th record of it.

    Args:
        wanted: of each of the dataset's records, whether it is.

    Returns:
        The rows; None if the file holds plain text, or is another one by now.

    Raises:
        UserError: the file can't be read.
        ReadingCancelled: `cancelled` said so.
    """
    if layouts.kind(dataset.layout) == "text":
        return None
    kind = layouts.kind(dataset.layout)
    places = {(record.file, record.line) for record in compress(dataset.records, wanted)}
    of_place: dict[tuple[str, int], list[Record | None]] = defaultdict(list)
    for record, is_wanted in zip(dataset.records, wanted, strict=True):
        if (record.file, record.line) in places:
            of_place[record.file, record.line].append(record if is_wanted else None)
    left = {place: iter(each) for place, each in of_place.items()}
    file = DataFile(dataset.path, dataset.options, None, cancelled, dataset.given.values())
    rows = []
    for part in file.parts():
        mapper = Mapper([raw.value for raw in first_rows(part)], dataset.given, dataset.options)
        for raw in all_rows(part):
            if raw.problem is None and (part.name, raw.line) in left:
                said = _said(mapper, raw.value, kind)
                rows += [raw.value if len(said) == 1 else as_row(found) for _ in said
                         if (found := next(left[part.name, raw.line], None)) is not None]
    return rows if len(rows) == sum(map(bool, wanted)) and file.sha256 == dataset.sha256 else None


def _said(mapper: Mapper, value: Any, kind: str) -> list[Row]:
    """The usable rows of that kind that a row of the file has."""
    try:
        return [row for row in mapper.read(value) if layouts.kind(row.layout) == kind]
    except (RowError, ColumnsMissing):
        return []
