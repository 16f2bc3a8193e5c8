"""Rows of Excel and OpenDocument workbooks, by python-calamine."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, BinaryIO, NamedTuple

from slmstudio.core.data.candidates import Candidate, Evidence
from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.sources import header, packed
from slmstudio.core.data.sources.row import cell_text
from slmstudio.core.data.sources.tables import TableRow
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr

TWIN, OTHER = 0.7, 0.2
"""How sure the first of several sheets with rows of one kind is, and a sheet with rows of another kind."""
SHORT = 4
"""How many times as many rows as a first sheet another one has, where that sheet only counts or explains them."""


class Sheet(NamedTuple):
    """A sheet of a workbook, or a table of a database.

    Attributes:
        names: of the sheet that is read, and then of the others that hold something.
        rows: its rows, those of a table as `Raw`; a cell's date in ISO 8601, a number as people write it.
        notes: sentences on what a reader should know.
        certainty, evidence, candidates: how sure it is that this is the sheet to read, its rows, and the others.
    """

    names: tuple[str, ...]
    rows: Iterator[Any]
    notes: list[str]
    certainty: float = 1.0
    evidence: tuple[Evidence, ...] = ()
    candidates: tuple[Candidate, ...] = ()


def open_sheet(file: BinaryIO, name: str, wanted: str | None = None) -> Sheet:
    """The sheet of a workbook that is called `wanted`, else the first with rows that people can see.

    Raises:
        UserError: the workbook is damaged or locked, holds nothing, or has no such sheet.
    """
    import python_calamine as calamine

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
    filled = [each for each in sheets if sheets[each].total_height]
    if wanted is not None and wanted not in sheets:
        raise UserError(tr("{name} has no sheet {wanted!r}.", name=name, wanted=wanted),
                        tr("Its sheets are {names}.", names=", ".join(sheets)), tr("Choose one of them."))
    if not filled and wanted is None:
        raise UserError(tr("{name} contains no rows.", name=name), tr("All its sheets are empty."),
                        tr("Choose another file."))
    chosen = wanted or _with_rows(sheets, [each for each in filled if visible[each]] or filled)
    notes = list[str]()
    others = [each for each in filled if each != chosen]
    if others:
        notes.append(ntr('The sheet "{sheet}" was read. The file has {n:,} more: {others}.',
                         'The sheet "{sheet}" was read. The file has {n:,} more: {others}.', len(others), sheet=chosen,
                         others=", ".join(others[:5])))
    found = Sheet((chosen, *others), _rows(sheets[chosen], notes), notes)
    if wanted is not None or not others:
        return found
    begins = {each: [TableRow(_texts(cells), number) for number, cells in enumerate(
        islice(sheets[each].iter_rows(), header.LOOKED_AT), 1)] for each in found.names}
    names = {each: header.names_of([row for row in rows if any(row.cells)]) for each, rows in begins.items()}
    return beside(found, names, {each: Evidence("sheet_rows", {
        "sheet": each, "n": sheets[each].height - bool(names[each])}) for each in found.names})


def beside(found: Sheet, names: Mapping[str, frozenset[str]], evidence: Mapping[str, Evidence]) -> Sheet:
    """The same with the other sheets as candidates. Those are of the chosen one's kind that have its column names, or
    question and answer, too.

    Args:
        names: of each sheet's columns, in small letters.
        evidence: how many rows each has.
    """
    chosen, *others = found.names
    both = header.names_both(list(names[chosen]))
    twins = {each for each in others if len(names[each] & names[chosen]) > max(1, len(names[chosen]) // 2)
             or (both and header.names_both(list(names[each])))}
    return found._replace(certainty=TWIN if twins else 1.0, evidence=(evidence[chosen],), candidates=tuple(Candidate(
        "table", options=ReadOptions(sheet=each), certainty=TWIN - 0.1 if each in twins else OTHER,
        evidence=(evidence[each],)) for each in others))


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
