"""What is wrong with how a window is laid out: cut text, scroll bars in one another, overlaps, what is outside."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from PySide6.QtCore import QRect
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractScrollArea,
    QComboBox,
    QHeaderView,
    QLabel,
    QLineEdit,
    QScrollBar,
    QSplitterHandle,
    QTabBar,
    QWidget,
)
from support.shown_texts import cut


def faults(root: QWidget, rounds: int = 6) -> list[str]:
    """Those in what can be seen of `root` that are still there after so many rounds of the layout, one a line."""
    found = _faults(root)
    while found and rounds:
        QTest.qWait(20)
        now, rounds = _faults(root), rounds - 1
        found = [each for each in found if each in now]
    return found


def _faults(root: QWidget) -> list[str]:
    seen = [each for each in root.findChildren(QWidget) if each.isVisible() and each.window() is root.window()]
    return [*(f"cut: {each}" for each in cut(root)), *_cut_fields(seen), *_scrolled_twice(seen), *_misplaced(seen)]


def describe(widget: QWidget) -> str:
    """Its class and name, after those of the nearest one around it that has a name."""
    around = widget.parentWidget()
    while around is not None and not around.objectName():
        around = around.parentWidget()
    text = widget.text() if isinstance(widget, QAbstractButton | QLabel | QLineEdit) else ""
    return (f"{around.objectName() if around is not None else ''} > {type(widget).__name__} {widget.objectName()} "
            f"{text[:30]!r}")


def _cut_fields(seen: list[QWidget]) -> Iterator[str]:
    """Placeholders, headings of columns and names of tabs that have less room than they take."""
    for each in seen:
        if isinstance(each, QLineEdit) and each.placeholderText() and not each.text():
            wanted, room = each.fontMetrics().horizontalAdvance(each.placeholderText()), each.width() - 8
            if wanted > room and not isinstance(each.parentWidget(), QComboBox):
                yield f"cut: {describe(each)} placeholder {each.placeholderText()!r}: {room} of {wanted}"
        if isinstance(each, QTabBar) and each.sizeHint().width() > each.width():
            yield f"cut: {describe(each)}: {each.width()} of {each.sizeHint().width()}"


def _scrolled_twice(seen: list[QWidget]) -> Iterator[str]:
    """Two bars of the same direction, one inside what the other scrolls."""
    def can_scroll(area: QWidget, across: bool) -> bool:
        if not isinstance(area, QAbstractScrollArea):
            return False
        bar = area.horizontalScrollBar() if across else area.verticalScrollBar()
        return bar.isVisible() and bar.maximum() > bar.minimum()

    for across in (False, True):
        for each in seen:
            around = each.parentWidget()
            while can_scroll(each, across) and around is not None:
                if can_scroll(around, across):
                    yield f"scrolls twice: {describe(each)} in {describe(around)}"
                around = around.parentWidget()


def _misplaced(seen: list[QWidget]) -> Iterator[str]:
    children: dict[QWidget, list[QWidget]] = {}
    for each in seen:
        parent = each.parentWidget()
        # A view scrolls what it holds, and places its own bars; a combo box its list.
        if parent is None or each.isWindow() or isinstance(parent, QComboBox | QTabBar | QHeaderView) or isinstance(
                parent.parentWidget(), QAbstractScrollArea) or isinstance(parent, QAbstractScrollArea) or isinstance(
                each, QScrollBar | QSplitterHandle) or each.geometry().isEmpty():
            continue
        children.setdefault(parent, []).append(each)
        if not parent.rect().contains(each.geometry()):
            yield f"outside: {describe(each)} {_rect(each.geometry())} of {_rect(parent.rect())}"
    for siblings in children.values():
        for first, second in combinations(siblings, 2):
            common = first.geometry() & second.geometry()
            if common.width() > 1 and common.height() > 1:
                yield f"overlap: {describe(first)} and {describe(second)}: {_rect(common)}"


def _rect(rect: QRect) -> str:
    return f"{rect.width()}×{rect.height()} at {rect.x()}, {rect.y()}"
