"""Rows of Excel and OpenDocument workbooks, by python-calamine; and which of several sheets or tables is read."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, BinaryIO, NamedTuple

from slmstudio.core.data.candidates import Candidate, Evidence, Part
from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.source import Source
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
        evidence = {each: Evidence("table_rows" if are_tables else "sheet_rows", {
            "table" if are_tables else "sheet": each, "n": sheets[each].rows}) for each in part.sheets}
        part.choose(TWIN if twins else 1.0, [evidence[chosen]], [Candidate(
            "table", options=ReadOptions(sheet=each), certainty=TWIN - 0.1 if each in twins else OTHER,
            evidence=(evidence[each],)) for each in others], sheet=chosen)
    return chosen


def read(part: Part, file: BinaryIO, source: Source) -> None:
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
