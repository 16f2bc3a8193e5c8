"""Fields: the wheel scrolls the page and changes nothing by the way, and a name without room ends in no mid-air."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF
from PySide6.QtGui import QFontMetrics, QHelpEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLineEdit, QScrollArea, QToolTip, QVBoxLayout, QWidget

import slmstudio.gui
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.fields import (
    ComboBox,
    DoubleSpinBox,
    Slider,
    SpinBox,
    keep_choice,
    named,
    put_back,
    typed_values,
)
from slmstudio.gui.common.widgets.layouts import column_in

GUI = Path(slmstudio.gui.__file__).parent
LONG = "a-run-with-a-name-that-nobody-would-type-twice-Qwen2.5-1.5B-Instruct"


def turn_wheel(widget: QWidget, turns: int = -1) -> None:
    """As the window system tells it; what the widget leaves goes to those around it."""
    window = widget.window()
    place = widget.mapTo(window, widget.rect().center())
    QTest.wheelEvent(window.windowHandle(), QPointF(place), QPoint(0, 120 * turns))


def value(field: QWidget) -> float:
    return field.currentIndex() if isinstance(field, ComboBox) else field.value()


@pytest.mark.parametrize("kind", [ComboBox, SpinBox, DoubleSpinBox, Slider])
def test_the_wheel_scrolls_the_page_and_changes_only_a_field_with_the_focus(qtbot, qapp, kind):
    page, area = QWidget(), QScrollArea()
    column, field = QVBoxLayout(page), kind()
    column.addWidget(field)
    column.addStretch(1)
    page.setMinimumHeight(2000)
    area.setWidget(page)
    if kind is ComboBox:
        field.addItems(["one", "two", "three"])
        field.setCurrentIndex(1)
    else:
        field.setValue(50)
    qtbot.addWidget(area)
    area.resize(200, 200)
    with qtbot.waitActive(area):
        area.show()
    area.setFocus()
    before = value(field)
    turn_wheel(field)
    assert value(field) == before and area.verticalScrollBar().value() > 0 and not field.hasFocus()
    field.setFocus()
    qtbot.waitUntil(field.hasFocus)
    area.verticalScrollBar().setValue(0)
    turn_wheel(field)
    assert value(field) != before and area.verticalScrollBar().value() == 0


def test_every_field_of_the_window_is_one_of_these():
    """So that no tab has one that the wheel changes, or whose name is cut off."""
    others = [f"{file.name}: {found[0]}" for file in GUI.rglob("*.py") if file.name != "fields.py"
              for found in re.finditer(r"\bQ(ComboBox|SpinBox|DoubleSpinBox|Slider|Dial)\b", file.read_text("utf-8"))]
    assert others == []


def test_a_name_without_room_loses_its_middle_and_is_the_tooltip(qtbot, qapp):
    theme.apply(qapp, "light")
    box = ComboBox()
    box.setToolTip("Which model answers.")
    box.addItems(["short", LONG])
    qtbot.addWidget(box)
    box.setFixedWidth(160)
    box.show()
    assert box.shown_text() == "short" and tooltip_of(qtbot, box) == "Which model answers."
    box.setCurrentIndex(1)
    begin, _, end = box.shown_text().partition("…")
    assert begin and end and LONG.startswith(begin) and LONG.endswith(end)
    assert tooltip_of(qtbot, box) == LONG
    box.setFixedWidth(900)
    assert box.shown_text() == LONG and tooltip_of(qtbot, box) == "Which model answers."
    box.setSizeAdjustPolicy(ComboBox.SizeAdjustPolicy.AdjustToContents)
    box.setMaximumWidth(9999)
    box.setMinimumWidth(0)
    box.adjustSize()
    assert box.shown_text() == LONG, "as wide as its names"
    box.setPlaceholderText("Choose one…")
    box.setCurrentIndex(-1)
    assert box.shown_text() == "Choose one…"


def tooltip_of(qtbot, widget: QWidget) -> str:
    QToolTip.hideText()
    place = widget.rect().center()
    QApplication.sendEvent(widget, QHelpEvent(QEvent.Type.ToolTip, place, widget.mapToGlobal(place)))
    return QToolTip.text()


@pytest.mark.parametrize(("decimals", "value", "shown"), [(2, 10, "10%"), (2, 2.5, "2.5%"), (2, 0.25, "0.25%"),
                                                          (0, 10, "10%")])
def test_a_number_has_the_decimals_that_it_needs(qtbot, decimals, value, shown):
    box = DoubleSpinBox(decimals=decimals, suffix="%", value=value)
    qtbot.addWidget(box)
    assert box.text() == shown


@pytest.mark.parametrize("percent", [100, 150])
def test_a_list_of_choices_shows_all_of_them_in_one_frame(qtbot, qapp, percent: int):
    theme.apply(qapp, "light", percent)
    box = ComboBox()
    qtbot.addWidget(box)
    box.addItems(["Same as the system (English)", "English", "हिन्दी"])
    with qtbot.waitExposed(box):
        box.show()
    box.showPopup()
    view = box.view()
    last = view.visualRect(box.model().index(2, 0))
    inside, frame = view.viewport().rect(), view.window().rect()
    box.hidePopup()
    theme.apply(qapp, "light", 100)
    assert inside.contains(last) and last.height() >= QFontMetrics(theme.base_font()).height()
    assert view.geometry() == frame, "nothing of another frame is seen around it"


def test_what_was_typed_and_chosen_is_put_back_into_fields_of_the_same_name(qtbot):
    def page() -> tuple[QWidget, QLineEdit, ComboBox, QLineEdit, QLineEdit]:
        made = QWidget()
        qtbot.addWidget(made)
        typed, nameless = named(QLineEdit(), "typed"), QLineEdit()
        untouched = named(QLineEdit("as it was"), "untouched")
        box = keep_choice(named(ComboBox(), "box"))
        for value in ("all", "open"):
            box.addItem(value, value)
        column_in(made, typed, box, untouched, nameless)
        return made, typed, box, untouched, nameless

    before, typed, box, _, nameless = page()
    count = keep_choice(named(SpinBox(), "count", "Count", "How many."))
    count.setParent(before)
    count.setValue(7)
    qtbot.keyClicks(typed, "half a wo")
    qtbot.keyClicks(nameless, "nobody finds it again")
    box.setCurrentIndex(1)
    after, typed, box, untouched, nameless = page()
    untouched.setText("in another language")
    values = typed_values(before)
    put_back(after, values)
    assert (typed.text(), box.currentData(), untouched.text(), nameless.text()) == (
        "half a wo", "open", "in another language", "")
    assert values == {(SpinBox, "count"): 7} and len(typed_values(after)) == 2, "it is found once more"
