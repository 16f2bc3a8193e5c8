"""The conversation that is open, and the saved ones: find, open, rename, delete."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QPoint, Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QLineEdit, QListWidgetItem, QMenu

from slmstudio.core import paths
from slmstudio.core.chat.conversation import (
    Conversation,
    Lane,
    delete_chat,
    new_chat_file,
    read_chats,
    rename_chat,
    restore_chat,
    save_chat,
    write_chat,
)
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.run_texts import when
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.areas import Card
from slmstudio.gui.common.widgets.banner import report_error
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import ElidedLabel, text_label
from slmstudio.gui.common.widgets.layouts import row_of
from slmstudio.gui.common.widgets.table_cells import TwoLineList

WIDTH = 200


class ChatList(Card):
    """The left column of the Chat tab.

    Signals:
        new_wanted: begin a new conversation.
        opened(Path, str): this one is wanted, at these words if any are looked for.
        deleted(Path): this one is in the trash.
        renamed(Path, str): this one has another name; "" for its first question.

    Attributes:
        list: an item each; its value is the file, or the error of a file that can't be read.
    """

    new_wanted = Signal()
    opened = Signal(object, str)
    deleted = Signal(object)
    renamed = Signal(object, str)

    def __init__(self) -> None:
        super().__init__(tr("Chats"))
        self.header.addWidget(IconButton("plus", tr("Start a new conversation with the same models"), name="new_chat",
                                         clicked=self.new_wanted))
        theme.grow(self, "setFixedWidth", WIDTH)
        self._found: list[tuple[Path, Conversation]] = []
        self._damaged: list[tuple[Path, UserError]] = []
        self._current: Path | None = None
        self._renamed: Path | None = None
        self._gone: tuple[Path, bytes] | None = None
        self._make_fields()
        self._make_list()
        self._make_undo()
        for widget in (self.search, self.name, self._none, self.list):
            self.body.addWidget(widget)
        self.body.setStretchFactor(self.list, 1)
        self.body.addLayout(self._undo_row)
        self._show()

    def _make_fields(self) -> None:
        self.search = named(QLineEdit(placeholderText=tr("Search"), clearButtonEnabled=True), "search_chats",
                            tr("Search the conversations"),
                            tr("Shows the conversations where you or a model said this. Opening one shows the place."))
        self.search.textChanged.connect(self._show)
        self.name = named(QLineEdit(), "rename_chat", tr("Name of the conversation"),
                          tr("Enter saves the name, Esc cancels. If the name is empty, the first question is shown "
                             "instead."))
        self.name.returnPressed.connect(self._rename)
        self.name.hide()

    def _make_list(self) -> None:
        self._none = text_label("", "small", wrap=True)
        self.list = named(TwoLineList(tr("Saved conversations"), elide=Qt.TextElideMode.ElideRight), "chats",
                          tip=tr("F2 renames a conversation, Delete moves it to the trash."))
        self.list.itemClicked.connect(self._open)
        self.list.itemActivated.connect(self._open)
        self.list.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.list.customContextMenuRequested.connect(self._offer)
        for widget, key, act in ((self.list, Qt.Key.Key_F2, self.begin_rename),
                                 (self.list, Qt.Key.Key_Delete, self.delete),
                                 (self.name, Qt.Key.Key_Escape, self.name.hide)):
            shortcut = QShortcut(QKeySequence(key), widget, act)
            shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)

    def _make_undo(self) -> None:
        self._undo_text = ElidedLabel("", "small", Qt.TextElideMode.ElideRight)
        self.undo = SecondaryButton(tr("Undo"), tr("Put the conversation back"), "small", name="undo_delete",
                                    clicked=self._put_back)
        self._undo_row = row_of((self._undo_text, 1), self.undo, spacing=None)
        self._show_undo()

    # -- what there is ---------------------------------------------------------------------------------------

    def read(self) -> None:
        """Look at the folder again."""
        run_task(self, lambda task: read_chats(paths.chats_dir()), self._read)

    def _read(self, found: tuple[list[tuple[Path, Conversation]], list[tuple[Path, UserError]]]) -> None:
        self._found, self._damaged = found
        self._show()

    def select(self, path: Path | None) -> None:
        """Mark the conversation that is shown, if it is a saved one."""
        self._current = path
        self.list.setCurrentRow(-1)
        if path is not None:
            self.list.select_value(path)

    def _show(self) -> None:
        words = self.search.text().strip()
        shown = [(*each, excerpt) for each in self._found if (excerpt := each[1].excerpt(words)) is not None]
        marked = self.list.value()
        self.list.clear()
        for path, conversation, excerpt in shown:
            self.list.add(conversation.title or tr("Untitled"), excerpt or when(conversation.created), path)
        for path, error in self._damaged if not words else ():
            self.list.add(path.stem, tr("can't be read"), error, chip=tr("damaged"), kind="bad",
                          tooltip=str(error))
        self._none.setText(tr("No conversation mentions this.") if words and not shown else
                           tr("Conversations are kept on this machine and appear here."))
        self._none.setVisible(self.list.count() == 0)
        self.search.setVisible(bool(words) or len(self._found) > 1)
        self.select(self._current)
        if marked is not None:
            self.list.select_value(marked)

    # -- what is done with one -------------------------------------------------------------------------------

    def _open(self, item: QListWidgetItem) -> None:
        self.list.setCurrentItem(item)
        value = self.list.value()
        if isinstance(value, Path):
            self.opened.emit(value, self.search.text().strip())
        elif isinstance(value, UserError):
            report_error(self, value)

    def _offer(self, place: QPoint) -> None:
        item = self.list.itemAt(place)
        if item is None:
            return
        self.list.setCurrentItem(item)
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        if isinstance(self.list.value(), Path):
            menu.addAction(tr("Rename"), self.begin_rename)
            menu.addAction(tr("Move to the trash"), self.delete)
        menu.popup(self.list.viewport().mapToGlobal(place))

    def begin_rename(self) -> None:
        """Let the user name the conversation that is marked."""
        value = self.list.value()
        conversation = next((each for path, each in self._found if path == value), None)
        if isinstance(value, Path) and conversation is not None:
            self._renamed = value
            self.name.setText(conversation.name or conversation.title)
            self.name.show()
            self.name.setFocus()
            self.name.selectAll()

    def _rename(self) -> None:
        path, name = self._renamed, self.name.text()
        self.name.hide()
        if path is not None:
            self.renamed.emit(path, name.strip())
            run_task(self, lambda task: rename_chat(path, name), lambda _: self.read())

    def delete(self) -> None:
        """Put the conversation that is marked into the trash."""
        path = self.list.value()
        if isinstance(path, Path):
            run_task(self, lambda task: delete_chat(path), lambda content: self._deleted(path, content))

    def _deleted(self, path: Path, content: bytes) -> None:
        self._gone = (path, content)
        self._show_undo()
        self.deleted.emit(path)
        self.read()

    def _put_back(self) -> None:
        if self._gone is not None:
            path, content = self._gone
            self._gone = None
            self._show_undo()
            run_task(self, lambda task: restore_chat(path, content), lambda _: self.read())

    def _show_undo(self) -> None:
        title = next((each.title for path, each in self._found if self._gone and path == self._gone[0]), "")
        self._undo_text.setText(tr("“{title}” is in the trash", title=title))
        for widget in (self._undo_text, self.undo):
            widget.setVisible(self._gone is not None)


# -- The conversation that is open in Chat: what was said in it, its file, and keeping it. It knows no widget.


class OpenChat(QObject):
    """One conversation at a time.

    Args:
        lanes: gives what was said with each model that is shown.
        settings: gives how it is answered now.

    Attributes:
        file: where it is kept; None before something was said.

    Signals:
        begun: another one is open now.
        kept: it was written to its `file`; or one that was open before, to its own.
        exported(Path): it was written where the user wanted.
    """

    begun = Signal()
    kept = Signal()
    exported = Signal(object)

    def __init__(self, lanes: Callable[[], list[Lane]], settings: Callable[[], dict[str, Any]], parent: QObject):
        super().__init__(parent)
        self._lanes, self._settings = lanes, settings
        self._now = Conversation(time.time(), {}, [])
        self.file: Path | None = None

    def begin(self) -> None:
        """Another conversation, in which nothing was said; the one before is kept already."""
        self._now, self.file = Conversation(time.time(), {}, []), None
        self.begun.emit()

    def open(self, path: Path) -> Conversation | None:
        """A conversation that was kept; None if it is open already or can't be read."""
        if path == self.file:
            return None
        try:
            self._now, self.file = Conversation.read(path), path
        except UserError as error:
            report_error(self, error)
            return None
        return self._now

    def resume(self, conversation: Conversation, file: Path | None) -> None:
        """Have this conversation open; its file may be older."""
        self._now, self.file = conversation, file

    def conversation(self) -> Conversation:
        """The chat as it is now."""
        self._now.settings, self._now.lanes = self._settings(), self._lanes()
        return self._now

    def keep(self) -> None:
        """Write it among the saved ones, off the UI thread, if something was said."""
        now = self.conversation()
        if not any(lane.tree for lane in now.lanes):
            return
        if self.file is None:
            now.created = time.time()  # until now it was an empty page, perhaps since the program's start
        self.file = file = self.file or new_chat_file(now.created)
        text = now.to_json()
        run_task(self, lambda task: write_chat(file, text), lambda _: self.kept.emit())

    def export(self, path: Path) -> None:
        """Write it as JSON, and as Markdown beside it."""
        now = self.conversation()
        run_task(self, lambda task: save_chat(now, path), lambda _: self.exported.emit(path))

    def rename(self, path: Path, name: str) -> None:
        """A saved conversation has another name now; it may be this one."""
        if path == self.file:
            self._now.name = name
