"""The window without eyes and without a mouse: the accessibility tree, and the Tab key alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAccessible, QAccessibleInterface
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QRadioButton,
    QSlider,
    QTabBar,
    QWidget,
)
from shiboken6 import isValid
from support.window import settle
from support.window_states import states

from slmstudio.gui.common.session import TABS

Role = QAccessible.Role
INTERACTIVE = {Role.Button, Role.ButtonMenu, Role.CheckBox, Role.RadioButton, Role.ComboBox, Role.EditableText,
               Role.SpinBox, Role.Slider, Role.Table, Role.List, Role.PageTab, Role.PageTabList, Role.Link}
CONTROLS = (QAbstractButton, QAbstractItemView, QAbstractSpinBox, QComboBox, QLineEdit, QPlainTextEdit, QSlider,
            QTabBar)
MOST_STEPS = 400


def nameless(found: QAccessibleInterface | None) -> Iterator[str]:
    """What can be used below a node of the tree, and has no name."""
    if found is None or not found.isValid() or found.state().invisible:
        return
    item = found.object()
    name = found.text(QAccessible.Text.Name)
    scrolled = item is not None and item.objectName() == "qt_scrollarea_viewport"
    if (found.state().focusable or found.role() in INTERACTIVE) and not name and not scrolled:
        # What Qt itself puts into a field is its field's.
        inner = item is not None and isinstance(item.parent(), (QLineEdit, QAbstractSpinBox, QAbstractItemView))
        if not inner and found.role() != Role.Client:
            yield f"{found.role()} {type(item).__name__} {item.objectName() if item is not None else ''}"
    assert found.role() != Role.NoRole, name
    if found.role() not in (Role.Table, Role.List):  # cells are as many as the rows
        for number in range(found.childCount()):
            yield from nameless(found.child(number))


def reachable(root: QWidget) -> set[QWidget]:
    """Controls that can be used now, and that no other one stands for."""
    found = set()
    for each in root.findChildren(QWidget):
        own = isinstance(each, CONTROLS) and not isinstance(each.parent(), (QAbstractSpinBox, QComboBox, QLineEdit,
                                                                           QAbstractItemView, QTabBar))
        if own and each.isVisible() and each.isEnabled() and each.window() is root and each.focusProxy() is None and (
                not each.objectName().startswith("qt_") and not each.visibleRegion().isEmpty()):
            found.add(each)
    return found


def by_arrows(control: QWidget, by_tab: set[QWidget]) -> bool:
    """Whether the arrow keys lead to it from a choice beside it, as in every group of radio buttons."""
    if isinstance(control, QRadioButton):
        group = control.group()
        beside = group.buttons() if group else control.parentWidget().findChildren(QRadioButton)
    else:
        beside = control.parentWidget().findChildren(QPushButton) if control.property("segment") is not None else []
    return any(each in by_tab for each in beside)


def reached() -> set[QWidget]:
    """What the Tab key comes to before it comes round to where it began."""
    start = QApplication.focusWidget()
    found: set[QWidget] = set()
    for _ in range(MOST_STEPS):
        now = QApplication.focusWidget()
        if now is None or (now is start and found):
            break
        found.add(now)
        types = isinstance(now, QPlainTextEdit) and not now.tabChangesFocus() and not now.isReadOnly()
        QTest.keyClick(now, Qt.Key.Key_Tab,
                       Qt.KeyboardModifier.ControlModifier if types else Qt.KeyboardModifier.NoModifier)
    return found


@pytest.mark.parametrize("count", [len(TABS), pytest.param(22, marks=pytest.mark.full)], ids=["tabs", "everything"])
def test_everything_has_a_name_a_role_and_can_be_reached_by_tab(qtbot, main_window, tiny_model, count):
    without_name: list[str] = []
    unreached: list[str] = []
    looked_at = []
    for name, root in islice(((name, root.window()) for name, root in states(qtbot, main_window, tiny_model)), count):
        looked_at.append(name)
        without_name += [f"{name}: {each}" for each in dict.fromkeys(
            nameless(QAccessible.queryAccessibleInterface(root)))]
        root.activateWindow()
        settle()
        begin = next(each for each in (root, *root.findChildren(QWidget)) if each in reachable(root) and (
            each.focusPolicy() & Qt.FocusPolicy.TabFocus))
        begin.setFocus(Qt.FocusReason.TabFocusReason)
        qtbot.waitUntil(begin.hasFocus)
        by_keys = reached()
        missing = {each for each in reachable(root) if isValid(each)} - by_keys
        unreached += [f"{name}: {type(each).__name__} {each.objectName()} {each.accessibleName()}" for each in missing
                      if not by_arrows(each, by_keys)]
    assert without_name == [], "\n".join(without_name)
    assert unreached == [], "\n".join(unreached)
    assert len(looked_at) == count
