"""The conversation that is open in Chat: what was said in it, its file, and keeping it. It knows no widget."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from slmstudio.core.chat.conversation import Conversation, Lane, new_chat_file, save_chat, write_chat
from slmstudio.core.errors import UserError
from slmstudio.gui.common.announce import report_error
from slmstudio.gui.common.tasks import run_task


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
