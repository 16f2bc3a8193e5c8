"""Opens whatever a user has data in: says what it is, and hands out its rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from fnmatch import fnmatch
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from slmstudio.core.data import packed, quick_rows
from slmstudio.core.data.candidates import Candidate, Evidence, Part
from slmstudio.core.data.importers import json_rows, linked, people
from slmstudio.core.data.mapping.mapper import SAMPLE
from slmstudio.core.data.mapping.published import find, layout_of
from slmstudio.core.data.read_options import NO_OPTIONS, ReadOptions
from slmstudio.core.data.row_texts import is_lines
from slmstudio.core.data.source import CHOOSE, PAGE_SUFFIXES, Source, not_a_page_with_rows, suffix_of, zip_format
from slmstudio.core.data.sources import documents, header, sheets, structured, tables, texts
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.data.sources.texts import Message
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr

# -- Which importer joins a file's rows to conversations, if any; and chats of people as programs export them, one a
# row or a message a row: where things are in them is said by the published layouts "of" a "chat" and a "post".

LOOKED_AT = 40
_LIKELY = 0.5



def _are_chats(values: list[dict[str, Any]]) -> float:
    return float(all(layout_of(each, "chat") is not None for each in values) or _are_posts(values))


def _are_posts(values: list[dict[str, Any]]) -> bool:
    """Whether each row is a message; one of them may say who they are from."""
    posts = sum(layout_of(each, "post") is not None for each in values)
    return posts > 1 and posts >= len(values) - 1


def _read_chats(rows: Iterator[Raw], values: list[dict[str, Any]], options: ReadOptions,
                part: Part) -> Iterator[Raw]:
    """The conversations; rows that aren't chats stay as they are."""
    if _are_posts(values):
        posts = (message for raw in rows for message in _messages(raw, "post"))
        yield from people.conversations(posts, options, part, tr("This chat"))
        return
    for raw in rows:
        layout = layout_of(raw.value, "chat")
        if layout is None:
            yield raw
            continue
        name = find(layout.entry["chat"], raw.value)
        yield from people.conversations(_messages(raw, "chat"), options, part,
                                        f"“{name}”" if isinstance(name, str) else tr("This chat"))


def _messages(raw: Raw, of: str) -> Iterator[Message]:
    """Those of a row that have a text and a speaker."""
    layout = layout_of(raw.value, of)
    for each in (find(layout.entry["messages"], raw.value) if layout is not None else None) or ():
        if isinstance(each["who"], str) and isinstance(each["text"], str) and each["text"].strip():
            yield Message(each["who"], each["text"], people.day_of(each.get("when")), raw.line, each.get("role") or "")


class Importer(NamedTuple):
    """
    Attributes:
        detect: how sure it is that such first rows are messages, or chats, that it makes conversations of, 0 to 1.
        read: the conversations of all rows, by the values of the first ones and by who speaks, if a user has said so;
            the part gets sentences on how they were joined, and what else they may be.
    """

    detect: Callable[[list[dict[str, Any]]], float]
    read: Callable[[Iterator[Raw], list[dict[str, Any]], ReadOptions, Part], Iterator[Raw]]


_IMPORTERS = (Importer(_are_chats, _read_chats), Importer(linked.is_tree, linked.read_trees),
              Importer(linked.detect, linked.read), Importer(people.has_names, people.read_named))


def importer_of(values: list[Any], options: ReadOptions) -> tuple[Importer | None, float]:
    """The surest importer of a file with such first rows, and how sure it is; None if each row speaks for itself."""
    if not values or not all(isinstance(each, dict) for each in values):
        return None, 1.0
    certainty, _, found = max((each.detect(values), -at, each) for at, each in enumerate(_IMPORTERS))
    is_said = options.user is not None or options.assistant is not None
    return (found, certainty) if certainty >= _LIKELY or (is_said and certainty) else (None, 1.0)


JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
TEXT_SUFFIXES = (".txt", ".text", ".md", ".markdown")
TABLE_SUFFIXES = (".csv", ".tsv", ".tab")
DATABASE_SUFFIXES = (".db", ".sqlite", ".sqlite3")
SUFFIXES = (*JSON_SUFFIXES, *TEXT_SUFFIXES, *TABLE_SUFFIXES, ".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".parquet",
            ".arrow", ".feather", ".pdf", ".docx", ".yml", ".yaml", ".xml", ".po", ".gift",
            *DATABASE_SUFFIXES)
"""Endings of the files that are looked for in folders and archives, packed by gzip or Zstandard or not."""
MOST_FILES = 2000
SAMPLE_BYTES = 8 << 20
"""About how much of a file is looked at, at most, to guess its columns."""
_HELD_OUT_CERTAINTY = 0.1
_HELD_OUT = ("test", "valid", "validation", "eval", "dev", "heldout")
_BESIDE = ("readme", "license", "licence", "changelog", "dataset_info", "dataset_infos", "dataset_dict", "state",
           "metadata", "config", "thumbs")
"""Names of files in a dataset's folder that hold no rows."""


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
        if _is_folder(self.path):
            yield from self._folder_parts()
            return
        source = Source(self.path, self._progress, self._cancelled, whole=self._whole)
        members = {each.name: each for each in packed.members(self.path)} if source.head(4) == packed.ZIP else {}
        if members and not zip_format(members):
            source.read_through()
            for name in self._worth(members):
                yield self._part(Source(self.path, None, self._cancelled, members[name]), name)
        else:
            yield self._part(source, "")
        self.sha256, self.size = source.sha256, source.size

    def files(self) -> list[Path]:
        """The files with rows of a folder; of anything else, itself. Raises as `parts`."""
        if not _is_folder(self.path):
            return [self.path]
        found = sorted(path for path in self.path.rglob("*") if path.is_file() and not any(
            part.startswith(".") for part in path.relative_to(self.path).parts))
        return [self.path / name for name in self._worth([path.relative_to(self.path).as_posix() for path in found])]

    def _folder_parts(self) -> Iterator[Part]:
        digest = hashlib.sha256()
        for path in self.files():
            name = path.relative_to(self.path).as_posix()
            source = Source(path, None, self._cancelled, whole=self._whole)
            yield self._part(source, name)
            digest.update(f"{name}\0{source.sha256}\n".encode())
            self.size += source.size
        self.sha256 = digest.hexdigest()

    def _worth(self, names: Collection[str]) -> list[str]:
        """Those of the files that hold the rows to learn, or that a user has chosen.

        Raises:
            UserError: none does, or there are too many.
        """
        fit, pattern = [name for name in names if has_rows(name) and "__MACOSX/" not in name], self.options.files
        if pattern:
            fit = [name for name in fit if fnmatch(name, pattern) or fnmatch(Path(name).name, pattern)]
        else:
            fit = [name for name in fit if Path(name).name.split(".")[0].lower() not in _BESIDE]
            # Beside tables, a text file describes them.
            fit = [name for name in fit if suffix_of(name) not in (*TEXT_SUFFIXES, ".pdf", ".docx")] or fit
            learned = [name for name in fit if not _split_of(name)]
            if learned:
                self.left_out, fit = [name for name in fit if _split_of(name)], learned
        if not fit:
            raise UserError(
                tr("{name} contains no file {pattern}.", name=self.path.name, pattern=pattern) if pattern else
                tr("{name} contains no file with rows or text.", name=self.path.name),
                "", tr("Choose other files.") if pattern else tr(CHOOSE))
        if len(fit) > MOST_FILES:
            raise UserError(ntr("{name} has {n:,} file.", "{name} has {n:,} files.", len(fit), name=self.path.name),
                            tr("At most {most:,} can be read together.", most=MOST_FILES),
                            tr("Join them into fewer files."))
        return fit

    def _part(self, source: Source, name: str) -> Part:
        """A file with its rows, those of several messages as conversations; `others` has what is left out, too."""
        part = Part(name, self.options, self._said, source.format())
        if part.format:
            file = source.seekable()
            _READERS[part.format](part, file, source)
            part.rows = _checked(part.rows, source, file)
        else:
            _open_text(part, source)
        _join(part, self.options)
        part.others += [Candidate("table", options=ReadOptions(files=pattern), certainty=_HELD_OUT_CERTAINTY,
                                  evidence=(Evidence("held_out", {"files": pattern}),))
                        for pattern in dict.fromkeys(map(_split_of, self.left_out))]
        return part


_READERS: dict[str, Callable[[Part, BinaryIO, Source], None]] = {
    "parquet": sheets.read_arrow, "arrow": sheets.read_arrow, "docx": documents.read_word, "pdf": documents.read_pdf,
    "sqlite": sheets.read_database, **dict.fromkeys(("xlsx", "xlsb", "xls", "ods"), sheets.read_workbook)}
"""By `Source.format`, what reads a file that isn't text."""


def _open_text(part: Part, source: Source) -> None:
    suffix, options = source.suffix, part.options
    chunks = source.chunks(may_be_legacy=suffix not in JSON_SUFFIXES)
    first = next(chunks, b"")
    everything = chain([first], chunks)
    part.encoding, part.assumed = source.encoding, source.assumed
    if source.assumed:
        part.notes.append(tr("The encoding was assumed to be {encoding}, judging by the file's bytes.",
                             encoding=source.encoding))
    if suffix in PAGE_SUFFIXES:
        part.format = "html"
        if documents.read_web_page(part, everything) and options.text_by is None:
            raise not_a_page_with_rows(source.name, tr("It has no questions with answers that can be recognised."))
    elif options.text_by is None and (kind := structured.kind_of(first, suffix)):
        part.format = kind
        part.rows = json_rows.json_rows(iter([structured.as_json(everything, kind, source.name)]), part, options.rows)
    elif suffix in JSON_SUFFIXES or json_rows.BEGINS.match(first) is not None:
        has_lines = is_lines(first) and (suffix != ".json" or b"\n" in first.strip())
        part.format = "jsonl" if has_lines else "json"
        if has_lines and options.rows is None:
            part.blocks = quick_rows.blocks(everything)
        else:
            part.rows = json_rows.json_rows(everything, part, options.rows)
    elif delimiter := _delimiter(first, suffix, options):
        part.format = "tsv" if delimiter == "\t" else "csv"
        header.name(part, tables.of_cards(tables.table_rows(everything, delimiter)))
    else:
        part.format = "markdown" if suffix in (".md", ".markdown") else "text"
        texts.read(part, first, everything)


def first_rows(part: Part) -> list[Raw]:
    """The first rows of a part, until they are enough for a guess, or long; they are still to be read."""
    if part.blocks is not None:
        block = next(part.blocks, None)
        part.blocks = chain([block] if block else [], part.blocks)
        return list(_enough(json_rows.block_rows(block.kept, block.line))) if block else []
    found = list(_enough(part.rows))
    part.rows = chain(found, part.rows)
    return found


def all_rows(part: Part) -> Iterator[Raw]:
    """The rows of a part one by one, whatever they come from."""
    of_blocks = (json_rows.block_rows(block.text, block.line) for block in part.blocks or ())
    return chain(part.rows, chain.from_iterable(of_blocks))


def _enough(rows: Iterator[Raw]) -> Iterator[Raw]:
    size = 0
    for raw in islice(rows, SAMPLE):
        yield raw
        size += len(str(raw.value)) if raw.problem is None else 0
        if size > SAMPLE_BYTES:
            return


def _join(part: Part, options: ReadOptions) -> None:
    """Make conversations of rows where each is one message, or a chat."""
    values = [raw.value for raw in first_rows(part)[:LOOKED_AT] if raw.problem is None]
    importer, certainty = importer_of(values, options)
    if importer is not None:
        part.certainty *= certainty
        part.rows, part.blocks, part.columns = importer.read(all_rows(part), values, options, part), None, ()


def _delimiter(first: bytes, suffix: str, options: ReadOptions) -> str:
    """What separates the columns of a text that begins so; "" of one that isn't a table.

    A text by its name is one only where each line has a tab behind something short, or its columns are called as
    questions and answers are; a file of unknown name where its first row holds names.
    """
    is_text = suffix in (".txt", ".text")
    if options.text_by is None and (said := tables.separator_said(first)):
        return said
    if suffix in (".tsv", ".tab") or (is_text and tables.is_by_tabs(first)):
        return "\t"
    found = tables.delimiter_of(first)
    if suffix == ".csv" or (options.header is not None and options.text_by is None):
        return found
    if options.text_by is not None:
        return ""
    if suffix in (".md", ".markdown"):
        is_alone = tables.is_of_markdown(first) and (not tables.has_text_beside(first) or any(
            header.names_both(row.cells) for row in islice(tables.table_rows(iter([first]), "|"), header.MOST_TITLES)))
        return "|" if is_alone else ""
    begin = first[:1 << 16].rpartition(b"\n")[0] or first
    rows = [row.cells for row in islice(tables.table_rows(iter([begin]), found), 20) if row.trouble is None]
    is_table = len(rows) > 1 and len(rows[0]) > 1 and len({len(cells) for cells in rows}) == 1 and (
        header.names_both(rows[0]) if is_text else header.is_header(rows))
    return found if is_table else ""


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _checked(rows: Iterator[Raw], source: Source, file: BinaryIO) -> Iterator[Raw]:
    """The same rows; listens to Cancel, and sees in the end that the file stayed as it was."""
    with file:
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
