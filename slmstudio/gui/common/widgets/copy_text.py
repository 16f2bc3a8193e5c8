"""Text to copy: commands, programs, keys."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QFontMetrics, QGuiApplication, QResizeEvent, QTextOption
from PySide6.QtWidgets import QFrame, QLineEdit, QPlainTextEdit, QWidget

from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, row_in, row_of


class _Field(QPlainTextEdit):
    """Says when its lines may break elsewhere, after they have.

    Signals:
        resized: its width is different now.
    """

    resized = Signal()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self.resized.emit()


class CopyText(QFrame):
    """A few lines in a field that can be read and marked, and a button that copies all of them.

    Args:
        name: for a screen reader.
        most_lines: the field grows to this many; more can be scrolled to.
        wrap: break long lines, as of commands; a program is scrolled.
    """

    def __init__(self, name: str, most_lines: int = 9, *, wrap: bool = False):
        super().__init__()
        self._copied, self._most = "", most_lines
        self.field = _Field()
        self.field.setReadOnly(True)
        self.field.setAccessibleName(name)
        self.field.setToolTip(tr("Copy it, or select a part of it."))
        self.field.setProperty("recipe", True)
        self._wraps = wrap
        if wrap:
            self.field.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        else:
            self.field.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.field.setTabChangesFocus(True)
        # Queued: the field must not change its height while it is being laid out.
        self.field.resized.connect(self._fit, Qt.ConnectionType.QueuedConnection)
        # Paragraphs are broken into lines late; a range to scroll through says that more lines were needed.
        self.field.verticalScrollBar().rangeChanged.connect(self._fit, Qt.ConnectionType.QueuedConnection)
        self.copy = SecondaryButton(tr("Copy"), tr("Copy the whole text."), "small", clicked=self._copy)
        self.copy.setAccessibleName(tr("Copy: {name}", name=name))
        self._done = text_label("", "small")
        self.row = row_of(self.copy, self._done, STRETCH)
        column_in(self, self.field, self.row)

    def set_text(self, shown: str, copied: str | None = None) -> None:
        """Show a text.

        Args:
            copied: what the button copies, where a part of it isn't to be seen.
        """
        self._copied = shown if copied is None else copied
        if shown != self.field.toPlainText():
            self.field.setPlainText(shown)
            self._done.setText("")
        self._fit()

    @Slot()
    def _fit(self) -> None:
        """As high as the text, up to the limit."""
        needed = max(1, round(self.field.document().size().height()))  # in lines, not in pixels
        lines = min(self._most, needed)
        # A bar takes width, so lines break elsewhere, and the bar could keep itself necessary.
        self.field.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded if needed > self._most
                                              else Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        bar = 0 if self._wraps else self.field.horizontalScrollBar().sizeHint().height()
        self.field.setFixedHeight(lines * QFontMetrics(self.field.font()).lineSpacing() + bar + 2 * theme.SPACE_L)

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self._copied)
        self._done.setText(tr("Copied."))


class CopyLine(QWidget):
    """One line to copy; a secret one is hidden until it is revealed.

    Args:
        name: for a screen reader.
        secret: hide it at first.
    """

    def __init__(self, name: str, *, secret: bool = False):
        super().__init__()
        self.field = QLineEdit()
        self.field.setReadOnly(True)
        self.field.setAccessibleName(name)
        self.field.setToolTip(tr("Copy it with the button at the right."))
        self.reveal = IconButton("eye", tr("Show or hide: {name}", name=name))
        self.reveal.setCheckable(True)
        self.reveal.setVisible(secret)
        self.reveal.toggled.connect(self._reveal)
        self.copy = IconButton("copy", tr("Copy: {name}", name=name),
                               clicked=lambda: QGuiApplication.clipboard().setText(self.field.text()))
        self._reveal(not secret)
        row = row_in(self, (self.field, 0, Qt.AlignmentFlag.AlignVCenter),
                     (self.reveal, 0, Qt.AlignmentFlag.AlignVCenter), (self.copy, 0, Qt.AlignmentFlag.AlignVCenter),
                     spacing=theme.SPACE_XS)
        row.setStretch(0, 1)

    def set_text(self, text: str) -> None:
        self.field.setText(text)
        self.field.setCursorPosition(0)

    def _reveal(self, on: bool) -> None:
        self.field.setEchoMode(QLineEdit.EchoMode.Normal if on else QLineEdit.EchoMode.Password)
