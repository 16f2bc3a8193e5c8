"""Where the question is typed, and how full the context is."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QProgressBar, QVBoxLayout, QWidget

from slmstudio.gui import theme
from slmstudio.gui.widgets import PrimaryButton, SecondaryButton, text_label

COUNT_AFTER_MS = 400
HEIGHT = 56


class _Editor(QPlainTextEdit):
    """Ctrl+Enter sends, Esc stops; Enter alone makes a line, which input methods for many scripts need too."""

    send = Signal()
    stop = Signal()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        if control and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.send.emit()
        elif event.key() == Qt.Key.Key_Escape:
            self.stop.emit()
        else:
            super().keyPressEvent(event)


class ChatInput(QWidget):
    """The editor, Send or Stop, and the context meter.

    Signals:
        sent(str): a question.
        stopped: the answer shall end.
        drafted(str): the person paused while typing; how long is it?
    """

    sent = Signal(str)
    stopped = Signal()
    drafted = Signal(str)

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._answering = self._ready = False
        self.editor = _Editor()
        self.editor.setObjectName("chat_input")
        self.editor.setPlaceholderText(self.tr("Ask something · Ctrl+Enter sends"))
        self.editor.setAccessibleName(self.tr("Your question"))
        self.editor.setToolTip(self.tr("Ctrl+Enter sends it, Esc stops the answer."))
        self.editor.setFixedHeight(HEIGHT)
        self.editor.setTabChangesFocus(True)
        self.send_button = PrimaryButton(self.tr("Send"), self.tr("Put the question (Ctrl+Enter)."))
        self.send_button.setObjectName("chat_send")
        self.stop_button = SecondaryButton(self.tr("Stop"), self.tr("End the answer at once (Esc)."), "danger")
        self.stop_button.setObjectName("chat_stop")
        self.note = text_label("", "small")
        self.meter = QProgressBar()
        self.meter.setTextVisible(False)
        self.meter.setFixedWidth(160)
        self.meter.setAccessibleName(self.tr("How full the context is"))
        self.meter_text = text_label("", "small")
        self.meter_text.setObjectName("context_meter")
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(COUNT_AFTER_MS)
        self._lay_out()
        self._connect()
        self.set_used(0, 0)
        self.set_state(ready=False, answering=False)

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.setSpacing(theme.SPACE_S)
        row.addWidget(self.editor, 1)
        row.addWidget(self.send_button)
        row.addWidget(self.stop_button)
        below = QHBoxLayout()
        below.setSpacing(theme.SPACE_S)
        below.addWidget(self.meter_text)
        below.addWidget(self.meter)
        below.addStretch(1)
        below.addWidget(self.note)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(theme.SPACE_S)
        column.addLayout(row)
        column.addLayout(below)

    def _connect(self) -> None:
        self.editor.send.connect(self.send)
        self.editor.stop.connect(self.stopped)
        self.editor.textChanged.connect(self._typed)
        self.send_button.clicked.connect(self.send)
        self.stop_button.clicked.connect(self.stopped)
        self._timer.timeout.connect(lambda: self.drafted.emit(self.editor.toPlainText().strip()))

    def send(self) -> None:
        text = self.editor.toPlainText().strip()
        if text and self._ready and not self._answering:
            self.editor.clear()
            self.sent.emit(text)

    def put_back(self, question: str) -> None:
        """A question that got no answer, unless the person types another already."""
        if not self.editor.toPlainText():
            self.editor.setPlainText(question)

    def set_state(self, *, ready: bool, answering: bool) -> None:
        self._ready, self._answering = ready, answering
        self.send_button.setVisible(not answering)
        self.stop_button.setVisible(answering)
        self._show_send()

    def _typed(self) -> None:
        self._show_send()
        self._timer.start()

    def _show_send(self) -> None:
        self.send_button.setEnabled(self._ready and bool(self.editor.toPlainText().strip()))

    def set_used(self, tokens: int, context_length: int) -> None:
        """Show how much of the context is taken."""
        self.meter.setVisible(context_length > 0)
        self.meter.setRange(0, max(1, context_length))
        self.meter.setValue(min(tokens, context_length))
        self.meter_text.setText(self.tr("context {used} of {all}").format(
            used=f"{tokens:,}", all=f"{context_length:,}") if context_length else "")
