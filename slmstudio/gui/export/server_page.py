"""The built-in server in the Results tab: start, stop, and how other programs talk to it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QWidget

from slmstudio.core import serving
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import SecondaryButton, SegmentedControl
from slmstudio.gui.common.widgets.copy_text import CopyLine, CopyText
from slmstudio.gui.common.widgets.fields import SpinBox, number_field
from slmstudio.gui.common.widgets.labels import Chip, plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import column_in, row_in
from slmstudio.gui.common.widgets.progress import ProgressStrip
from slmstudio.gui.export.model_server import FAILED, SERVING, STARTING, STOPPED, STOPPING, ModelServer, Serving

HIDDEN_KEY = "••••••••"
CURL, PYTHON = range(2)


class ServerPage(QWidget):
    """Empty: what it is for, and Start. Working: loading. Done: address, key, snippets. Failed: why. While a file of
    another run is served: which, and Stop.

    Args:
        server: may serve another file than the selected one.
    """

    def __init__(self, server: ModelServer, parent: QWidget | None = None):
        super().__init__(parent)
        self._server = server
        self._path: Path | None = None
        self.banner = ErrorBanner()
        self.banner.setObjectName("server_banner")
        self.strip = ProgressStrip()
        self.strip.cancel.setToolTip(tr("Stop the server before it's ready."))
        self.strip.cancelled.connect(server.stop)
        self._make_start()
        self._make_elsewhere()
        self._make_running()
        column = column_in(self, theme.SPACE_S)
        for widget in (self.banner, self._offer, self._elsewhere, self.strip, self._running):
            column.addWidget(widget)
        server.changed.connect(self._show)
        self._show()

    def _make_start(self) -> None:
        self._offer = QWidget()
        column = column_in(self._offer, theme.SPACE_S)
        column.addWidget(text_label(tr("Programs on this machine can use the model through an OpenAI-compatible API. "
                                       "The server only listens on 127.0.0.1, requires a key, and stops with this "
                                       "window."),
                                    "small", wrap=True))
        self.port = number_field(SpinBox())
        self.port.setObjectName("server_port")
        self.port.setRange(1, 65535)
        self.port.setGroupSeparatorShown(False)
        self.port.setValue(serving.DEFAULT_PORT)
        self.port.setAccessibleName(tr("Port"))
        self.port.setToolTip(tr("The number after the address. Change it if another program uses it."))
        self.start_button = SecondaryButton(tr("Start the server"), "")
        self.start_button.setObjectName("server_start")
        self.start_button.clicked.connect(self._start)
        row = QHBoxLayout()
        row.setSpacing(theme.SPACE_S)
        row.addWidget(text_label(tr("Port"), "small"))
        row.addWidget(self.port)
        row.addStretch(1)
        row.addWidget(self.start_button)
        column.addLayout(row)

    def _make_elsewhere(self) -> None:
        self._elsewhere = QWidget()
        row = row_in(self._elsewhere, theme.SPACE_S)
        self.elsewhere = text_label("", "small", wrap=True)
        self.elsewhere.setObjectName("server_elsewhere")
        stop = SecondaryButton(tr("Stop it"),
                               tr("Stop the other run's server, so that a file of this run can be served."), "small")
        stop.setObjectName("server_stop_other")
        stop.clicked.connect(self._server.stop)
        row.addWidget(self.elsewhere, 1)
        row.addWidget(stop)

    def _make_running(self) -> None:
        self._running = QWidget()
        column = column_in(self._running, theme.SPACE_S)
        self.chip = Chip(tr("running"), "ok")
        self.figures = text_label("", "small", wrap=True)
        self.figures.setObjectName("server_figures")
        self.stop_button = SecondaryButton(
            tr("Stop"), tr("Stop the server. Answers that are being written are cut off."), "small")
        self.stop_button.setObjectName("server_stop")
        self.stop_button.clicked.connect(self._server.stop)
        top = QHBoxLayout()
        top.setSpacing(theme.SPACE_S)
        top.addWidget(self.chip)
        top.addWidget(self.figures, 1)
        top.addWidget(self.stop_button)
        column.addLayout(top)
        self.last_error = text_label("", "small", wrap=True)
        self.last_error.setProperty("tone", "warn")
        self.last_error.setObjectName("server_last_error")
        column.addWidget(self.last_error)
        column.addLayout(self._make_facts())
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
        grid = QGridLayout()
        grid.setHorizontalSpacing(theme.SPACE_L)
        grid.setVerticalSpacing(theme.SPACE_XS)
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
