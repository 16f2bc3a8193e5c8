"""Rows of SQLite databases: each table is what a sheet is in a workbook."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from slmstudio.core.data.candidates import Part
from slmstudio.core.data.row_texts import ROW_LIMIT
from slmstudio.core.data.source import Source
from slmstudio.core.data.sources import header
from slmstudio.core.data.sources.packed import AGAIN
from slmstudio.core.data.sources.row import Raw, plain, with_words
from slmstudio.core.data.sources.sheets import Sheet, choose
from slmstudio.core.data.strict_json import NotJson, decode
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

if TYPE_CHECKING:
    import sqlite3

_JOURNALS = slice(18, 20)
"""Bytes of the file that say whether its changes are in a log beside it; 1 where there is none."""
_STEPS = 100_000
"""Instructions of SQLite between two looks at Cancel."""


def read(part: Part, file: BinaryIO, source: Source) -> None:
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
    part.rows = _rows(data, chosen, columns[chosen], source)
    if isinstance(data, Path) and (log := data.with_name(f"{data.name}-wal")).is_file() and log.stat().st_size:
        part.notes.append(tr("The newest changes of the database are in {log} and weren't read. To read them, too, "
                             "close the program that uses the database.", log=log.name))


@contextmanager
def _opened(file: Path | bytes, source: Source) -> Iterator[sqlite3.Connection]:
    """The database, which nothing can change, and of which no program is run. Raises as `read`."""
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
                        tr("Reading it failed: {error}.", error=error), tr(AGAIN)) from error


def _text(data: bytes) -> str | NotJson:
    try:
        return decode(data)
    except NotJson as error:
        return error


def _rows(file: Path | bytes, table: str, columns: list[str], source: Source) -> Iterator[Raw]:
    with _opened(file, source) as database:
        for number, cells in enumerate(database.execute(f"SELECT * FROM {_quoted(table)}"), 1):
            damage = next((each for each in cells if isinstance(each, NotJson)), None)
            yield Raw(dict(zip(columns, map(plain, cells), strict=True)), number) if damage is None else Raw(
                None, number, damage.problem(number))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
