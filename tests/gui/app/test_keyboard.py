"""Without a mouse: Enter presses what has the focus, and one can see what that is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QRect, Qt
from PySide6.QtGui import QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QApplication,
    QCheckBox,
    QDialog,
    QFileDialog,
    QLineEdit,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from shiboken6 import isValid
from support.contrast import SHAPE, contrast, luminance
from support.window import settle
from support.window_states import open_run, open_sample

from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.app.settings import SettingsDialog
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import TABS
from slmstudio.gui.common.widgets.buttons import SegmentedControl
from slmstudio.gui.common.widgets.figures import Figure, FigureTable
from slmstudio.gui.common.widgets.keys import SHOWN

LEAST = 60
"""The pixels that what shows the focus takes at least: as many as a ring around the box of a check box."""


@pytest.fixture
def window(main_window) -> MainWindow:
    return main_window


def press_enter(qtbot, widget: QWidget, key: Qt.Key = Qt.Key.Key_Return) -> None:
    widget.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.waitUntil(widget.hasFocus)
    qtbot.keyClick(widget, key)


@pytest.mark.parametrize("key", [Qt.Key.Key_Return, Qt.Key.Key_Enter])
def test_enter_presses_the_focused_button(qtbot, window, key):
    press_enter(qtbot, window.findChild(QPushButton, "data_choose"), key)
    dialog = window.page("data").findChild(QFileDialog)
    assert dialog is not None
    dialog.reject()
    press_enter(qtbot, window.findChild(QToolButton, "open_settings"), key)
    dialog = window.findChild(SettingsDialog)
    assert dialog is not None
    press_enter(qtbot, dialog.scheme.button(2), key)
    assert theme.THEME.dark and dialog.isVisible(), "a choice in a dialog, which has a button of its own for Enter"
    dialog.reject()


def test_a_click_shows_no_focus_and_a_key_does(qtbot, window):
    choose, sample = (window.findChild(QPushButton, name) for name in ("data_choose", "data_sample"))
    pressed: list[bool] = []
    for button in (choose, sample):
        button.clicked.disconnect()
        button.clicked.connect(lambda: pressed.append(True))
    QTest.mouseClick(window.windowHandle(), Qt.MouseButton.LeftButton,
                     pos=sample.mapTo(window, sample.rect().center()))
    clicked = sample.grab().toImage()
    assert pressed and sample.hasFocus() and not sample.property(SHOWN)
    choose.setFocus(Qt.FocusReason.OtherFocusReason)
    sample.setFocus(Qt.FocusReason.TabFocusReason)
    assert sample.property(SHOWN) and sample.grab().toImage() != clicked


@pytest.mark.parametrize("gone", ["hidden", "disabled"])
def test_where_a_clicked_control_has_gone_its_neighbour_shows_no_focus(qtbot, window, gone):
    page = QWidget()
    clicked, neighbour = QPushButton("Pause"), QPushButton("Checkpoint now")
    column = QVBoxLayout(page)
    for widget in (clicked, neighbour):
        column.addWidget(widget)
    window.setCentralWidget(page)
    clicked.clicked.connect(lambda: clicked.hide() if gone == "hidden" else clicked.setEnabled(False))
    settle()
    QTest.mouseClick(window.windowHandle(), Qt.MouseButton.LeftButton,
                     pos=clicked.mapTo(window, clicked.rect().center()))
    assert neighbour.hasFocus() and not neighbour.property(SHOWN)
    clicked.setVisible(True)
    clicked.setEnabled(True)
    press_enter(qtbot, clicked)
    assert neighbour.hasFocus() and neighbour.property(SHOWN), "the keys are in use"


def test_enter_is_left_to_what_is_no_button(qtbot, window):
    page = QWidget()
    field, box, button = QLineEdit(), QCheckBox("x"), QPushButton("y")
    column = QVBoxLayout(page)
    for widget in (field, box, button):
        column.addWidget(widget)
    window.setCentralWidget(page)
    pressed: list[str] = []
    button.clicked.connect(lambda: pressed.append("button"))
    field.returnPressed.connect(lambda: pressed.append("field"))
    press_enter(qtbot, button)
    press_enter(qtbot, field)
    press_enter(qtbot, box)
    button.setFocus()
    qtbot.keyClick(button, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    assert pressed == ["button", "field"] and not box.isChecked()


def test_a_dialog_keeps_its_default_button(qtbot, window):
    dialog = QDialog(window)
    field, other, default = QLineEdit(), QPushButton("Other"), QPushButton("Save")
    column = QVBoxLayout(dialog)
    for widget in (field, other, default):
        column.addWidget(widget)
    default.setDefault(True)
    pressed: list[str] = []
    for button in (other, default):
        button.clicked.connect(lambda _=False, button=button: pressed.append(button.text()))
    dialog.open()
    qtbot.waitUntil(dialog.isActiveWindow)
    for widget in (field, other, default):
        press_enter(qtbot, widget)
    assert pressed == ["Save", "Other", "Save"], "each once"
    dialog.reject()


def test_enter_chooses_a_segment(qtbot, window):
    control = SegmentedControl(["a", "b"])
    window.setCentralWidget(control)
    press_enter(qtbot, control.button(1))
    assert control.current() == 1


# -- the focus is seen -------------------------------------------------------------------------------------------------

def seen(image: QImage) -> np.ndarray:
    """Relative luminance of each pixel."""
    image = image.convertToFormat(QImage.Format.Format_RGB888)
    raw = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return luminance(raw[:, :3 * image.width()].reshape(image.height(), image.width(), 3) / 255)


def shown_by(window: MainWindow, widget: QWidget) -> int:
    """Pixels that change with the focus, and that stand out from what was there or from the ground beside them."""
    place = QRect(widget.mapTo(window, QPoint()), widget.size()).adjusted(-2, -2, 2, 2).intersected(window.rect())
    window.activateWindow()
    QApplication.processEvents()
    if (other := QApplication.focusWidget()) is not None:
        other.clearFocus()
    QApplication.processEvents()
    before = seen(window.grab(place).toImage())
    widget.setFocus(Qt.FocusReason.TabFocusReason)
    QApplication.processEvents()
    assert QApplication.focusWidget() is widget
    after = seen(window.grab(place).toImage())
    changed = contrast(before, after)
    return int(((changed >= SHAPE) | ((changed > 1.5) & (contrast(after, before[0, 0]) >= SHAPE))).sum())


def kind_of(widget: QWidget) -> tuple[str, ...]:
    """What the style sheet tells controls apart by: one of each is looked at."""
    return (type(widget).__name__, *(str(widget.property(name)) for name in ("kind", "segment", "bare", "checked")))


def area(rect: QRect) -> int:
    return rect.width() * rect.height()


def focusable(root: QWidget) -> Iterator[QWidget]:
    """Controls that the Tab key reaches, as far as most of them is seen."""
    for widget in root.findChildren(QWidget):
        if isValid(widget) and widget.isVisible() and widget.isEnabled() and widget.focusProxy() is None and (
                widget.focusPolicy() & Qt.FocusPolicy.TabFocus) and (
                area(widget.visibleRegion().boundingRect()) >= 0.8 * area(widget.rect()) > 0):
            yield widget


def test_the_focus_is_seen_on_every_control(qtbot, qapp, window, studio_home, tmp_path):
    open_sample(qtbot, window)
    results = open_run(qtbot, window, tmp_path)
    unseen: list[tuple[str, ...]] = []
    looked_at: set[tuple[str, ...]] = set()
    for scheme in ("light", "dark"):
        theme.apply(qapp, scheme)
        for tab, details in (*((tab, 0) for tab in TABS), ("results", 1)):
            window.go_to(tab)
            results.details.tabs.set_current(details)
            QApplication.processEvents()
            for widget in focusable(window):
                kind = (scheme, *kind_of(widget))
                if kind not in looked_at and (pixels := shown_by(window, widget)) < LEAST:
                    unseen.append((tab, *kind, widget.objectName() or widget.accessibleName(), str(pixels)))
                looked_at.add(kind)
    assert unseen == [], "\n".join(map(str, unseen))
    assert {"TwoLineList", "RowsTable", "RunsTable", "RunPlots", "PrimaryButton", "QLineEdit", "IconButton",
            "QTabBar"} <= {kind[1] for kind in looked_at}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_focus_is_seen_on_figures_and_plots(qapp, window, scheme):
    from slmstudio.gui.plots.plot import Plot

    theme.apply(qapp, scheme)
    page, table, plot = QWidget(), FigureTable("Scores"), Plot("Loss", x_unit="steps", x_form=str)
    column = QVBoxLayout(page)
    column.addWidget(table)
    column.addWidget(plot)
    table.show_rows(["", "Score"], [[Figure("tuned"), Figure("0.5", "0.4 to 0.6")]])
    table.setCurrentIndex(table.figures.index(0, 1))
    window.setCentralWidget(page)
    QApplication.processEvents()
    assert shown_by(window, table) > LEAST and shown_by(window, plot.canvas) > LEAST
