"""What a user is asked: for a file or a folder to open, or to confirm something."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QDialog, QFileDialog, QMessageBox, QWidget

MARGIN = 40
"""Pixels of a window that stay visible around a dialog."""


def resize_within(dialog: QDialog, parent: QWidget | None, width: int, height: int) -> None:
    """Make a dialog this large, or as large as its window leaves room for."""
    size = QSize(width, height)
    dialog.resize(size if parent is None else size.boundedTo(parent.size() - QSize(MARGIN, MARGIN)))


def open_path(parent: QWidget, title: str, chosen: Callable[[Path], object], kinds: str = "", *,
              folder: bool = False) -> None:
    """Let the user choose a file or a folder that is there.

    Args:
        kinds: of files, as in "GGUF models (*.gguf)"; several are separated by ";;".
    """
    dialog = QFileDialog(parent, title, "", kinds)
    dialog.setFileMode(QFileDialog.FileMode.Directory if folder else QFileDialog.FileMode.ExistingFile)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.fileSelected.connect(lambda name: chosen(Path(name)))
    dialog.open()


def question(parent: QWidget | None, title: str, text: str, more: str) -> QMessageBox:
    """A question without buttons; the caller adds them."""
    box = QMessageBox(parent)
    box.setIcon(QMessageBox.Icon.Question)
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.setWindowTitle(title)
    box.setText(text)
    box.setInformativeText(more)
    return box


def confirm(parent: QWidget, title: str, text: str, more: str, yes: tuple[str, QMessageBox.ButtonRole, str],
            act: Callable[[], object]) -> None:
    """Ask for confirmation, and act on it.

    Args:
        yes: text, role and name of the button that does it.
    """
    box = question(parent, title, text, more)
    box.setStandardButtons(QMessageBox.StandardButton.Cancel)
    label, role, name = yes
    button = box.addButton(label, role)
    button.setObjectName(name)
    box.setDefaultButton(QMessageBox.StandardButton.Cancel)
    box.finished.connect(lambda: act() if box.clickedButton() is button else None)
    box.open()
