"""What an export has just made: where the files are, how large, and whether each is proven."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QWidget

from slmstudio.core import units
from slmstudio.core.export import proof
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import ScrolledIfNeeded, plain_page
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton
from slmstudio.gui.common.widgets.labels import Chip, ElidedLabel, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, fill, row_of
from slmstudio.gui.export.exports_table import Export, proof_chip

LEAST_HEIGHT = 72
"""Of the list of files: one with its proof."""


def read_made(result: dict[str, Any]) -> list[Export]:
    """The files and folders of an export's outcome, in the order in which they were made.

    Raises:
        UserError: a newer program has proven one of them.
    """
    found = [(Path(each["path"]), each) for each in result.get("files") or ()]
    return [Export(path, each.get("bytes") or 0, proof.read(path)) for path, each in found]


class MadeFiles(QWidget):
    """A line for each file with its proof, and what to do next.

    Signals:
        chat_wanted(Path): talk to this file.
        closed: the user has seen it.
    """

    chat_wanted = Signal(object)
    closed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._files: list[Export] = []
        self.title = text_label("", "strong", name="made_title")
        self.place = ElidedLabel("", "small", name="made_folder")
        self._list = plain_page()
        self._lines = column_in(self._list, spacing=theme.SPACE_XS)
        folder = SecondaryButton(tr("Open folder"), tr("Show the exported files."), name="made_open",
                                 clicked=self._open_folder)
        close = SecondaryButton(tr("Close"), tr("Close this message. The files stay in the list of exports."),
                                name="made_close", clicked=self.closed)
        self.chat = PrimaryButton(tr("Chat"), tr("Talk to the smallest proven file."), name="made_chat",
                                  clicked=lambda: self.chat_wanted.emit(self._proven()[-1].path))
        column_in(self, self.title, self.place, ScrolledIfNeeded(self._list, LEAST_HEIGHT),
                  row_of(folder, STRETCH, close, self.chat))

    def show_files(self, files: list[Export]) -> None:
        """Show what was made."""
        self._files = sorted(files, key=lambda each: -each.bytes)
        self.title.setText(ntr("The export is done: {n:,} file.", "The export is done: {n:,} files.", len(files)))
        self.place.setText(str(files[0].path.parent) if files else "")
        while (item := self._lines.takeAt(0)) is not None:
            if item.widget() is not None:
                item.widget().deleteLater()
        for each in self._files:
            self._lines.addWidget(self._line(each))
        self.chat.setVisible(bool(self._proven()))

    def _line(self, export: Export) -> QWidget:
        line = plain_page()
        chip = Chip()
        chip.set(*proof_chip(export.parity))
        name = ElidedLabel(export.path.name, name="made_name")
        column = column_in(line, row_of((name, 1), text_label(units.format_bytes(export.bytes), "small"), chip),
                           spacing=2)
        if verdict := str(export.parity.get("verdict") or ""):
            fill(column, text_label(verdict, "small", wrap=True, name="made_verdict"))
        return line

    def _proven(self) -> list[Export]:
        """The proven files, smallest last."""
        return [each for each in self._files if each.parity.get("passed")]

    def _open_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(self.place.text()))
