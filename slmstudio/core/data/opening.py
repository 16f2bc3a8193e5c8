"""Opens whatever a user has data in: says what it is, and hands out its rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from slmstudio.core.data import file_kinds, quick_rows
from slmstudio.core.data.candidates import Candidate
from slmstudio.core.data.importers import joined, json_rows, whatsapp
from slmstudio.core.data.read_options import NO_OPTIONS, ReadOptions
from slmstudio.core.data.row_texts import is_lines
from slmstudio.core.data.source import AS_JSONL, CHOOSE, Source, suffix_of
from slmstudio.core.data.sources import arrow, documents, header, packed, sheets, tables, texts
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
TEXT_SUFFIXES = (".txt", ".text", ".md", ".markdown")
TABLE_SUFFIXES = (".csv", ".tsv", ".tab")
SUFFIXES = (*JSON_SUFFIXES, *TEXT_SUFFIXES, *TABLE_SUFFIXES, ".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".parquet",
            ".arrow", ".feather", ".pdf", ".docx")
"""Endings of the files that are looked for in folders and archives, packed by gzip or Zstandard or not."""
MOST_FILES = 2000
_HELD_OUT = ("test", "valid", "validation", "eval", "dev", "heldout")
_BESIDE = ("readme", "license", "licence", "changelog", "dataset_info", "dataset_infos", "dataset_dict", "state",
           "metadata", "config")
"""Names of files in a dataset's folder that hold no rows."""


@dataclass
class Part:
    """One file with rows.

    Attributes:
        name: of the file within a folder or an archive; "" of a file that is opened alone.
        format: "jsonl", "json", "csv", "tsv", "xlsx", "xls", "ods", "parquet", "arrow", "text", "markdown", "pdf" or
            "docx".
        encoding: of a text, as in `Encoding.name`; otherwise "".
        assumed: whether the encoding was guessed.
        rows: them, once.
        columns: names of a table's columns, in its order.
        text_by: how a text was cut; otherwise "".
        sheets: of a workbook, the sheet that is read and then the others.
        notes: sentences on how the file was understood, where that isn't plain; may grow while the rows are read.
        blocks: of JSONL, its lines in blocks, instead of the rows; `all_rows` has these of every part.
        certainty: how sure it is that the file is to be cut into these rows, 0 to 1.
        others: other ways to cut it: its other sheets, lists and cuts, without columns.
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
    others: list[Candidate] = field(default_factory=list)
    options: ReadOptions = NO_OPTIONS

    def first_rows(self) -> Generator[Raw, None, None]:
        """The rows, of a part in blocks those of the first block."""
        yield from self.rows
        first = next(self.blocks, None) if self.blocks is not None else None
        if first is not None:
            yield from json_rows.block_rows(first.text, first.line)

    def all_rows(self) -> Iterator[Raw]:
        """The rows one by one, whatever they come from."""
        return chain(self.rows, (raw for block in self.blocks or ()
                                 for raw in json_rows.block_rows(block.text, block.line)))


class DataFile:
    """A file, an archive or a folder with rows.

    Args:
        said: names of columns that a user knows.
        whole: whether all rows will be read; a checksum is made only then.

    Attributes:
        path: it.
        sha256: of the file's bytes; of a folder, over the names and checksums of its files. Known after the last row.
        size: bytes in all.
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
                yield _joined(part, self.options)

    def _parts(self) -> Generator[Part, None, None]:
        """The files with their rows as they are."""
        if self._is_folder():
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

    def _is_folder(self) -> bool:
        try:
            return self.path.is_dir()
        except (OSError, ValueError):
            return False

    def files(self) -> list[Path]:
        """The files with rows of a folder; of anything else, itself.

        Raises:
            UserError: as `parts`.
        """
        if not self._is_folder():
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
        """Those of the files that hold the rows to learn.

        Raises:
            UserError: none does, or there are too many.
        """
        fit = [name for name in names if has_rows(name) and "__MACOSX/" not in name
               and Path(name).name.split(".")[0].lower() not in _BESIDE]
        rows = [name for name in fit if suffix_of(name) not in (*TEXT_SUFFIXES, ".pdf", ".docx")]
        fit = rows or fit  # beside tables, a text file describes them
        held_out = [name for name in fit if _is_held_out(name)]
        if held_out and len(held_out) < len(fit):
            self.left_out = held_out
            fit = [name for name in fit if name not in held_out]
        if not fit:
            raise UserError(tr("{name} contains no file with rows or text.", name=self.path.name), "", tr(CHOOSE))
        if len(fit) > MOST_FILES:
            raise UserError(ntr("{name} has {n:,} file.", "{name} has {n:,} files.", len(fit), name=self.path.name),
                            tr("At most {most:,} can be read together.", most=MOST_FILES),
                            tr("Join them into fewer files."))
        return fit

    def _file_part(self, source: Source, name: str) -> Iterator[Part]:
        head = source.head()
        kind = file_kinds.binary_format(source, head)
        if kind in ("xlsx", "xlsb", "xls", "ods"):
            yield self._sheet_part(source, name, kind)
        elif kind:
            file = source.seekable()
            with file:
                by, notes = "", list[str]()
                if kind in ("parquet", "arrow"):
                    rows = arrow.arrow_rows(file, source.name, kind == "parquet")
                elif kind == "pdf":
                    by, rows = documents.pdf_of(file, source.name, source.check_cancelled, self.options.text_by, notes)
                else:
                    by, rows = documents.word_rows(file, source.name, self.options.text_by)
                yield Part(name, kind, _checked(rows, source), text_by=by, notes=notes)
        else:
            yield self._text_part(source, name)

    def _text_part(self, source: Source, name: str) -> Part:
        part = self._kind_of_text(source, name)
        part.assumed = source.assumed
        return part

    def _kind_of_text(self, source: Source, name: str) -> Part:
        suffix = source.suffix
        chunks = source.chunks(may_be_legacy=suffix not in JSON_SUFFIXES)
        first = next(chunks, b"")
        everything = chain([first], chunks)
        is_json = suffix in JSON_SUFFIXES or json_rows.BEGINS.match(first) is not None
        begin = first.decode("utf-8", "replace")
        if not is_json and suffix != ".csv" and not self._said and texts.is_tagged(begin):
            raise UserError(tr("{name} marks single words of a text, for a tagger.", name=source.name),
                            tr("A model that answers in text learns from questions with answers, conversations or "
                               "plain text."), tr(CHOOSE))
        by_tabs = suffix in (".tsv", ".tab") or (suffix in (".txt", ".text") and tables.is_by_tabs(first))
        table = not is_json and (by_tabs or suffix in TABLE_SUFFIXES or (
            suffix not in (".md", ".markdown") and file_kinds.is_table(first, suffix in TEXT_SUFFIXES)))
        notes = [tr("The encoding was assumed to be {encoding}, judging by the file's bytes.",
                    encoding=source.encoding)] if source.assumed else []
        if is_json:
            kind = "jsonl" if (is_lines(first) and suffix != ".json") or (
                suffix == ".json" and file_kinds.has_lines(first)) else "json"
            part = Part(name, kind, iter(()), source.encoding, notes=notes)
            if kind == "jsonl" and self.options.rows is None:
                part.blocks = quick_rows.blocks(everything)
            else:
                part.rows = json_rows.json_rows(everything, part, self.options.rows)
            return part
        if table:
            delimiter = "\t" if by_tabs else tables.delimiter_of(first)
            cells = tables.of_cards(tables.table_rows(everything, delimiter, tables.is_quoted(first)))
            named = header.named(header.below_title(cells), notes, self._said)
            return Part(name, "tsv" if delimiter == "\t" else "csv", named.rows, source.encoding, named.columns,
                        notes=notes)
        if suffix in (".yml", ".yaml"):
            raise UserError(tr("{name} isn't a dataset: it's a YAML file.", name=source.name), "", tr(AS_JSONL))
        if self.options.text_by is None and whatsapp.detect(begin):
            part = Part(name, "text", iter(()), source.encoding, notes=notes)
            part.rows = whatsapp.read(everything, self.options, part)
            return part
        if self.options.text_by is None and texts.are_labelled(begin):
            return Part(name, "text", texts.of_labelled(everything), source.encoding, ("text", "label"), "line",
                        notes=notes)
        if self.options.text_by is None and texts.are_subtitles(begin):
            notes.append(tr("The subtitles are read as text, without their numbers and times."))
            return Part(name, "text", texts.of_subtitles(everything), source.encoding, text_by="length", notes=notes)
        kind = "markdown" if suffix in (".md", ".markdown") else "text"
        by, cut = texts.rows_of(first, everything, self.options.text_by, markdown=kind == "markdown")
        return Part(name, kind, cut, source.encoding, text_by=by, notes=notes)

    def _sheet_part(self, source: Source, name: str, kind: str) -> Part:
        file = source.seekable()
        with file:
            sheet = sheets.open_sheet(file, source.name, self.options.sheet)
        named = header.named(header.below_title(sheet.rows), sheet.notes, self._said)
        return Part(name, kind, _checked(named.rows, source), columns=named.columns, sheets=(sheet.name, *sheet.others),
                    notes=sheet.notes)


def _joined(part: Part, options: ReadOptions) -> Part:
    """A part with rows that are conversations where each was one message, or a chat."""
    block = next(part.blocks, None) if part.blocks is not None else None
    if part.blocks is not None:
        if block is None:
            part.blocks = iter(())
            return part
        first = list(islice(json_rows.block_rows(block.kept, block.line), joined.LOOKED_AT))
        part.blocks = chain([block], part.blocks)
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


def _is_held_out(name: str) -> bool:
    words = Path(name).name.lower().replace("_", "-").replace(".", "-").split("-")
    return words[0] in _HELD_OUT or Path(name).parent.name.lower() in _HELD_OUT  # "test/data-00000-of-00001.arrow"
