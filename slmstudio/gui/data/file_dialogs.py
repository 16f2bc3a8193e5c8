"""The dialogs in which files and folders with rows are chosen."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QWidget

from slmstudio.core.i18n import tr


def kinds() -> str:
    """What can be read, in a line."""
    return tr("JSONL, JSON, CSV, Excel, Parquet, SQLite, text, Markdown, PDF, Word; also packed as .gz, .zst or .zip")


def name_filters() -> list[str]:
    """Filters for all files that can be read, for each kind of them, and for any file."""
    from slmstudio.core.data import opening, source

    packed = (".gz", ".zst", ".zip")
    groups = ((tr("Datasets"), (*opening.SUFFIXES, *source.PAGE_SUFFIXES, *packed)),
              (tr("JSONL and JSON"), opening.JSON_SUFFIXES),
              (tr("CSV and TSV"), opening.TABLE_SUFFIXES),
              (tr("Excel and OpenDocument"), (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")),
              (tr("Parquet and Arrow"), (".parquet", ".arrow", ".feather")),
              (tr("SQLite databases"), opening.DATABASE_SUFFIXES),
              (tr("Text and Markdown"), opening.TEXT_SUFFIXES), (tr("PDF and Word"), (".pdf", ".docx")),
              (tr("Packed files"), packed))
    return [*(f"{name} ({_patterns(suffixes)})" for name, suffixes in groups), tr("All files (*)")]


def _patterns(suffixes: Sequence[str]) -> str:
    return " ".join(f"*{suffix}" for suffix in suffixes)


def choose_files(parent: QWidget, title: str, mode: QFileDialog.FileMode) -> QFileDialog:
    """An open dialog for one file, several, or a folder; it deletes itself."""
    dialog = QFileDialog(parent, title)
    dialog.setFileMode(mode)
    if mode == QFileDialog.FileMode.Directory:
        dialog.setOption(QFileDialog.Option.ShowDirsOnly)
    else:
        dialog.setNameFilters(name_filters())
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.open()
    return dialog
