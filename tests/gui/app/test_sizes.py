"""Larger text, a small window, both themes: nothing is cut, and everything can be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QLabel, QWidget
from support.contrast import TEXT, of_colours
from support.tiers import first_fast
from support.window import settle
from support.window_states import open_run, open_sample

from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import TABS


@pytest.fixture
def bare(qapp, main_window: MainWindow) -> Iterator[MainWindow]:
    """A window with nothing in it, which is styled in no time."""
    yield main_window
    theme.apply(qapp, "light", 100)


@pytest.fixture
def window(qtbot, bare: MainWindow, tiny_model: Path) -> MainWindow:
    open_sample(qtbot, bare)
    open_run(qtbot, bare, tiny_model)
    return bare


@pytest.mark.parametrize("before", [150, 100])
def test_large_text_leaves_rows_and_needs_no_scrolling_sideways(qtbot, qapp, bare, before):
    """From the start, or when the text grows in an open window."""
    theme.apply(qapp, "light", before)
    bare.resize(1280, 720)
    data, models = bare.page("data"), bare.page("model")
    open_sample(qtbot, bare)
    table = data.workspace().rows.table
    settle()
    theme.apply(qapp, "light", 150)
    for tab in ("data", "model", "chat"):
        bare.go_to(tab)
        settle()
        assert bare.page(tab).minimumSizeHint().width() <= 1280 - 20, f"{tab}, beside a scroll bar"
    bare.go_to("data")
    qtbot.waitUntil(lambda: table.viewport().height() >= 4 * table.rowHeight(0))
    assert models.card.fit.minimumSizeHint().width() < 800 and models.card.facts.minimumSizeHint().width() < 800


def ground_below(window: QWidget, label: QWidget) -> QColor:
    """What is painted in the corner of a label, where no letter is."""
    at = label.mapTo(window, label.rect().topLeft())
    image = window.grab(label.rect().translated(at)).toImage()
    inside = 3 if label.property("chip") is not None else 0
    return image.pixelColor((max(inside, 0) and image.width() // 2) or 0, 1 if inside else 0)


@pytest.mark.parametrize("scheme", first_fast(["light", "dark"]))
def test_text_on_the_screen_has_the_contrast_that_wcag_asks_for(qapp, window, scheme):
    theme.apply(qapp, scheme)
    poor: list[str] = []
    looked_at: set[tuple[object, ...]] = set()
    for tab in TABS:
        window.go_to(tab)
        settle()
        for label in window.findChildren(QLabel):
            kind = tuple(str(label.property(name)) for name in ("role", "tone", "chip", "faint", "tick", "banner"))
            if not label.isVisible() or not label.text() or not label.isEnabled() or kind in looked_at or (
                    label.visibleRegion().boundingRect() != label.rect()):
                continue
            looked_at.add(kind)
            ink = label.palette().color(QPalette.ColorRole.WindowText)
            found = of_colours(ink, ground_below(window, label))
            if found < TEXT:
                poor.append(f"{tab}: {label.text()[:40]!r} {kind} {found:.2f}")
    assert poor == []
    assert len(looked_at) > 6


def test_keys_make_text_larger_and_smaller(qtbot, bare, session):
    bare.activateWindow()
    qtbot.waitUntil(bare.isActiveWindow)
    height = bare.header.height()
    session.settings.text_size = 120
    qtbot.keyClick(bare, Qt.Key.Key_Plus, Qt.KeyboardModifier.ControlModifier)
    assert session.settings.text_size == 130 and theme.THEME.scale == 1.3
    assert bare.header.height() == round(1.3 * height)
    assert bare.header.tabs.fontMetrics().height() > 0 and theme.base_font().pixelSize() == round(1.3 * 13)
    session.settings.text_size = 85
    qtbot.keyClick(bare, Qt.Key.Key_Minus, Qt.KeyboardModifier.ControlModifier)
    assert session.settings.text_size == 80, "no smaller"
    qtbot.keyClick(bare, Qt.Key.Key_0, Qt.KeyboardModifier.ControlModifier)
    assert (session.settings.text_size, bare.header.height()) == (100, height)
