"""What a user is asked: for a file or a folder to open or to save, or to confirm something; and what is saved then."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtGui import QPainter, QPixmap
from PySide6.QtWidgets import QDialog, QFileDialog, QMessageBox, QWidget

from slmstudio.core import files
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import still_pressed

MARGIN = 40
"""Pixels of a window that stay visible around a dialog."""


def resize_within(dialog: QDialog, parent: QWidget | None, width: int, height: int) -> None:
    """Make a dialog this large, or as large as its window leaves room for."""
    size = QSize(width, height)
    dialog.resize(size if parent is None else size.boundedTo(parent.size() - QSize(MARGIN, MARGIN)))


class LastFolder:
    """Where a user chose a file last; "" before that. The window keeps it with its settings."""

    path = ""

    @classmethod
    def begin_in(cls, dialog: QFileDialog, name: str = "") -> None:
        """Let a dialog begin there, unless it has a file of this name elsewhere; where it ends, the next one begins."""
        if cls.path and Path(cls.path).is_dir() and not Path(name).is_absolute():
            dialog.setDirectory(cls.path)
            dialog.selectFile(name)
        dialog.accepted.connect(lambda: setattr(cls, "path", str(Path(dialog.selectedFiles()[0]).parent)))


def open_path(parent: QWidget, title: str, chosen: Callable[[Path], object], kinds: str = "", *,
              folder: bool = False) -> None:
    """Let the user choose a file or a folder that is there.

    Args:
        kinds: of files, as in "GGUF models (*.gguf)"; several are separated by ";;".
    """
    dialog = QFileDialog(parent, title, "", kinds)
    dialog.setFileMode(QFileDialog.FileMode.Directory if folder else QFileDialog.FileMode.ExistingFile)
    dialog.setOption(QFileDialog.Option.ShowDirsOnly, folder)
    LastFolder.begin_in(dialog)
    dialog.fileSelected.connect(still_pressed(lambda name: chosen(Path(name))))
    open_dialog(dialog)


def question(parent: QWidget | None, title: str, text: str, more: str) -> QMessageBox:
    """A question without buttons; the caller adds them."""
    box = QMessageBox(parent)
    box.setIcon(QMessageBox.Icon.Question)
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.setWindowTitle(title)
    box.setText(text)
    box.setInformativeText(more)
    return box


def open_dialog(dialog: QDialog) -> None:
    """Show a dialog over its window; it ends when it is closed."""
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.open()


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
    box.finished.connect(still_pressed(lambda _: act() if box.clickedButton() is button else None))
    box.open()


# -- Saves tables as CSV, and what is drawn as PNG or SVG.

SHARPNESS = 2
"""Pixels of a PNG for each of the screen's, so that it is sharp in print."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


def csv_cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula; a number stays one.

    >>> csv_cell("=2+3"), csv_cell(-0.7), csv_cell("-0.7"), csv_cell(None), csv_cell("हिन्दी")
    ("'=2+3", -0.7, '-0.7', '', 'हिन्दी')
    """
    if value is None:
        return ""
    if isinstance(value, int | float):
        return value
    text = str(value)
    if not text.lstrip().startswith(_FORMULA) and not text.startswith(_FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return "'" + text
    return text


def csv_text(rows: Sequence[Sequence[object]]) -> bytes:
    """A table as CSV in UTF-8, with the mark at its beginning without which Excel shows Devanagari as noise."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerows([[csv_cell(cell) for cell in row] for row in rows])
    return out.getvalue().encode("utf-8-sig")


def write_csv(path: Path, rows: Sequence[Sequence[object]]) -> None:
    """
    Raises:
        UserError: it can't be written; what was there stays.
    """
    with os_errors_as(tr("Could not save {file}.", file=path.name)):
        files.write_atomically(path, csv_text(rows))


def write_picture(widget: QWidget, path: Path) -> None:
    """Draw a widget as it is seen into a PNG, or into an SVG whose lines stay sharp.

    Raises:
        UserError: it can't be written.
    """
    # The drawing itself says nothing of a full disk or a folder that is gone.
    with os_errors_as(tr("Could not save {file}.", file=path.name)), open(path, "ab"):
        pass
    done = _write_svg(widget, path) if path.suffix.lower() == ".svg" else _write_png(widget, path)
    if not done:
        raise UserError(tr("{path} couldn't be saved.", path=path.name), tr("The picture couldn't be written."),
                        tr("Choose another folder."))


def _write_png(widget: QWidget, path: Path) -> bool:
    picture = QPixmap(widget.size() * SHARPNESS)
    picture.setDevicePixelRatio(SHARPNESS)
    picture.fill(theme.colour("card"))
    widget.render(picture)
    return picture.save(str(path), "PNG")


def _write_svg(widget: QWidget, path: Path) -> bool:
    from PySide6.QtSvg import QSvgGenerator

    generator = QSvgGenerator()
    generator.setFileName(str(path))
    generator.setSize(widget.size())
    generator.setViewBox(QRect(0, 0, widget.width(), widget.height()))
    generator.setTitle(widget.accessibleName() or "SLM Studio")
    painter = QPainter()
    if not painter.begin(generator):
        return False
    try:
        painter.fillRect(widget.rect(), theme.colour("card"))
        widget.render(painter, QPoint())
    finally:
        done = painter.end()  # a painter that outlives its device takes the program along
    return done


def choose_file(parent: QWidget, title: str, name: str, kinds: str, write: Callable[[Path], object]) -> None:
    """Let the user choose where to save, and write it then.

    Args:
        kinds: as in "PNG picture (*.png);;SVG drawing (*.svg)"; the first is proposed.
    """
    def take_suffix(kind: str) -> None:
        dialog.setDefaultSuffix(kind.rpartition("*.")[2].rstrip(")"))

    dialog = QFileDialog(parent, title, name, kinds)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    LastFolder.begin_in(dialog, name)
    take_suffix(kinds.split(";;")[0])
    dialog.filterSelected.connect(take_suffix)
    dialog.fileSelected.connect(still_pressed(lambda chosen: write(Path(chosen))))
    open_dialog(dialog)


def picture_kinds() -> str:
    return tr("PNG picture (*.png);;SVG drawing (*.svg)")


def csv_kinds() -> str:
    return tr("Table for a spreadsheet (*.csv)")
