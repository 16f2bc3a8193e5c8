"""Bubbles of a conversation keep to the width of their text."""

from __future__ import annotations

import pytest
from PySide6.QtWidgets import QVBoxLayout, QWidget

from slmstudio.gui.common.widgets.conversation import BubbleArea

pytestmark = pytest.mark.usefixtures("qapp")


def test_a_bubble_grows_with_its_letters(qtbot):
    """A theme, or the text size of the system, that comes later must not leave text cut off."""
    window, area, page = QWidget(), BubbleArea(8), QWidget()
    qtbot.addWidget(window)
    QVBoxLayout(window).addWidget(area)
    column = QVBoxLayout(page)
    bubble = area.add(column, "user", "Which number do I call in an emergency?", "")
    window.resize(600, 200)
    area.show_page(page)
    window.show()
    qtbot.waitUntil(lambda: bubble.text.width() > 0 and bubble.width() < area.width())
    before = bubble.text.width()
    window.setStyleSheet("QLabel { font-size: 20px; }")
    qtbot.waitUntil(lambda: bubble.text.width() > before * 1.2)
    assert bubble.text.width() >= bubble.text.fontMetrics().horizontalAdvance("Which number do I call in an emergency?")
