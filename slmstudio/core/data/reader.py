"""Reads a dataset: every usable row, and everything that is wrong with the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import cast

from slmstudio.core.data import candidates, quick_rows
from slmstudio.core.data.candidates import Candidate
from slmstudio.core.data.collector import Rows, Store
from slmstudio.core.data.dataset import Dataset
from slmstudio.core.data.dataset_notes import notes_on
from slmstudio.core.data.detecting import candidates_of, first_of, sampled
from slmstudio.core.data.importers import json_rows
from slmstudio.core.data.mapping.mapper import Mapper
from slmstudio.core.data.opening import DataFile, Part
from slmstudio.core.data.read_options import NO_OPTIONS, ReadOptions
from slmstudio.core.data.record import Record
from slmstudio.core.data.refusals import NoUsableRow, nothing_usable
from slmstudio.core.data.source import ReadingCancelled
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr

__all__ = ["Dataset", "NoUsableRow", "ReadOptions", "ReadingCancelled", "Record", "read_dataset"]


def read_dataset(path: str | Path, progress: Callable[[int, int], None] | None = None,
                 cancelled: Callable[[], bool] | None = None, columns: Mapping[str, str] | None = None,
                 options: ReadOptions = NO_OPTIONS, store: Callable[[], Store] | None = list) -> Dataset:
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
    found = _collect(file, columns, store)
    if found is None:
        raise UserError(tr("{name} doesn't fit in memory.", name=file.path.name),
                        ntr("It has {n:,} byte.", "It has {n:,} bytes.", file.size),
                        tr("Close other programs, or split the file."))
    return found


def _collect(file: DataFile, given: Mapping[str, str] | None,
             store: Callable[[], Store] | None) -> Dataset | None:
    """The file's rows, or None if memory ran out; they are freed then, which an error's traceback would prevent."""
    try:
        rows = Rows(store)
        found = Dataset(file.path, "", "", cast(list[Record], rows.records), [], "", 0, options=file.options,
                        given=dict(given or {}))
        formats: list[str] = []
        notes: list[str] = []
        columns: list[str] = []
        ways: list[Candidate] = []
        words: set[str] = set()
        for part in file.parts():
            mapper = _read_part(part, rows, given, file.options)
            if mapper.main is not None and (not found.mapping or len(mapper.main.columns) > len(found.mapping)):
                found.mapping = mapper.main.said
            ways += candidates_of(part, mapper, file.options)
            formats.append(part.format)
            columns += part.columns or mapper.columns
            notes += [f"{part.name}: {note}" if part.name else note for note in part.notes]
            words.update(mapper.with_words(rows.unused))
            found.encoding, found.assumed = part.encoding, found.assumed or part.assumed
            found.text_by, found.sheets = part.text_by, part.sheets
            found.examples = {**mapper.examples(), **found.examples}
    except MemoryError:
        return None
    if file.left_out:
        notes.append(tr("{files}: held out, not used for training. Choose such a file for the evaluation rows.",
                        files=", ".join(file.left_out[:5])))
    found.candidates = candidates.ranked(ways)
    found.problems = rows.all_problems()
    found.format = formats[0] if len(set(formats)) == 1 else "folder" if file.path.is_dir() else "zip"
    found.sha256, found.bytes, found.notes = file.sha256, file.size, tuple(notes)
    found.columns = tuple(dict.fromkeys(columns))
    if not rows.count:
        raise nothing_usable(found, rows.seen)
    found.layout, found.unused, found.count = rows.layout, rows.unused, rows.count
    found.unused_words = tuple(name for name in found.unused if name in words)
    found.records, found.rows_left_out = cast(list[Record], rows.records), rows.rows_left_out()
    found.notes += (*rows.notes(), *notes_on(found))
    return found


def _read_part(part: Part, rows: Rows, given: Mapping[str, str] | None, options: ReadOptions) -> Mapper:
    """Take the rows of one file. Returns what its columns hold."""
    if part.blocks is None:
        sample, everything = sampled(part)
        mapper = Mapper(sample, given, options)
        for raw in everything:
            rows.add(raw, mapper, part.name)
        return mapper
    first = next(part.blocks, None)
    if first is None:
        return Mapper([], given, options)
    sample = [raw.value for raw in first_of(json_rows.block_rows(first.kept, first.line))]
    mapper = Mapper(sample, given, options)
    # A small file is read before pyarrow is loaded.
    is_quick = first.size >= quick_rows.BLOCK and mapper.is_plain
    shape = quick_rows.shape_of(mapper.main, sample) if is_quick else None
    for block, quick in quick_rows.read_all(chain([first], part.blocks), shape):
        if quick is not None and mapper.main is not None:
            rows.add_quick(quick, mapper.main.layout, block.line, part.name)
            continue
        for raw in json_rows.block_rows(block.text, block.line):
            rows.add(raw, mapper, part.name)
    return mapper
