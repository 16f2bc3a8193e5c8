"""The built-in server: its process, and its page in the Results tab with start, stop, and how programs talk to it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QGridLayout, QWidget

from slmstudio.core import serving, settings
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.jobs.interactive import InteractiveWorker
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import LivingThread
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import SecondaryButton, SegmentedControl
from slmstudio.gui.common.widgets.copy_text import CopyLine, CopyText
from slmstudio.gui.common.widgets.fields import SpinBox, named, number_field
from slmstudio.gui.common.widgets.labels import Chip, plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, grid_of, row_of, row_widget
from slmstudio.gui.common.widgets.progress import ProgressStrip

HIDDEN_KEY = "••••••••"
CURL, PYTHON = range(2)


class ServerPage(QWidget):
    """Empty: what it is for, and Start. Working: loading. Done: address, key, snippets. Failed: why. While a file of
    another run is served: which, and Stop.

    Args:
        server: may serve another file than the selected one.
    """

    def __init__(self, server: ModelServer):
        super().__init__()
        self._server = server
        self._path: Path | None = None
        self.banner = ErrorBanner(name="server_banner")
        self.strip = ProgressStrip(tip=tr("Stop the server before it's ready."), cancelled=server.stop)
        self._make_start()
        self._make_elsewhere()
        self._make_running()
        column_in(self, self.banner, self._offer, self._elsewhere, self.strip, self._running)
        server.changed.connect(self._show)
        self._show()

    def _make_start(self) -> None:
        self._offer = QWidget()
        column = column_in(self._offer,
                           text_label(tr("Programs on this machine can use the model through an OpenAI-compatible API. "
                                         "The server only listens on 127.0.0.1, requires a key, and stops with this "
                                         "window."), "small", wrap=True))
        self.port = named(number_field(SpinBox()), "server_port", tr("Port"),
                          tr("The number after the address. Change it if another program uses it."))
        self.port.setRange(1, 65535)
        self.port.setGroupSeparatorShown(False)
        self.port.setValue(serving.DEFAULT_PORT)
        self.start_button = SecondaryButton(tr("Start the server"), "", name="server_start", clicked=self._start)
        column.addLayout(row_of(text_label(tr("Port"), "small"), self.port, STRETCH, self.start_button))

    def _make_elsewhere(self) -> None:
        self.elsewhere = text_label("", "small", wrap=True, name="server_elsewhere")
        stop = SecondaryButton(tr("Stop it"),
                               tr("Stop the other run's server, so that a file of this run can be served."), "small",
                               name="server_stop_other", clicked=self._server.stop)
        self._elsewhere = row_widget((self.elsewhere, 1), stop)

    def _make_running(self) -> None:
        self._running = QWidget()
        self.chip = Chip(tr("running"), "ok")
        self.figures = text_label("", "small", wrap=True, name="server_figures")
        self.stop_button = SecondaryButton(tr("Stop"),
                                           tr("Stop the server. Answers that are being written are cut off."), "small",
                                           name="server_stop", clicked=self._server.stop)
        self.last_error = text_label("", "small", wrap=True, name="server_last_error", tone="warn")
        column = column_in(self._running, row_of(self.chip, (self.figures, 1), self.stop_button), self.last_error,
                           self._make_facts())
        self.language = SegmentedControl(["curl", "Python"], tooltips=[
            tr("A command for a terminal."), tr("A program for the openai package.")])
        self.language.changed.connect(lambda: self._show_snippet())
        self.snippet = CopyText(tr("Example"), 12)
        self.snippet.setObjectName("server_snippet")
        self.snippet.row.addWidget(self.language)
        column.addWidget(self.snippet)

    def _make_facts(self) -> QGridLayout:
        self.address = CopyLine(tr("Base URL"))
        self.key = CopyLine(tr("API key"), secret=True)
        self.model = CopyLine(tr("Model"))
        self.key.reveal.setObjectName("reveal_key")
        self.key.copy.setObjectName("copy_key")
        self.key.reveal.toggled.connect(lambda: self._show_snippet())
        grid = grid_of(theme.SPACE_L, theme.SPACE_XS)
        rows = ((tr("Base URL"), self.address), (tr("API key"), self.key), (tr("Model"), self.model))
        for number, (name, line) in enumerate(rows):
            grid.addWidget(text_label(name, "small"), number, 0)
            grid.addWidget(line, number, 1)
        grid.setColumnStretch(1, 1)
        return grid

    def show_file(self, path: Path | None) -> None:
        """Offer to serve this file."""
        self._path = path
        self._show()

    def _start(self) -> None:
        if self._path is not None:
            self._server.start(self._path, self.port.value())

    def _show(self) -> None:
        server = self._server
        other = self._path is not None and server.path is not None and server.path.parent != self._path.parent
        # Why the other run's server failed is said where that run is shown.
        state = STOPPED if other and server.state == FAILED else server.state
        self.elsewhere.setText(tr("A file of another run, {name}, is being served. Only one can be served at a time.",
                                  name=server.path.stem if server.path else ""))
        self._elsewhere.setVisible(other and state == SERVING)
        self._offer.setVisible(state in (STOPPED, FAILED))
        self.start_button.setEnabled(self._path is not None and not server.is_busy())
        name = self._path.stem if self._path is not None else ""
        self.start_button.setToolTip(plain_tip(tr("Load {name} and answer requests.", name=name)))
        self.strip.setVisible(state in (STARTING, STOPPING))
        if state == STARTING:
            self.strip.start(tr("Loading {name}", name=server.path.stem if server.path else ""))
        elif state == STOPPING:
            self.strip.start(tr("Stopping…"))
        self.strip.cancel.setVisible(state == STARTING)
        if state == FAILED and server.error is not None:
            self.banner.show_error(server.error)
            if server.free_port is not None:
                self.port.setValue(server.free_port)
        else:
            self.banner.clear()
        self._running.setVisible(state == SERVING and not other)
        if server.serving is not None:
            self._show_serving(server.serving)

    def _show_serving(self, found: Serving) -> None:
        status = self._server.status
        parts = [ntr("{n:,} request served", "{n:,} requests served", status.get("served", 0))]
        if status.get("active"):
            parts.append(ntr("{n:,} in progress", "{n:,} in progress", status["active"]))
        parts.append(tr("{tokens:,} tokens of context", tokens=found.context_length))
        self.figures.setText(" · ".join(parts))
        refused = status.get("refused", 0)
        self.last_error.setText(tr("Last error: {error}", error=status.get("last_error", "")))
        self.last_error.setVisible(bool(refused))
        self.address.set_text(found.url)
        self.key.set_text(found.key)
        self.model.set_text(found.model)
        self._show_snippet()

    def _show_snippet(self) -> None:
        found = self._server.serving
        if found is None:
            return
        make = serving.python_snippet if self.language.current() == PYTHON else serving.curl_snippet
        shown = found.key if self.key.reveal.isChecked() else HIDDEN_KEY
        self.snippet.set_text(make(found.url, shown, found.model), make(found.url, found.key, found.model))


# -- The built-in server as the window knows it: one at a time, and it ends with the program.

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
            self._worker.send({"command": "start", "path": str(self._path), "key": key, "port": self._port,
                               "device": settings.load(put_aside=False)[0].chat_device})
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
