"""The list of datasets, and the ways to put one on it."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QMenu

from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import DropArea
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.card import Card
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.layouts import fill
from slmstudio.gui.common.widgets.two_line import TwoLineList
from slmstudio.gui.data.recent import RecentButton


class ListCard(Card):
    """Datasets by their names. What stands for each is the workspace's.

    Signals:
        add_wanted: the user wants to choose more files.
        folder_wanted: the user wants to choose a folder.
        mix_wanted: the user wants to combine several datasets into one.
        remove_wanted: the user wants to take the current one off the list.
        dropped(list[Path]): files were dropped on the drop area.
    """

    add_wanted = Signal()
    folder_wanted = Signal()
    mix_wanted = Signal()
    remove_wanted = Signal()
    dropped = Signal(object)

    def __init__(self) -> None:
        super().__init__(tr("Datasets"))
        self.recent = RecentButton()
        fill(self.header, SecondaryButton(tr("+ Add"), tr("Choose more files with rows (Ctrl+O)."), "small",
                                          name="data_add", clicked=self.add_wanted), self.recent)
        self.list = TwoLineList(tr("Datasets"))
        self.list.setObjectName("data_list")
        self.list.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.list.customContextMenuRequested.connect(self._open_menu)
        add_key(self.list, QKeySequence.StandardKey.Delete, self.remove_wanted.emit, inside=True)
        self.mix = SecondaryButton(tr("Mix datasets…"),
                                   tr("Combine several datasets into one, with a weight for each."), "small",
                                   name="data_mix", clicked=self.mix_wanted)
        fill(self.body, (self.list, 1), self.mix, self._drop_area())

    def _drop_area(self) -> DropArea:
        drop = DropArea(tr("Drop files or a folder here"))
        drop.setObjectName("data_drop")
        drop.column.setContentsMargins(*[theme.SPACE_S] * 4)
        drop.dropped.connect(self.dropped)
        folder = SecondaryButton(tr("Choose a folder…"), tr("Read all files with rows in a folder as one dataset."),
                                 "small", name="data_add_folder", clicked=self.folder_wanted)
        drop.column.addWidget(folder)
        return drop

    def _open_menu(self, place: QPoint) -> None:
        if self.list.currentItem() is None:
            return
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        if self.list.count() > 1:
            menu.addAction(tr("Mix datasets…"), self.mix_wanted.emit)
        menu.addAction(tr("Remove from the list"), QKeySequence(QKeySequence.StandardKey.Delete),
                       self.remove_wanted.emit)
        menu.popup(self.list.viewport().mapToGlobal(place))
