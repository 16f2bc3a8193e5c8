"""The window without eyes and without a mouse: the accessibility tree, and the Tab key alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
from PySide6.QtCore import Qt, QThreadPool
from PySide6.QtGui import QAccessible, QAccessibleInterface
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDialog,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QRadioButton,
    QSlider,
    QTabBar,
    QWidget,
)
from shiboken6 import isValid
from support import evaluated_runs

from slmstudio.gui.app.doctor import DoctorDialog
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.common.session import TABS

Role = QAccessible.Role
INTERACTIVE = {Role.Button, Role.ButtonMenu, Role.CheckBox, Role.RadioButton, Role.ComboBox, Role.EditableText,
               Role.SpinBox, Role.Slider, Role.Table, Role.List, Role.PageTab, Role.PageTabList, Role.Link}
CONTROLS = (QAbstractButton, QAbstractItemView, QAbstractSpinBox, QComboBox, QLineEdit, QPlainTextEdit, QSlider,
            QTabBar)
MOST_STEPS = 400


@pytest.fixture
def window(main_window: MainWindow, tmp_path: Path, tiny_model: Path) -> MainWindow:
    evaluated_runs.write(evaluated_runs.ended_run("helpdesk", tiny_model))
    return main_window


def places(qtbot, window: MainWindow) -> Iterator[tuple[str, QWidget]]:
    """The window in its states, and its dialogs, one after another."""
    for tab in TABS:
        window.go_to(tab)
        QApplication.processEvents()
        yield f"{tab}, empty", window
    data = window.page("data")
    window.go_to("data")
    with qtbot.waitSignal(data.idle):
        data.open_sample()
    for mode in range(3):
        data.workspace().rows.mode.set_current(mode)
        QApplication.processEvents()
        yield f"data, {mode}", window
    window.go_to("results")
    results = window.page("results")
    qtbot.waitUntil(lambda: results.details._run is not None and not results._loading.is_busy())
    for page in range(2):
        results.details.tabs.set_current(page)
        QApplication.processEvents()
        yield f"results, {page}", window
    for name, begin in dialogs(window).items():
        begin()
        qtbot.waitUntil(lambda: isinstance(QApplication.activeModalWidget(), QDialog))
        dialog = QApplication.activeModalWidget()
        dialog.activateWindow()
        QApplication.processEvents()
        yield name, dialog
        if name == "help":
            for page in (1, 2):
                dialog.tabs.set_current(page)  # type: ignore[attr-defined]
                QApplication.processEvents()
                yield f"help, {page}", dialog
        dialog.reject()
        QApplication.processEvents()
    window.open_welcome()
    QApplication.processEvents()
    yield "welcome", window


def dialogs(window: MainWindow) -> dict[str, Callable[[], None]]:
    return {"settings": window.open_settings, "help": window.open_help, "doctor": lambda: open_unchecked(window)}


def open_unchecked(window: MainWindow) -> None:
    """The doctor before its visit, which takes 20 s and has tests of its own."""
    DoctorDialog(window).open()


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
    kind = QRadioButton if isinstance(control, QRadioButton) else QPushButton
    chosen = isinstance(control, QRadioButton) or control.property("segment") is not None
    return chosen and any(each in by_tab for each in control.parentWidget().findChildren(kind))


def settle(root: QWidget) -> None:
    """What the place reads is read, and the keys go there."""
    QThreadPool.globalInstance().waitForDone()
    root.activateWindow()
    for _ in range(3):
        QApplication.processEvents()


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


@pytest.mark.parametrize("count", [len(TABS), pytest.param(16, marks=pytest.mark.full)], ids=["tabs", "everything"])
def test_everything_has_a_name_a_role_and_can_be_reached_by_tab(qtbot, window, count):
    without_name: list[str] = []
    unreached: list[str] = []
    looked_at = []
    for name, root in islice(places(qtbot, window), count):
        looked_at.append(name)
        without_name += [f"{name}: {each}" for each in dict.fromkeys(
            nameless(QAccessible.queryAccessibleInterface(root)))]
        settle(root)
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
