"""Writes small Excel and OpenDocument workbooks, as those programs lay them out."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

_TYPES = """<?xml version="1.0" encoding="UTF-8"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="xml" ContentType="application/xml"/>
<Override PartName="/xl/workbook.xml"
 ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>
{sheets}</Types>"""
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"


FORMATTED = object()
"""An empty cell with a format, as programs write where a colour or a border was set."""


def write_xlsx(path: Path, sheets: dict[str, Sequence[Sequence[object]]], merged: Sequence[str] = ()) -> Path:
    """Sheets by their names; a cell is a text, a number, None, FORMATTED, or ("=FORMULA", value or None)."""
    numbers = range(1, len(sheets) + 1)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(
            "[Content_Types].xml",
            _TYPES.format(
                sheets="".join(
                    f'<Override PartName="/xl/worksheets/sheet{number}.xml" ContentType="application/vnd.openxmlformats'
                    '-officedocument.spreadsheetml.worksheet+xml"/>'
                    for number in numbers
                )
            ),
        )
        file.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="rId1" '
            f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        file.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>'
            + "".join(
                f'<sheet name="{escape(name)}" sheetId="{number}" r:id="rId{number}"/>'
                for number, name in zip(numbers, sheets, strict=True)
            )
            + "</sheets></workbook>",
        )
        file.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{_PACKAGE}">'
            + "".join(
                f'<Relationship Id="rId{number}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{number}.xml"/>'
                for number in numbers
            )
            + "</Relationships>",
        )
        for number, rows in zip(numbers, sheets.values(), strict=True):
            joined = "".join(f'<mergeCell ref="{ref}"/>' for ref in merged)
            file.writestr(
                f"xl/worksheets/sheet{number}.xml",
                f'<worksheet xmlns="{_MAIN}"><sheetData>'
                + "".join(
                    f'<row r="{at}">'
                    + "".join(_cell(f"{chr(65 + column)}{at}", value) for column, value in enumerate(row))
                    + "</row>"
                    for at, row in enumerate(rows, 1)
                )
                + "</sheetData>"
                + (f"<mergeCells>{joined}</mergeCells>" if joined and number == 1 else "")
                + "</worksheet>",
            )
    return path


def _cell(place: str, value: object) -> str:
    if value is None:
        return ""
    if value is FORMATTED:
        return f'<c r="{place}" s="1"/>'
    if isinstance(value, tuple):
        formula, result = value
        shown = "" if result is None else f"<v>{escape(str(result))}</v>"
        kind = ' t="str"' if isinstance(result, str) else ""
        return f'<c r="{place}"{kind}><f>{escape(formula[1:])}</f>{shown}</c>'
    if isinstance(value, (int, float)):
        return f'<c r="{place}"><v>{value}</v></c>'
    return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(str(value))}</t></is></c>'


def write_ods(path: Path, sheets: dict[str, Sequence[Sequence[str]]]) -> Path:
    """Sheets of texts by their names."""
    office = "urn:oasis:names:tc:opendocument:xmlns"
    tables = "".join(
        f'<table:table table:name="{escape(name)}">'
        + "".join(
            "<table:table-row>"
            + "".join(
                f'<table:table-cell office:value-type="string"><text:p>{escape(cell)}</text:p></table:table-cell>'
                for cell in row
            )
            + "</table:table-row>"
            for row in rows
        )
        + "</table:table>"
        for name, rows in sheets.items()
    )
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        file.writestr("META-INF/manifest.xml", f'<manifest:manifest xmlns:manifest="{office}:manifest:1.0"/>')
        file.writestr(
            "content.xml",
            f'<office:document-content xmlns:office="{office}:office:1.0" '
            f'xmlns:table="{office}:table:1.0" xmlns:text="{office}:text:1.0"><office:body>'
            f"<office:spreadsheet>{tables}</office:spreadsheet></office:body></office:document-content>",
        )
    return path
