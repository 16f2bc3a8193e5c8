"""Reads a dataset: every usable row, and everything that is wrong with the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, cast

from slmstudio.core.data import candidates, column_names, layouts, quick_rows
from slmstudio.core.data.candidates import Candidate, Evidence
from slmstudio.core.data.collector import Rows, Store
from slmstudio.core.data.column_names import KINDS
from slmstudio.core.data.importers import json_rows
from slmstudio.core.data.mapping.mapper import SAMPLE, Mapper
from slmstudio.core.data.opening import DataFile, Part
from slmstudio.core.data.read_options import NO_OPTIONS, ReadOptions
from slmstudio.core.data.record import Record
from slmstudio.core.data.rows import as_sentence
from slmstudio.core.data.source import CHOOSE, ReadingCancelled
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import noop, ntr, tr

__all__ = ["Dataset", "FirstRows", "NoUsableRow", "ReadOptions", "ReadingCancelled", "Record", "first_rows",
           "read_dataset"]

EXAMPLE = '{"instruction": "What is the capital of Kerala?", "output": "Thiruvananthapuram."}'
REMEDY = noop("Say which columns contain the question and the answer (--map instruction=…,output=…, or in the Data "
              "tab), or write each row on a line of its own, like this: {example}")
SAMPLE_BYTES = 8 << 20
"""About how much of a file is kept, at most, to guess its columns."""
KRUTI_DEV = frozenset({"gS", "gSa", "dk", "dh", "ds", "esa", "ls", "dks", "vkSj", "ij", "ugha", "fd;k", "Hkh", "fy,"})
"""Frequent words of Hindi as Kruti Dev writes them: है, हैं, का, की, के, में, से, को, और, पर, नहीं, किया …"""
AS_UTF8 = noop("Save it as text in UTF-8, in paragraphs of less than 16 MB, and open it again.")


@dataclass
class Dataset:
    """What a file, a folder or an archive holds.

    Attributes:
        path: it.
        layout: "instruction", "messages", or "mixed" where it has rows of both; "preference", "labelled" or "text".
        encoding: of a text, as in `sources.encodings`; "" of other files.
        records: the usable rows, in the file's order.
        problems: everything that is wrong with the other rows, by line. The column of a UTF-8 fault counts bytes.
        sha256: of the file's bytes, in hexadecimal; of a folder, over its files.
        bytes: size of the file.
        unused: names of the columns that usable rows have beside the ones read ("id", "messages.weight"), sorted.
        format: as in `opening.Part.format`; "folder" or "zip" of several files of more than one format.
        mapping: the column that each target was read from, as in `mapping.look.TARGETS`.
        columns: names of the columns, of a table in its order.
        notes: sentences on how the file was understood, where that isn't plain.
        rows_left_out: how many rows can't be used.
        count: usable rows, also where `records` weren't kept.
        text_by, sheets: how a text was cut; the sheet that was read, and the workbook's others.
        options, given: what a user said about the file, and of its columns.
        assumed: whether the encoding was guessed.
        examples: the first value of each column, as one line of text.
        candidates: the ways in which it may be read, the surest first, which is the one that was read; where the user
            has said how, that alone.
    """

    path: Path
    layout: str
    encoding: str
    records: list[Record] = field(repr=False)
    problems: list[Problem]
    sha256: str
    bytes: int
    unused: tuple[str, ...] = ()
    format: str = "jsonl"
    mapping: dict[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    rows_left_out: int = 0
    count: int = 0
    text_by: str = ""
    sheets: tuple[str, ...] = ()
    options: ReadOptions = NO_OPTIONS
    given: dict[str, str] = field(default_factory=dict)
    assumed: bool = False
    examples: dict[str, str] = field(default_factory=dict)
    candidates: tuple[Candidate, ...] = ()

    @property
    def is_sure(self) -> bool:
        """Whether it needn't be asked how the file is read."""
        return not self.candidates or self.candidates[0].is_sure

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    @property
    def unused_that_matter(self) -> tuple[str, ...]:
        """Those of `unused` that change what is learned elsewhere, as labels, weights, masks and thoughts do; questions
        and answers beside text; and those that hold the same in another language or form."""
        forms = column_names.other_forms(self.unused, self.mapping.values())
        twice = set().union(*(words for used in self.mapping.values() if column_names.column(used) not in (
            words := column_names.words_in(used))))
        return tuple(name for name in self.unused
                     if column_names.column(name.rpartition(".")[2]) in column_names.CHANGES
                     or name in forms or column_names.holds_thoughts(name.rpartition(".")[2])
                     or (column_names.rates(name) and layouts.kind(self.layout) == "chat")
                     or twice & column_names.words_in(name)
                     or (self.layout == "text" and name in self.columns and column_names.is_sure(name)
                         and column_names.words_in(name)))


class NoUsableRow(UserError):
    """There are rows, and none of them can be used: a user must say what the columns hold, or fix the file."""


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
        for part in file.parts():
            mapper = _read_part(part, rows, given, file.options)
            if mapper.main is not None and (not found.mapping or len(mapper.main.columns) > len(found.mapping)):
                found.mapping = mapper.main.said
            notes += _by_look(mapper)
            ways += _candidates(part, mapper, file.options)
            formats.append(part.format)
            columns += part.columns or mapper.columns
            notes += [f"{part.name}: {note}" if part.name else note for note in part.notes]
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
    if not rows.count:
        raise _nothing_usable(found)
    found.columns = tuple(dict.fromkeys(columns))
    found.layout, found.unused, found.count = rows.layout, rows.unused, rows.count
    found.records, found.rows_left_out = cast(list[Record], rows.records), rows.rows_left_out()
    found.notes += (*rows.notes(), *_ratings(found), *_numbered_classes(found), *_legacy_font(found))
    return found


def _candidates(part: Part, mapper: Mapper, options: ReadOptions) -> list[Candidate]:
    """The ways in which a file may be read: by its columns, and cut in other ways."""
    is_given = bool(mapper.is_given or options != NO_OPTIONS)
    layout = mapper.published
    by = () if layout is None else (Evidence("published", {"layout": layout["name"]}),)
    found = [Candidate(each.name if layout is None else layout["id"], each.said, options if is_given else part.options,
                       1.0 if is_given else min(part.certainty, each.certainty), (*by, *each.evidence))
             for each in mapper.maps]
    return found if is_given else [*found, *part.others]


def _legacy_font(found: Dataset) -> list[str]:
    """What to know of Hindi that was typed for a font from before Unicode."""
    words = [word for record in islice(found.records, SAMPLE)
             for text in (record.text or "", *(str(message["content"]) for message in record.messages))
             for word in text.split()]
    of_hindi = Counter(word for word in words if word in KRUTI_DEV)
    if len(of_hindi) < 4 or 20 * of_hindi.total() < len(words):
        return []
    return [tr("This looks like Hindi typed for the font Kruti Dev: its letters are Latin ones that only this font "
               "shows as Devanagari, and a model would learn those. Convert it to Unicode first.")]


def _by_look(mapper: Mapper) -> list[str]:
    """What to know of a table in which question and answer were told by their sentences alone."""
    if mapper.main is None or all(each.code != "by_sentences" for each in mapper.main.evidence):
        return []
    said = mapper.main.columns
    return [tr('"{question}" is read as the question and "{answer}" as the answer, because these are the two columns '
               'with sentences. If that\'s wrong, choose the columns.',
               question=said["instruction"], answer=said["output"])]


def _ratings(found: Dataset) -> list[str]:
    """What to know of columns that rate the answers."""
    names = [f'"{name}"' for name in found.unused if column_names.rates(name)]
    if not names or layouts.kind(found.layout) != "chat":
        return []
    return [tr("The ratings in {columns} aren't used: all answers are learned equally. Remove the rows with low "
               "ratings.", columns=", ".join(names))]


def _numbered_classes(found: Dataset) -> list[str]:
    """What to know of a table of texts with classes whose answers are bare numbers."""
    answer = found.mapping.get("output", "")
    said = [record.messages[-1]["content"] for record in islice(found.records, SAMPLE) if len(record.messages) == 2]
    is_kind = not set(KINDS).isdisjoint(column_names.column(answer).split("_"))
    if not is_kind or not said or not all(map(str.isdecimal, map(str, said))):
        return []
    return [tr('The number in "{column}" is learned as the answer to each text. Names tell a model more than '
               'numbers. If you know what each number stands for, write that instead.', column=answer)]


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
    sample = [raw.value for raw in _within(json_rows.block_rows(first.kept, first.line), SAMPLE_BYTES)]
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


def sampled(part: Part) -> tuple[list[Any], Iterator[Raw]]:
    """The values of a part's first rows, by which its columns are guessed, and all its rows."""
    everything = part.all_rows()
    sample = list(_within(everything, SAMPLE_BYTES))
    return [raw.value for raw in sample], chain(sample, everything)


def _within(rows: Iterator[Raw], most: int) -> Iterator[Raw]:
    """The first rows, until they are enough for a guess, or long."""
    size = 0
    for raw in islice(rows, SAMPLE):
        yield raw
        size += len(str(raw.value)) if raw.problem is None else 0
        if size > most:
            return


def _nothing_usable(found: Dataset) -> UserError:
    name, problems = found.path.name, found.problems
    if found.bytes == 0:
        return UserError(tr("{name} is empty.", name=name), tr("It has 0 bytes."), tr(CHOOSE))
    if not problems:
        return UserError(tr("{name} contains no rows.", name=name),
                         tr("It contains only spaces or an empty list."), tr(CHOOSE))
    what = tr("{name} has no row that can be used.", name=name)
    remedy = tr(AS_UTF8) if found.format in ("text", "markdown") else tr(REMEDY, example=EXAMPLE)
    first = str(problems[0])
    if len(problems) > 1:
        return NoUsableRow(what,
                           ntr("There is {n:,} problem: {first}", "There are {n:,} problems; the first: {first}",
                               len(problems), first=first), remedy, problems)
    return NoUsableRow(what, as_sentence(first), remedy, problems)


class FirstRows(NamedTuple):
    """
    Attributes:
        columns: names of the columns, of a table in its order.
        rows: the first rows, by column; a row may lack some.
        format, encoding, assumed, text_by, sheets: as of `Dataset`.
    """

    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    format: str = ""
    encoding: str = ""
    assumed: bool = False
    text_by: str = ""
    sheets: tuple[str, ...] = ()


def first_rows(path: Path, options: ReadOptions = NO_OPTIONS, most: int = 20,
               cancelled: Callable[[], bool] | None = None) -> FirstRows:
    """The columns and a few rows of a file; of a folder or an archive, of the first file in it.

    Args:
        most: rows to return at most; the columns are those of more rows, as the reader's are.

    Raises:
        UserError: the file can't be read.
        ReadingCancelled: `cancelled` said so.
    """
    with closing(DataFile(Path(path), options, None, cancelled, whole=False).parts()) as parts:
        for part in parts:
            with closing(part.first_rows()) as raw:
                rows = [each.value for each in islice(raw, SAMPLE) if isinstance(each.value, dict)]
            columns = part.columns or tuple(dict.fromkeys(name for row in rows for name in row))
            return FirstRows(columns, rows[:most], part.format, part.encoding, part.assumed, part.text_by, part.sheets)
    return FirstRows((), [])
