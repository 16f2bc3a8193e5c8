"""Opens whatever a user has data in: says what it is, and hands out its rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

from slmstudio.core.data import file_kinds, quick_rows
from slmstudio.core.data.candidates import Candidate, Evidence
from slmstudio.core.data.importers import joined, json_rows
from slmstudio.core.data.read_options import NO_OPTIONS, ReadOptions
from slmstudio.core.data.row_texts import is_lines
from slmstudio.core.data.source import CHOOSE, Source, suffix_of
from slmstudio.core.data.sources import arrow, documents, header, nested, packed, sheets, tables, texts
from slmstudio.core.data.sources.dialogues import Line
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.data.sources.texts import Reading
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
TEXT_SUFFIXES = (".txt", ".text", ".md", ".markdown")
TABLE_SUFFIXES = (".csv", ".tsv", ".tab")
SUFFIXES = (*JSON_SUFFIXES, *TEXT_SUFFIXES, *TABLE_SUFFIXES, ".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".parquet",
            ".arrow", ".feather", ".pdf", ".docx", ".yml", ".yaml", ".xml")
"""Endings of the files that are looked for in folders and archives, packed by gzip or Zstandard or not."""
MOST_FILES = 2000
_HELD_OUT_CERTAINTY = 0.1
_HELD_OUT = ("test", "valid", "validation", "eval", "dev", "heldout")
_BESIDE = ("readme", "license", "licence", "changelog", "dataset_info", "dataset_infos", "dataset_dict", "state",
           "metadata", "config")
"""Names of files in a dataset's folder that hold no rows."""


@dataclass
class Part:
    """One file with rows.

    Attributes:
        name: of the file within a folder or an archive; "" of a file that is opened alone.
        format: "jsonl", "csv", "xlsx", "parquet", "text", "docx" …
        rows: them, once; of JSONL, `blocks` of its lines instead.
        encoding, assumed: of a text, as of `Encoding`.
        columns: names of a table's columns, in its order.
        text_by: how a text was cut; otherwise "".
        sheets: of a workbook, the sheet that is read and then the others.
        notes: sentences on how the file was understood; may grow while the rows are read.
        certainty: how sure it is that the file is to be cut into these rows, 0 to 1.
        evidence: of a text, why it is cut so.
        others: other ways to cut it, without columns.
        options: what was chosen for the user, where others may be meant.
    """

    name: str
    format: str
    rows: Iterator[Raw]
    encoding: str = ""
    columns: tuple[str, ...] = ()
    text_by: str = ""
    sheets: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    blocks: Iterator[quick_rows.Block] | None = None
    assumed: bool = False
    certainty: float = 1.0
    evidence: tuple[Evidence, ...] = ()
    others: list[Candidate] = field(default_factory=list)
    options: ReadOptions = NO_OPTIONS

    def all_rows(self) -> Generator[Raw, None, None]:
        """The rows one by one, whatever they come from."""
        found = chain([self.rows], (json_rows.block_rows(block.text, block.line) for block in self.blocks or ()))
        return (raw for rows in found for raw in rows)


class DataFile:
    """A file, an archive or a folder with rows.

    Args:
        said: names of columns that a user knows.
        whole: whether all rows will be read; a checksum is made only then.

    Attributes:
        sha256: of the file's bytes; of a folder, over its files. Known after the last row, as `size` in bytes is.
        left_out: files that are held out for an evaluation.
    """

    def __init__(self, path: Path, options: ReadOptions = NO_OPTIONS,
                 progress: Callable[[int, int], None] | None = None, cancelled: Callable[[], bool] | None = None,
                 said: Iterable[str] = (), whole: bool = True):
        self.path = path
        self.sha256 = ""
        self.size = 0
        self.left_out: list[str] = []
        self._said = tuple(part for name in said for part in name.split(" + "))
        self.options, self._progress, self._cancelled, self._whole = options, progress, cancelled, whole

    def parts(self) -> Generator[Part, None, None]:
        """Each file with rows. A part's rows must be read to their end before the next part is asked for.

        Raises:
            UserError: nothing in it can be read.
            ReadingCancelled: `cancelled` said so.
        """
        with closing(self._parts()) as found:
            for part in found:
                part = _joined(part, self.options)
                part.others += self._held_out()
                yield part

    def _parts(self) -> Generator[Part, None, None]:
        """The files with their rows as they are."""
        if _is_folder(self.path):
            yield from self._folder_parts()
            return
        source = Source(self.path, self._progress, self._cancelled, whole=self._whole)
        if source.head(4) == packed.ZIP:
            members = {member.name: member for member in packed.members(self.path)}
            if not file_kinds.zip_format(members):
                yield from self._zip_parts(members)
                return
        yield from self._file_part(source, "")
        self.sha256, self.size = source.sha256, source.size

    def files(self) -> list[Path]:
        """The files with rows of a folder; of anything else, itself. Raises as `parts`."""
        if not _is_folder(self.path):
            return [self.path]
        names = self._files()
        return [names[name] for name in self._worth(list(names))]

    def _files(self) -> dict[str, Path]:
        """All files of a folder, but hidden ones, by their paths in it."""
        found = sorted(path for path in self.path.rglob("*") if path.is_file() and not any(
            part.startswith(".") for part in path.relative_to(self.path).parts))
        return {path.relative_to(self.path).as_posix(): path for path in found}

    def _folder_parts(self) -> Iterator[Part]:
        names = self._files()
        digest = hashlib.sha256()
        for name in self._worth(list(names)):
            source = Source(names[name], None, self._cancelled, whole=self._whole)
            yield from self._file_part(source, name)
            digest.update(f"{name}\0{source.sha256}\n".encode())
            self.size += source.size
        self.sha256 = digest.hexdigest()

    def _zip_parts(self, members: dict[str, packed.Member]) -> Iterator[Part]:
        whole = Source(self.path, self._progress, self._cancelled, whole=self._whole)
        whole.read_through()
        for name in self._worth(list(members)):
            yield from self._file_part(Source(self.path, None, self._cancelled, members[name]), name)
        self.sha256, self.size = whole.sha256, whole.size

    def _worth(self, names: list[str]) -> list[str]:
        """Those of the files that hold the rows to learn, or that a user has chosen.

        Raises:
            UserError: none does, or there are too many.
        """
        fit = [name for name in names if has_rows(name) and "__MACOSX/" not in name]
        if self.options.files:
            return self._few([name for name in fit if fnmatch(name, self.options.files)
                              or fnmatch(Path(name).name, self.options.files)])
        fit = [name for name in fit if Path(name).name.split(".")[0].lower() not in _BESIDE]
        rows = [name for name in fit if suffix_of(name) not in (*TEXT_SUFFIXES, ".pdf", ".docx")]
        fit = rows or fit  # beside tables, a text file describes them
        held_out = [name for name in fit if _split_of(name)]
        if held_out and len(held_out) < len(fit):
            self.left_out = held_out
            fit = [name for name in fit if name not in held_out]
        return self._few(fit)

    def _few(self, names: list[str]) -> list[str]:
        """The same names, if they can be read together."""
        if not names:
            raise UserError(
                tr("{name} contains no file {pattern}.", name=self.path.name, pattern=self.options.files)
                if self.options.files else tr("{name} contains no file with rows or text.", name=self.path.name),
                "", tr("Choose other files.") if self.options.files else tr(CHOOSE))
        if len(names) > MOST_FILES:
            raise UserError(ntr("{name} has {n:,} file.", "{name} has {n:,} files.", len(names), name=self.path.name),
                            tr("At most {most:,} can be read together.", most=MOST_FILES),
                            tr("Join them into fewer files."))
        return names

    def _held_out(self) -> list[Candidate]:
        """The files that are left out, by the pattern of each kind."""
        return [Candidate("table", options=ReadOptions(files=pattern), certainty=_HELD_OUT_CERTAINTY,
                          evidence=(Evidence("held_out", {"files": pattern}),))
                for pattern in dict.fromkeys(map(_split_of, self.left_out))]

    def _file_part(self, source: Source, name: str) -> Iterator[Part]:
        kind = file_kinds.binary_format(source, source.head())
        if not kind:
            part = self._text_part(source, name)
            part.assumed = source.assumed
            yield part
        elif kind in ("xlsx", "xlsb", "xls", "ods"):
            yield self._sheet_part(source, name, kind)
        else:
            with source.seekable() as file:
                yield self._file_with_pages(source, name, kind, file) if kind in ("pdf", "docx") else Part(
                    name, kind, _checked(arrow.arrow_rows(file, source.name, kind == "parquet"), source))

    def _file_with_pages(self, source: Source, name: str, kind: str, file: BinaryIO) -> Part:
        notes = list[str]()
        found = documents.word(file, source.name, self.options, notes) if kind == "docx" else documents.pdf(
            file, source.name, source.check_cancelled, self.options, notes)
        by = "page" if kind == "pdf" and found.is_plain else ""
        return _of_reading(Part(name, kind, _checked(found.rows, source), text_by=by, notes=notes), found)

    def _text_part(self, source: Source, name: str) -> Part:
        suffix = source.suffix
        chunks = source.chunks(may_be_legacy=suffix not in JSON_SUFFIXES)
        first = next(chunks, b"")
        everything = chain([first], chunks)
        part = Part(name, "", iter(()), source.encoding)
        if source.assumed:
            part.notes.append(tr("The encoding was assumed to be {encoding}, judging by the file's bytes.",
                                 encoding=source.encoding))
        if kind := nested.kind_of(first, suffix):
            part.format = kind
            part.rows = json_rows.json_rows(iter([nested.as_json(everything, kind, source.name)]), part,
                                            self.options.rows)
            return part
        if suffix in JSON_SUFFIXES or json_rows.BEGINS.match(first) is not None:
            return self._json_part(part, first, everything, suffix)
        if delimiter := file_kinds.delimiter(first, suffix, self.options):
            return self._table_part(part, first, everything, delimiter)
        part.format = "markdown" if suffix in (".md", ".markdown") else "text"
        found = texts.read(first, everything, self.options, part.notes, markdown=part.format == "markdown")
        part.rows = found.rows
        return _of_reading(part, found)

    def _json_part(self, part: Part, first: bytes, everything: Iterator[bytes], suffix: str) -> Part:
        part.format = "jsonl" if (is_lines(first) and suffix != ".json") or (
            suffix == ".json" and file_kinds.has_lines(first)) else "json"
        if part.format == "jsonl" and self.options.rows is None:
            part.blocks = quick_rows.blocks(everything)
        else:
            part.rows = json_rows.json_rows(everything, part, self.options.rows)
        return part

    def _table_part(self, part: Part, first: bytes, everything: Iterator[bytes], delimiter: str) -> Part:
        part.format = "tsv" if delimiter == "\t" else "csv"
        cells = tables.of_cards(tables.table_rows(everything, delimiter))
        return self._named(part, cells)

    def _named(self, part: Part, rows: Iterator[tables.TableRow]) -> Part:
        """A table with the names of its columns."""
        found = header.named(rows, part.notes, self._said, self.options.header_rows)
        part.rows, part.columns = found.rows, found.columns
        part.certainty = min(part.certainty, found.certainty)
        part.others += found.others
        part.options = replace(part.options, header=found.header or self.options.header)
        return self._of_one_column(part) if len(found.columns) == 1 else part

    def _of_one_column(self, part: Part) -> Part:
        """A table of one column, in which questions and answers or the turns of a conversation may alternate."""
        (column,), rows = part.columns, part.rows
        begin = list(islice(rows, texts.LOOKED_AT))
        lines = (raw if raw.problem else Line(str(raw.value[column]), raw.line) for raw in chain(begin, rows))
        found = texts.reading([Line(str(raw.value[column]), raw.line) for raw in begin if not raw.problem], lines,
                              lambda _: chain(begin, rows), "line", self.options, part.notes)
        if found.is_plain:
            part.rows = chain(begin, rows)
            return part
        return _of_reading(replace(part, rows=found.rows), found)

    def _sheet_part(self, source: Source, name: str, kind: str) -> Part:
        with source.seekable() as file:
            sheet = sheets.open_sheet(file, source.name, self.options.sheet)
        part = Part(name, kind, iter(()), sheets=(sheet.name, *sheet.others), notes=sheet.notes,
                    certainty=sheet.certainty, others=list(sheet.candidates),
                    options=replace(self.options, sheet=sheet.name if sheet.candidates else self.options.sheet))
        part = self._named(part, sheet.rows)
        part.rows = _checked(part.rows, source)
        return part


def _of_reading(part: Part, found: Reading) -> Part:
    """A part of a text, with how it was cut."""
    part.text_by = part.text_by or found.options.text_by or ""
    part.certainty, part.others, part.columns = found.certainty, list(found.others), ()
    part.options, part.evidence = found.options, found.evidence
    return part


def _joined(part: Part, options: ReadOptions) -> Part:
    """A part with rows that are conversations where each was one message, or a chat."""
    if part.blocks is not None:
        block = next(part.blocks, None)
        first = list(islice(json_rows.block_rows(block.kept, block.line), joined.LOOKED_AT)) if block else []
        part.blocks = chain([block] if block else [], part.blocks)
    else:
        first = list(islice(part.rows, joined.LOOKED_AT))
        part.rows = chain(first, part.rows)
    values = [raw.value for raw in first if raw.problem is None]
    importer, certainty = joined.importer_of(values, options)
    if importer is not None:
        rows = part.all_rows()
        part.certainty *= certainty
        part.rows, part.blocks, part.columns = importer.read(rows, values, options, part), None, ()
    return part


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _checked(rows: Iterator[Raw], source: Source) -> Iterator[Raw]:
    """The same rows; listens to Cancel, and sees in the end that the file stayed as it was."""
    for number, row in enumerate(rows):
        if number % 50 == 0:
            source.check_cancelled()
        yield row
    source.check_unchanged()


def has_rows(name: str) -> bool:
    """Whether a file of this name is looked at for rows in a folder."""
    return suffix_of(name) in SUFFIXES


def _split_of(name: str) -> str:
    """The pattern of the files of a held-out split that a file is one of; "" of another file."""
    words = Path(name).name.lower().replace("_", "-").replace(".", "-").split("-")
    folder = Path(name).parent.name
    if words[0] in _HELD_OUT:
        return f"{Path(name).name[:len(words[0])]}*"
    return f"*{folder}/*" if folder.lower() in _HELD_OUT else ""  # "test/data-00000-of-00001.arrow"
