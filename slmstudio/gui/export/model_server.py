"""The built-in server as the window knows it: one at a time, and it ends with the program."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal, Slot

from slmstudio.core import serving
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.interactive import InteractiveWorker
from slmstudio.gui.common.living_thread import LivingThread

STOPPED, STARTING, SERVING, STOPPING, FAILED = "stopped", "starting", "serving", "stopping", "failed"


@dataclass(frozen=True)
class Serving:
    """A server that answers.

    Attributes:
        key: what clients must send.
        context_length: tokens of a prompt with its answer.
        parallel: answers that are written at once.
    """

    path: Path
    url: str
    key: str
    model: str
    context_length: int
    parallel: int


class _ServerThread(LivingThread):
    """One server process: started, listened to, and ended here."""

    key_known = Signal(str)
    message = Signal(dict)

    def __init__(self, path: Path, port: int):
        super().__init__()
        self._path, self._port = path, port
        self._worker = InteractiveWorker("serve")
        self._closing = False

    def leave(self) -> None:
        """End the server; this thread is over soon after."""
        self._closing = True
        with contextlib.suppress(UserError):
            self._worker.send({"command": "close"})

    def work(self) -> None:
        try:
            key = serving.server_key()
            self.key_known.emit(key)
            if self._closing:
                return
            self._worker.start()
            self._worker.send({"command": "start", "path": str(self._path), "key": key, "port": self._port})
            if self._closing:
                return
            for message in self._worker.receive():
                if self._closing:
                    break
                self.message.emit(message)
            if not self._closing:
                cause = self._worker.cause_of_death()
                raise UserError(tr("The server stopped unexpectedly."), cause.why,
                                tr("Start it again. Its output is in {log}.", log=self._worker.log))
        finally:
            self._worker.close()


class ModelServer(QObject):
    """The server and its state.

    Signals:
        changed: `state`, `serving`, `status`, `error` or `free_port` is different now.

    Attributes:
        state: "stopped", "starting", "serving", "stopping" or "failed".
        path: the file that is served, or was last.
        serving: what is known about it while it answers, else None.
        status: served, refused, active and last_error, while it answers.
        error: why it failed.
        free_port: a port that is free, where the wanted one isn't.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.state, self.path = STOPPED, None
        self.serving: Serving | None = None
        self.status: dict[str, Any] = {}
        self.error: Exception | None = None
        self.free_port: int | None = None
        self._key = ""
        self._thread: _ServerThread | None = None

    def start(self, path: Path, port: int) -> None:
        """Serve a GGUF file, unless one is served already."""
        if self._thread is not None:
            return
        self.path, self.status, self.error, self.free_port = path, {}, None, None
        self._thread = thread = _ServerThread(path, port)
        thread.key_known.connect(self._keep_key)
        thread.message.connect(self._take)
        thread.failed.connect(self._died)
        thread.finished.connect(self._ended)
        self._set(STARTING)
        thread.start()

    def stop(self) -> None:
        """End the server; answers that are under way are cut off."""
        if self._thread is not None and self.state != STOPPING:
            self._thread.leave()
            self.serving = None
            self._set(STOPPING)

    def _set(self, state: str) -> None:
        self.state = state
        self.changed.emit()

    @Slot(str)
    def _keep_key(self, key: str) -> None:
        self._key = key

    @Slot(dict)
    def _take(self, message: dict[str, Any]) -> None:
        if self.state not in (STARTING, SERVING):
            return
        kind = message["type"]
        if kind == "serving" and self.path is not None:
            self.serving = Serving(self.path, message["url"], self._key, message["model"], message["context_length"],
                                   message["parallel"])
            self._set(SERVING)
        elif kind == "status":
            self.status = message
            self.changed.emit()
        elif kind == "error":
            self.free_port = message.get("free_port")
            self._died(UserError.from_dict(message["error"]))

    @Slot(object)
    def _died(self, error: Exception) -> None:
        self.error, self.serving = error, None
        if self._thread is not None:
            self._thread.leave()
        self._set(FAILED)

    @Slot()
    def _ended(self) -> None:
        self._thread = None
        if self.state != FAILED:
            self.serving = None
            self._set(STOPPED)
        else:
            self.changed.emit()

    def is_busy(self) -> bool:
        """Whether a process is there; another server can be started when it isn't."""
        return self._thread is not None
