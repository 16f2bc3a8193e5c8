"""Rows of SQLite databases: each table is what a sheet is in a workbook."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from slmstudio.core.data.candidates import Evidence
from slmstudio.core.data.row_texts import ROW_LIMIT
from slmstudio.core.data.sources import header, sheets
from slmstudio.core.data.sources.packed import AGAIN
from slmstudio.core.data.sources.row import Raw, plain, with_words
from slmstudio.core.data.strict_json import NotJson, decode
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr

if TYPE_CHECKING:
    import sqlite3

_JOURNALS = slice(18, 20)
"""Bytes of the file that say whether its changes are in a log beside it; 1 where there is none."""
_STEPS = 100_000
"""Instructions of SQLite between two looks at Cancel."""


class _Table(NamedTuple):
    """
    Attributes:
        columns: their names.
        rows: how many it has.
        words: characters of its first rows in columns with words.
    """

    columns: list[str]
    rows: int
    words: int


def open_table(file: Path | bytes, name: str, wanted: str | None, check: Callable[[], None]) -> sheets.Sheet:
    """The table of a database that is called `wanted`, else the one that names question and answer, else the one with
    most words in its first rows. Its rows are `Raw`, and are read one after another.

    Args:
        file: the database, or its bytes where it was packed.
        check: called now and then; may raise.

    Raises:
        UserError: it is damaged, holds nothing, or has no such table.
    """
    with _opened(file, name, check) as database:
        tables = {each: _table(database, each) for (each,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
            " AND rootpage > 0 ORDER BY rootpage").fetchall() if isinstance(each, str)}
    filled = [each for each in tables if tables[each].rows]
    if wanted is not None and wanted not in tables:
        raise UserError(tr("{name} has no table {wanted!r}.", name=name, wanted=wanted),
                        tr("Its tables are {names}.", names=", ".join(tables)), tr("Choose one of them."))
    if not filled and wanted is None:
        raise UserError(tr("{name} contains no rows.", name=name), tr("All its tables are empty."),
                        tr("Choose another file."))
    chosen = wanted or max(filled, key=lambda each: (header.names_both(tables[each].columns), tables[each].words))
    found = sheets.Sheet((chosen, *(each for each in filled if each != chosen)),
                         _rows(file, name, chosen, tables[chosen].columns, check), [])
    if others := found.names[1:]:
        found.notes.append(ntr('The table "{table}" was read. The file has {n:,} more: {others}.',
                               'The table "{table}" was read. The file has {n:,} more: {others}.', len(others),
                               table=chosen, others=", ".join(others[:5])))
    if isinstance(file, Path) and (log := file.with_name(f"{file.name}-wal")).is_file() and log.stat().st_size:
        found.notes.append(tr("The newest changes of the database are in {log} and weren't read. To read them, too, "
                              "close the program that uses the database.", log=log.name))
    return found if wanted is not None or len(found.names) < 2 else sheets.beside(
        found, {each: frozenset(map(str.casefold, tables[each].columns)) for each in found.names},
        {each: Evidence("table_rows", {"table": each, "n": tables[each].rows}) for each in found.names})


@contextmanager
def _opened(file: Path | bytes, name: str, check: Callable[[], None]) -> Iterator[sqlite3.Connection]:
    """The database, which nothing can change, and of which no program is run. Raises as `open_table`."""
    import sqlite3  # which most data sets don't need

    def is_cancelled() -> bool:
        try:
            check()
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
        check()
        raise UserError(tr("{name} is a damaged SQLite database, or was cut short.", name=name),
                        tr("Reading it failed: {error}.", error=error), tr(AGAIN)) from error


def _text(data: bytes) -> str | NotJson:
    try:
        return decode(data)
    except NotJson as error:
        return error


def _table(database: sqlite3.Connection, table: str) -> _Table:
    cursor = database.execute(f"SELECT * FROM {_quoted(table)} LIMIT {header.LOOKED_AT}")
    columns = [each[0] for each in cursor.description]
    begin = [dict(zip(columns, each, strict=True)) for each in cursor]
    words = with_words(begin, columns)
    (count,) = database.execute(f"SELECT count(*) FROM {_quoted(table)}").fetchone()
    return _Table(columns, count, sum(len(str(row[each])) for row in begin for each in words))


def _rows(file: Path | bytes, name: str, table: str, columns: list[str], check: Callable[[], None]) -> Iterator[Any]:
    with _opened(file, name, check) as database:
        for number, cells in enumerate(database.execute(f"SELECT * FROM {_quoted(table)}"), 1):
            damage = next((each for each in cells if isinstance(each, NotJson)), None)
            yield Raw(dict(zip(columns, map(plain, cells), strict=True)), number) if damage is None else Raw(
                None, number, damage.problem(number))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
