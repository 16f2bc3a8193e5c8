"""The first rows of a large file, shown while all of it is read."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QWidget

from slmstudio.core.data.reader import Preview
from slmstudio.core.i18n import tr
from slmstudio.gui.common.widgets.areas import Card
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import column_in
from slmstudio.gui.data.unread.raw_rows import RawTable


class FirstRowsPage(QWidget):
    """Shows them as they are in the file; what they mean is known once it has been read."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._card = Card(" ")
        self._card.title.setObjectName("first_rows_title")
        self.table = RawTable("first_rows")
        self._card.body.addWidget(text_label(tr("These are the first rows. The rest are still being read."), "muted"))
        self._card.body.addWidget(self.table, 1)
        column_in(self, self._card, spacing=None)

    def show_rows(self, path: Path, found: Preview) -> None:
        """Show the first rows of this file."""
        self._card.title.setText(path.name)
        self.table.show_rows(found)
