"""Rows of tables that aren't text: Parquet and Arrow, by pyarrow; Excel and OpenDocument workbooks, by python-calamine;
and SQLite databases. A sheet of a workbook is what a table is in a database."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from slmstudio.core.data import packed
from slmstudio.core.data.candidates import Candidate, Evidence, Part
from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.row_texts import ROW_LIMIT
from slmstudio.core.data.source import Source
from slmstudio.core.data.sources import header
from slmstudio.core.data.sources.row import Raw, cell_text, plain, with_words
from slmstudio.core.data.sources.tables import TableRow
from slmstudio.core.data.strict_json import NotJson, decode
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr

if TYPE_CHECKING:
    import sqlite3

# -- which of several sheets ------------------------------------------------------------------------------------

TWIN, OTHER = 0.7, 0.2
"""How sure the first of several sheets with rows of one kind is, and a sheet with rows of another kind."""
SHORT = 4
"""How many times as many rows as a first sheet another one has, where that sheet only counts or explains them."""


class Sheet(NamedTuple):
    """A sheet of a workbook or a table of a database: its column names in small letters, and its rows below them."""

    names: frozenset[str]
    rows: int
    is_blank: bool = False


def choose(part: Part, name: str, sheets: Mapping[str, Sheet], likeliest: Callable[[list[str]], str]) -> str:
    """The sheet to read; the others become candidates. Those are of the chosen one's kind that have its column names,
    or question and answer, too.

    Args:
        name: of the file.
        likeliest: chooses one where the user hasn't.

    Raises:
        UserError: there is no such sheet, or nothing in any.
    """
    wanted, are_tables = part.options.sheet, part.format == "sqlite"
    filled = [each for each in sheets if not sheets[each].is_blank]
    if wanted is not None and wanted not in sheets:
        there = ", ".join(sheets)
        raise UserError(*((tr("{name} has no table {wanted!r}.", name=name, wanted=wanted),
                           tr("Its tables are {names}.", names=there)) if are_tables else
                          (tr("{name} has no sheet {wanted!r}.", name=name, wanted=wanted),
                           tr("Its sheets are {names}.", names=there))), tr("Choose one of them."))
    if not filled and wanted is None:
        raise UserError(tr("{name} contains no rows.", name=name), tr("All its tables are empty.") if are_tables else
                        tr("All its sheets are empty."), tr("Choose another file."))
    chosen = wanted or likeliest(filled)
    others = [each for each in filled if each != chosen]
    part.sheets = (chosen, *others)
    if not others:
        return chosen
    shown = ", ".join(others[:5])
    part.notes.append(ntr('The table "{table}" was read. The file has {n:,} more: {others}.',
                          'The table "{table}" was read. The file has {n:,} more: {others}.', len(others),
                          table=chosen, others=shown) if are_tables else
                      ntr('The sheet "{sheet}" was read. The file has {n:,} more: {others}.',
                          'The sheet "{sheet}" was read. The file has {n:,} more: {others}.', len(others),
                          sheet=chosen, others=shown))
    if wanted is None:
        names, both = sheets[chosen].names, header.names_both(list(sheets[chosen].names))
        twins = {each for each in others if len(sheets[each].names & names) > max(1, len(names) // 2)
                 or (both and header.names_both(list(sheets[each].names)))}
        evidence = {each: Evidence("table_rows", {"table": each, "n": sheets[each].rows}) if are_tables else
                    Evidence("sheet_rows", {"sheet": each, "n": sheets[each].rows}) for each in part.sheets}
        part.choose(TWIN if twins else 1.0, [evidence[chosen]], [Candidate(
            "table", options=ReadOptions(sheet=each), certainty=TWIN - 0.1 if each in twins else OTHER,
            evidence=(evidence[each],)) for each in others], sheet=chosen)
    return chosen


# -- workbooks --------------------------------------------------------------------------------------------------


def read_workbook(part: Part, file: BinaryIO, source: Source) -> None:
    """The sheet of a workbook that the user has chosen, else the first with rows that people can see.

    Raises:
        UserError: the workbook is damaged or locked, holds nothing, or has no such sheet.
    """
    import python_calamine as calamine

    name = source.name
    try:
        packed.check_archive(file, name)
        book = calamine.CalamineWorkbook.from_filelike(file)
        visible = {each.name: each.visible == calamine.SheetVisibleEnum.Visible for each in book.sheets_metadata
                   if each.typ == calamine.SheetTypeEnum.WorkSheet}
        sheets = {each: book.get_sheet_by_name(each) for each in visible}
    except calamine.PasswordError as error:
        raise UserError(tr("{name} has a password.", name=name), "",
                        tr("Save a copy without a password, and open that.")) from error
    except (calamine.CalamineError, zipfile.BadZipFile, OSError, ValueError) as error:
        raise UserError(tr("{name} is a damaged workbook.", name=name),
                        tr("Opening it failed: {error}.", error=error),
                        tr("Open it in your spreadsheet program, and save it again.")) from error
    chosen = choose(part, name, {each: _about(sheet) for each, sheet in sheets.items()},
                    lambda filled: _with_rows(sheets, [each for each in filled if visible[each]] or filled))
    header.name(part, _rows(sheets[chosen], part.notes))


def _about(sheet: Any) -> Sheet:
    begin = [TableRow(_texts(cells), number) for number, cells in enumerate(
        islice(sheet.iter_rows(), header.LOOKED_AT), 1)]
    names = header.names_of([row for row in begin if any(row.cells)])
    return Sheet(names, sheet.height - bool(names), not sheet.total_height)


def _texts(cells: list[Any]) -> list[str]:
    return [cell_text(value) or "" for value in cells]


def _with_rows(sheets: dict[str, Any], names: list[str]) -> str:
    """The first of these sheets that names question and answer, else the first. Where that is a single column, or much
    shorter than a table behind it, it is that table: then the first one says what the workbook is, or counts it."""
    first = sheets[names[0]]
    long = [name for name in names if 2 * sheets[name].height >= first.height]
    if len(long) > 1 and (named := next((name for name in long if _names_both(sheets[name])), "")):
        return named
    least = first.height if first.width == 1 else SHORT * first.height
    return next((name for name in names if sheets[name].width > 1 and sheets[name].height >= least), names[0])


def _names_both(sheet: Any) -> bool:
    return any(header.names_both(_texts(cells)) for cells in islice(sheet.iter_rows(), header.MOST_TITLES))


def _rows(sheet: Any, notes: list[str]) -> Iterator[TableRow]:
    """Its rows. A merged cell counts for all rows that it covers."""
    merged = {(row, column): (top, left) for (top, left), (bottom, right) in sheet.merged_cell_ranges or ()
              for row in range(top + 1, bottom + 1) for column in range(left, right + 1)}
    if merged:
        notes.append(tr("Merged cells were read as if each row had their text."))
    above = dict.fromkeys(merged.values(), "")
    # calamine leaves out the rows above the first cell, and the columns before it.
    begin, left = sheet.start or (0, 0)
    for number, cells in enumerate(sheet.iter_rows(), begin if sheet.height < sheet.total_height else 0):
        texts = _texts(cells)
        for place in range(len(texts)) if merged else ():
            at = (number, place + (left if len(texts) < sheet.total_width else 0))
            if at in above:
                above[at] = texts[place]
            elif at in merged and not texts[place]:
                texts[place] = above[merged[at]]
        if any(texts):
            yield TableRow(texts, number + 1)


# -- databases --------------------------------------------------------------------------------------------------

_JOURNALS = slice(18, 20)
"""Bytes of the file that say whether its changes are in a log beside it; 1 where there is none."""
_STEPS = 100_000
"""Instructions of SQLite between two looks at Cancel."""


def read_database(part: Part, file: BinaryIO, source: Source) -> None:
    """The table of a database that the user has chosen, else the one that names question and answer, else the one with
    most words in its first rows. Its rows are read one after another.

    Raises:
        UserError: it is damaged, holds nothing, or has no such table.
    """
    data = file.getvalue() if isinstance(file, BytesIO) else source.path
    columns: dict[str, list[str]] = {}
    about: dict[str, Sheet] = {}
    words: dict[str, int] = {}
    with _opened(data, source) as database:
        for (name,) in database.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
                " AND rootpage > 0 ORDER BY rootpage").fetchall():
            if isinstance(name, str):
                cursor = database.execute(f"SELECT * FROM {_quoted(name)} LIMIT {header.LOOKED_AT}")
                columns[name] = [each[0] for each in cursor.description]
                begin = [dict(zip(columns[name], each, strict=True)) for each in cursor]
                words[name] = sum(len(str(row[each])) for row in begin for each in with_words(begin, columns[name]))
                (count,) = database.execute(f"SELECT count(*) FROM {_quoted(name)}").fetchone()
                about[name] = Sheet(frozenset(map(str.casefold, columns[name])), count, not count)
    chosen = choose(part, source.name, about, lambda filled: max(
        filled, key=lambda each: (header.names_both(columns[each]), words[each])))
    part.rows = _table_rows(data, chosen, columns[chosen], source)
    if isinstance(data, Path) and (log := data.with_name(f"{data.name}-wal")).is_file() and log.stat().st_size:
        part.notes.append(tr("The newest changes of the database are in {log} and weren't read. To read them, too, "
                             "close the program that uses the database.", log=log.name))


@contextmanager
def _opened(file: Path | bytes, source: Source) -> Iterator[sqlite3.Connection]:
    """The database, which nothing can change, and of which no program is run. Raises as `read_database`."""
    import sqlite3  # which most data sets don't need

    def is_cancelled() -> bool:
        try:
            source.check_cancelled()
        except UserError:  # SQLite stops; the same is raised below
            return True
        return False

    try:
        if isinstance(file, Path):
            database = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True,
                                       check_same_thread=False)
        else:
            database = sqlite3.connect(":memory:", check_same_thread=False)
            database.deserialize(file[:_JOURNALS.start] + b"\1\1" + file[_JOURNALS.stop:])
        with closing(database):
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 4 * ROW_LIMIT)
            database.set_progress_handler(is_cancelled, _STEPS)
            database.text_factory = _text
            database.execute("PRAGMA trusted_schema = OFF")
            database.execute("PRAGMA cell_size_check = ON")
            (page,) = database.execute("PRAGMA page_size").fetchone()
            if (file.stat().st_size if isinstance(file, Path) else len(file)) % page:  # SQLite takes the rest as zeros
                raise sqlite3.DatabaseError("the last page is incomplete")
            yield database
    except (sqlite3.Error, UnicodeError) as error:
        source.check_cancelled()
        raise UserError(tr("{name} is a damaged SQLite database, or was cut short.", name=source.name),
                        tr("Reading it failed: {error}.", error=error), tr(packed.AGAIN)) from error


def _text(data: bytes) -> str | NotJson:
    try:
        return decode(data)
    except NotJson as error:
        return error


def _table_rows(file: Path | bytes, table: str, columns: list[str], source: Source) -> Iterator[Raw]:
    with _opened(file, source) as database:
        for number, cells in enumerate(database.execute(f"SELECT * FROM {_quoted(table)}"), 1):
            damage = next((each for each in cells if isinstance(each, NotJson)), None)
            yield Raw(dict(zip(columns, map(plain, cells), strict=True)), number) if damage is None else Raw(
                None, number, damage.problem(number))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# -- Parquet and Arrow ------------------------------------------------------------------------------------------

BATCH = 500
"""Rows that are turned into objects at a time."""
_INDEX = "__index_level_"
"""What pandas calls the column of its row numbers."""


def read_arrow(part: Part, file: BinaryIO, source: Source) -> None:
    """All rows of a table, a batch at a time. Raises as `arrow_rows`, while they are read."""
    part.rows = arrow_rows(file, source.name, part.format == "parquet")


def arrow_rows(file: BinaryIO, name: str, is_parquet: bool) -> Iterator[Raw]:
    """All rows of a table; the file must stay open meanwhile.

    Raises:
        UserError: it is damaged, or was cut short.
    """
    import pyarrow

    number = 0
    try:
        schema, batches = _batches(file, is_parquet)
        names = _class_names(schema.metadata)
        for batch in batches:
            for row in batch.to_pylist():
                number += 1
                yield Raw({key: _named(_without_nulls(plain(value)), names.get(key)) for key, value in row.items()
                           if not key.startswith(_INDEX)}, number)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        said = str(error).strip().splitlines()[0][:200].rstrip(".") if str(error).strip() else type(error).__name__
        raise UserError(tr("{name} is a damaged table, or was cut short.", name=name),
                        tr("Reading it failed: {error}.", error=said), tr(packed.AGAIN)) from error


def _batches(file: BinaryIO, is_parquet: bool) -> tuple[Any, Iterator[Any]]:
    """The schema of a table, and its rows, at most `BATCH` at a time."""
    import pyarrow
    from pyarrow import parquet

    if is_parquet:
        table = parquet.ParquetFile(file)
        return table.schema_arrow, table.iter_batches(batch_size=BATCH)
    is_file = file.read(6) == b"ARROW1"
    file.seek(0)
    opened = pyarrow.ipc.open_file(file) if is_file else pyarrow.ipc.open_stream(file)
    whole = map(opened.get_batch, range(opened.num_record_batches)) if is_file else opened
    return opened.schema, (batch.slice(start, BATCH) for batch in whole for start in range(0, batch.num_rows, BATCH))


def _class_names(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """The names of classes that Hugging Face's `datasets` keeps beside a column of numbers."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {column: each["names"] for column, each in features.items()
                if isinstance(each, dict) and each.get("_type") == "ClassLabel" and isinstance(each.get("names"), list)}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _named(value: Any, names: list[str] | None) -> Any:
    return names[value] if names and isinstance(value, int) and 0 <= value < len(names) else value


def _without_nulls(value: Any) -> Any:
    """Objects without the keys that hold nothing: a table gives each of them the keys of all."""
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value
