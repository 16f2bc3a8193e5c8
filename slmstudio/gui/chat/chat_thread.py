"""Talks with one chat worker: a thread reads what it says, another writes what it is told."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from typing import Any

from PySide6.QtCore import QCoreApplication, QObject, QThread, Signal, Slot

from slmstudio.core.errors import UserError
from slmstudio.core.jobs.interactive import InteractiveWorker

_living: set[ChatThread] = set()
"""Keeps each thread until it has ended: a QThread that is destroyed while it runs takes the program along."""


class ChatThread(QThread):
    """One worker process with one model. It ends with this thread.

    Signals:
        message(dict): what the worker said: "loaded", "token", "done", "count" or "error".
        died(UserError | Exception): the worker could not be started, or is gone without being asked.
    """

    message = Signal(dict)
    died = Signal(object)

    def __init__(self, parent: QObject | None = None):
        super().__init__(parent)
        self._outbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._closing = False
        self.finished.connect(self._forget)
        app = QCoreApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(self._close_and_wait)

    def send(self, command: str, **fields: Any) -> None:
        """Tell the worker something. It never blocks: a full pipe holds up a thread of its own."""
        self._outbox.put({"command": command, **fields})

    def close(self) -> None:
        """End the worker and this thread; it is over soon after. What it was still saying is not heard any more."""
        self._closing = True
        self._outbox.put(None)

    @Slot()
    def _close_and_wait(self) -> None:
        self.close()
        self.wait()

    @Slot()
    def _forget(self) -> None:
        _living.discard(self)

    def run(self) -> None:
        _living.add(self)
        worker = InteractiveWorker("chat")
        try:
            worker.start()
        except UserError as error:
            self.died.emit(error)
            return
        writer = threading.Thread(target=_write, args=(worker, self._outbox), name="chat-writer", daemon=True)
        writer.start()
        try:
            for message in worker.receive():
                if self._closing:
                    break
                self.message.emit(message)
            if not self._closing:
                self.died.emit(worker.cause_of_death())
        except Exception as error:
            logging.getLogger(__name__).exception("Reading the chat worker failed.")
            self.died.emit(error)
        finally:
            self._outbox.put(None)
            worker.close()
            writer.join(timeout=1)


def _write(worker: InteractiveWorker, outbox: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    """Ends at None, or when the worker is gone, which the reader says. It may outlive the ChatThread, so it does not
    know it: the last to know a QThread destroys it."""
    while (message := outbox.get()) is not None:
        try:
            worker.send(message)
        except UserError:
            return
    with contextlib.suppress(UserError):
        worker.send({"command": "close"})
