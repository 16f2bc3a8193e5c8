"""Talks with one chat worker: a thread reads what it says, another writes what it is told."""

from __future__ import annotations

import queue
import threading
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.interactive import InteractiveWorker
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import LivingThread
from slmstudio.gui.common.widgets.buttons import PrimaryButton
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, fill, row_of

# -- What a model's place in Chat says before a conversation.


class ChatWaiting(QWidget):
    """What to do first, that the model is being loaded, or that it is ready.

    Signals:
        choose_wanted: show the models to choose from.
    """

    choose_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.title = text_label(tr("Talk to a model"), "title", wrap=True)
        self.text = text_label("", "muted", wrap=True)
        self.choose = PrimaryButton(tr("Choose a model"), tr("Show the models you can talk to."), name="chat_choose",
                                    clicked=self.choose_wanted)
        column = column_in(self, STRETCH, spacing=theme.SPACE_L)
        for label in (self.title, self.text):
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            column.addWidget(label)
        fill(column, row_of(STRETCH, self.choose, STRETCH, spacing=None), STRETCH)

    def show_state(self, state: str, name: str, completion: bool) -> None:
        """Say what a model's state means, one of `ChatPane.state`.

        Args:
            completion: the model has no chat template.
        """
        for widget in (self.title, self.choose):
            widget.setVisible(state == "empty")
        if state == "empty":
            self.text.setText(tr("Choose a model or a finished run, or drop a GGUF file here."))
        elif state == "loading":
            self.text.setText(tr("Loading {name} …", name=name))
        elif state == "ready" and completion:
            self.text.setText(tr("{name} has no chat template, so there's no telling how it was trained to chat. It "
                                 "will continue your text instead of answering it.", name=name))
        elif state == "ready":
            self.text.setText(tr("{name} is ready. Ask it something.", name=name))
        elif state == "failed":
            self.text.setText("")


class ChatThread(LivingThread):
    """One worker process with one model. It ends with this thread.

    Args:
        kind: "chat" for a GGUF file, "talk" for the folder of a model or a run.
        before: the thread of the model that was there before. Its worker ends first, so that its memory is free.

    Signals:
        message(dict): what the worker said: "loaded", "token", "done", "count" or "error".
        failed(Exception): the worker couldn't be started, or is gone without being asked.
    """

    message = Signal(dict)

    def __init__(self, kind: str, before: ChatThread | None = None):
        super().__init__()
        self._kind = kind
        self._before = before
        self._outbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._closing = False

    def send(self, command: str, **fields: Any) -> None:
        """Tell the worker something. It never blocks: a full pipe holds up a thread of its own."""
        self._outbox.put({"command": command, **fields})

    def leave(self) -> None:
        """End the worker and this thread; it is over soon after. What it was still saying isn't heard any more."""
        self._closing = True
        self._outbox.put(None)

    def work(self) -> None:
        if self._before is not None:
            self._before.wait()
            self._before = None
        if self._closing:
            return
        worker = InteractiveWorker(self._kind)
        worker.start()
        writer = threading.Thread(target=_write, args=(worker, self._outbox), name="chat-writer", daemon=True)
        writer.start()
        try:
            for message in worker.receive():
                if self._closing:
                    break
                self.message.emit(message)
            if not self._closing:
                raise worker.cause_of_death()
        finally:
            self._outbox.put(None)
            worker.close()
            writer.join(timeout=1)


def _write(worker: InteractiveWorker, outbox: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    """Ends at None, or when the worker is gone, which the reader says. It may outlive the ChatThread, so it doesn't
    know it: the last to know a QThread destroys it."""
    while (message := outbox.get()) is not None:
        try:
            worker.send(message)
        except UserError:
            return
    worker.close()  # a worker that is still loading reads nothing, and is ended
