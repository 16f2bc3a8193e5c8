"""The texts of a window that people read, hear or unfold: which of them no catalogue knows, and which are cut."""

from __future__ import annotations

import html
import re
from collections.abc import Container, Iterator

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QComboBox,
    QDoubleSpinBox,
    QGroupBox,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QSpinBox,
    QTabBar,
    QWidget,
)

from slmstudio.core.i18n.catalogue import OPEN
from slmstudio.gui.common.widgets.labels import ElidedLabel
from slmstudio.gui.evaluation.answer_view import FewLines

_TAGS = re.compile(r"<style>.*?</style>|<[^<>]+>", re.DOTALL)
_ACROSS = Qt.Orientation.Horizontal
_LETTERS = re.compile(r"[^\W\d_]{2}")


def texts(root: QWidget) -> Iterator[tuple[QWidget, str, str]]:
    """Each widget below `root`, what the text is to it ("text", "tooltip", "name" …), and the text without markup."""
    for each in (root, *root.findChildren(QWidget)):
        if each.objectName().startswith("qt_"):
            continue
        for kind, text in _of(each):
            plain = html.unescape(_TAGS.sub("", text)).strip()
            if plain:
                yield each, kind, plain


def _of(widget: QWidget) -> Iterator[tuple[str, str]]:
    yield "tooltip", widget.toolTip()
    yield "name", widget.accessibleName()
    yield "description", widget.accessibleDescription()
    if widget.isWindow():
        yield "title", widget.windowTitle()
    if isinstance(widget, QLabel | QAbstractButton):
        yield "text", widget.text()
    if isinstance(widget, QGroupBox):
        yield "title", widget.title()
    if isinstance(widget, QLineEdit | QPlainTextEdit):
        yield "placeholder", widget.placeholderText()
    if isinstance(widget, QProgressBar) and widget.isTextVisible():
        yield "text", widget.text()
    if isinstance(widget, QAbstractSpinBox):
        yield "special", widget.specialValueText()
    if isinstance(widget, QSpinBox | QDoubleSpinBox):
        yield "suffix", widget.suffix()
        yield "prefix", widget.prefix()
    yield from _of_many(widget)


def _of_many(widget: QWidget) -> Iterator[tuple[str, str]]:
    if isinstance(widget, QComboBox):
        for index in range(widget.count()):
            yield "item", widget.itemText(index)
            yield "item's tooltip", str(widget.itemData(index, Qt.ItemDataRole.ToolTipRole) or "")
    if isinstance(widget, QTabBar):
        for index in range(widget.count()):
            yield "tab", widget.tabText(index)
            yield "tab's tooltip", widget.tabToolTip(index)
    for action in QWidget.actions(widget):
        yield "action", action.text()
    if isinstance(widget, QHeaderView) and widget.model() is not None and widget.orientation() == _ACROSS:
        for column in range(widget.count()):
            yield "header", str(widget.model().headerData(column, _ACROSS) or "")
            yield "header's tooltip", str(widget.model().headerData(column, _ACROSS, Qt.ItemDataRole.ToolTipRole) or "")


def untranslated(root: QWidget, names: re.Pattern[str], data: Container[str] = ()) -> Iterator[str]:
    """Texts that would stay English, where the pseudo-locale is spoken.

    Args:
        names, data: what is the same in all languages.
    """
    for widget, kind, text in texts(root):
        begun = text.lstrip("●✓!✕•·▸▾\xa0 ").startswith(OPEN) or isinstance(widget, FewLines)  # what models wrote
        if not begun and _LETTERS.search(text) and not names.fullmatch(text) and text not in data:
            shown = "" if widget.isVisible() else " (hidden)"
            yield f"{type(widget).__name__} {widget.objectName()}: {kind}: {text[:110]!r}{shown}"


def cut(root: QWidget) -> Iterator[str]:
    """Labels and buttons that have less room than their text takes."""
    for each in root.findChildren(QWidget):
        if not isinstance(each, QLabel | QAbstractButton) or isinstance(each, ElidedLabel) or not each.isVisible():
            continue
        if not each.text() or each.objectName().startswith("qt_") or each.visibleRegion().isEmpty():
            continue
        wraps = isinstance(each, QLabel) and each.wordWrap()
        wanted = each.sizeHint()
        narrow = not wraps and each.width() < wanted.width()
        # Rounding may take a pixel, which padding has to spare.
        low = each.height() + 1 < (each.heightForWidth(each.width()) if wraps else wanted.height())
        if narrow or low:
            yield (f"{type(each).__name__} {each.objectName()} {each.text()[:40]!r}: {each.width()}×{each.height()} "
                   f"of {wanted.width()}×{wanted.height()}")
