"""Files that were open before, offered again: a list while the Data tab is empty, a menu beside its list."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QMenu, QPushButton, QWidget

from slmstudio.core.data.remembered import Missing, Remembered
from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import IconButton
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import ElidedLabel, plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import column_in, row_in

LISTED, IN_MENU = 5, 12
NAME_WIDTH = 210
MENU_WIDTH = 320
"""The width of a name in the menu."""


def _short(missing: Missing) -> str:
    """Why, in as few words as fit beside a name."""
    return (tr("Its disk or folder is missing") if missing.whole_folder else
            tr("Moved, renamed or deleted"))


class _Row(QWidget):
    """One file: its name, and its folder or why it can't be opened."""

    opened = Signal()
    removed = Signal()

    def __init__(self, path: Path, missing: Missing | None, parent: QWidget | None = None):
        super().__init__(parent)
        self.button = named(QPushButton(), "recent_file", path.name if missing is None else f"{path.name}. {missing}",
                            plain_tip(str(path) if missing is None else f"{path}\n{missing}"))
        self.button.setProperty("kind", "row")
        self.name, self.where = ElidedLabel(path.name), ElidedLabel("", "small")
        self.where.setText(str(path.parent) if missing is None else _short(missing))
        theme.grow(self.name, "setFixedWidth", NAME_WIDTH)
        row_in(self.button, self.name, (self.where, 1), spacing=theme.SPACE_M,
               margins=(theme.SPACE_S, 0, theme.SPACE_S, 0))
        for label in (self.name, self.where):
            label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
            label.setEnabled(missing is None)
            label.setProperty("faint", missing is not None)
        remove = IconButton("close", tr("Remove from recent files. The file itself stays."), name="recent_remove",
                            clicked=self.removed)
        self.button.clicked.connect(self.opened)
        row_in(self, (self.button, 1), remove, spacing=theme.SPACE_XS)


class RecentList(QWidget):
    """The newest of them, one per line.

    Signals:
        chosen(Path): this one should be opened; a missing one too, because its disk may be back.
        removed(Path): this one shouldn't be offered any more.
    """

    chosen = Signal(object)
    removed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[_Row] = []
        title = text_label(tr("Recent files"), "section")
        title.setContentsMargins(theme.SPACE_S, 0, 0, theme.SPACE_XS)
        self._column = column_in(self, title, spacing=0)
        self.hide()

    def show_files(self, recent: Sequence[Remembered], missing: dict[Path, Missing]) -> None:
        for row in self.rows:
            row.hide()
            row.deleteLater()
        self.rows = []
        for each in recent[:LISTED]:
            row = _Row(each.path, missing.get(each.path))
            row.opened.connect(partial(self.chosen.emit, each.path))
            row.removed.connect(partial(self.removed.emit, each.path))
            self._column.addWidget(row)
            self.rows.append(row)
        self.setVisible(bool(self.rows))


class RecentButton(IconButton):
    """The same as a menu. It is there while there are any.

    Signals:
        chosen(Path), removed(Path): as of `RecentList`.
    """

    chosen = Signal(object)
    removed = Signal(object)

    def __init__(self) -> None:
        super().__init__("chevron-down", tr("Open a recent file"), name="data_recent")
        self.files = QMenu(self)
        self.files.setToolTipsVisible(True)
        self.clicked.connect(lambda: self.files.popup(self.mapToGlobal(self.rect().bottomLeft())))
        self.hide()

    def show_files(self, recent: Sequence[Remembered], missing: dict[Path, Missing]) -> None:
        self.files.clear()
        remove = QMenu(tr("Remove from this list"), self.files)
        for each in recent[:IN_MENU]:
            why = missing.get(each.path)
            name = self.fontMetrics().elidedText(each.path.name, Qt.TextElideMode.ElideMiddle, MENU_WIDTH)
            name = name.replace("&", "&&")
            action = self.files.addAction(name if why is None else f"{name} · {_short(why)}",
                                          partial(self.chosen.emit, each.path))
            action.setToolTip(plain_tip(str(each.path) if why is None else str(why)))
            action.setEnabled(why is None)
            remove.addAction(name, partial(self.removed.emit, each.path)).setToolTip(plain_tip(str(each.path)))
        self.files.addSeparator()
        self.files.addMenu(remove)
        self.setVisible(bool(recent))
