"""Colours that can be read, and a style sheet without holes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PySide6.QtCore import QByteArray, QTimer
from PySide6.QtGui import QTextLayout
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication, QDialog, QLabel, QMenu, QRadioButton, QWidget
from support.contrast import TEXT, of_colours

from slmstudio.core import i18n, paths
from slmstudio.gui.common import theme

READ = {  # ink: the grounds it stands on
    "ink": ("ground", "card", "field", "hover", "accent_ground", "ok_ground", "warn_ground", "bad_ground",
            "mark"),
    "muted": ("ground", "card", "field", "hover", "accent_ground"), "accent": ("card", "accent_ground"),
    "ok": ("card", "ok_ground"), "warn": ("ground", "card", "warn_ground"), "bad": ("card", "bad_ground"),
    "on_accent": ("accent", "accent_hover"),
}
QUIET = ("card", "field")  # "faint" is for hints beside a label: 4 to 1, as much as leaves it quieter than "muted"


@pytest.mark.parametrize("tokens", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("ink", "ground"), [(ink, ground) for ink, grounds in READ.items() for ground in grounds])
def test_text_has_the_contrast_that_wcag_asks_for(tokens, ink, ground):
    assert of_colours(tokens[ink], tokens[ground]) >= TEXT


@pytest.mark.parametrize("tokens", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_faint_text_can_be_read_and_is_fainter_than_muted(tokens):
    for ground in QUIET:
        faint, muted = (of_colours(tokens[ink], tokens[ground]) for ink in ("faint", "muted"))
        assert 4 <= faint < muted


@pytest.mark.parametrize("checked", [False, True])
def test_a_round_button_stays_round_where_text_is_large(qtbot, qapp, session, checked):
    theme.apply(qapp, "light", 200)
    try:
        button = QRadioButton()
        qtbot.addWidget(button)
        button.setChecked(checked)
        button.resize(60, 60)
        image = button.grab().toImage()
    finally:
        theme.apply(qapp, "light", 100)
    ground = image.pixelColor(59, 0)
    drawn = [(x, y) for x in range(60) for y in range(60) if image.pixelColor(x, y) != ground]
    left, top = min(x for x, _ in drawn), min(y for _, y in drawn)
    wide, high = max(x for x, _ in drawn) - left, max(y for _, y in drawn) - top
    assert 29 <= wide <= 32 and abs(wide - high) <= 1
    assert not any((x - left) + (y - top) < wide // 4 for x, y in drawn), "there is something in its corner"


@pytest.mark.parametrize("text", ["में", "M", "में M कॄ Åg"])
def test_a_line_has_room_for_letters_of_two_scripts(qapp, text):
    i18n.use("hi")
    layout, room = QTextLayout(text, theme.base_font()), theme.line_height()
    layout.beginLayout()
    assert layout.createLine().height() <= room
    layout.endLayout()


def test_what_grows_with_the_text_is_seldom_looked_through_and_what_is_gone_is_left_out(qapp, monkeypatch):
    looked_at = []
    is_there = theme._is_there
    monkeypatch.setattr(theme, "_is_there", lambda target: looked_at.append(target is not None) or is_there(target))
    monkeypatch.setattr(theme, "_MANY", 10)
    monkeypatch.setattr(theme.THEME, "growing", [])
    monkeypatch.setattr(theme.THEME, "most_growing", 10)
    there = [QTimer() for _ in range(1000)]
    for timer in there:
        theme.grow(timer, "setInterval", 10)
    assert len(theme.THEME.growing) == 1000 and len(looked_at) <= 2000
    del there, timer
    for _ in range(3000):
        theme.grow(QTimer(), "setInterval", 10)
    assert len(theme.THEME.growing) < 20


@pytest.mark.parametrize("tokens", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_the_style_sheet_has_every_token_and_every_picture(tokens, qapp):
    sheet = theme.stylesheet(tokens)
    assert "$" not in re.sub(r"/\*.*?\*/", "", sheet, flags=re.S)
    pictures = re.findall(r'url\("([^"]+)"\)', sheet)
    assert {Path(picture).stem.rpartition("-")[0] for picture in pictures} == {"check", "chevron-down", "chevron-up"}
    for picture in pictures:
        assert QSvgRenderer(picture).isValid(), picture


def test_colours_stand_in_the_theme_alone():
    sheet = (paths.resources() / "styles" / "studio.qss").read_text(encoding="utf-8")
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b(?![^{}]*\{)", re.sub(r"/\*.*?\*/", "", sheet, flags=re.S))


def test_every_icon_is_a_drawing(qapp):
    icons = sorted((paths.resources() / "icons").glob("*.svg"))
    assert len(icons) > 20 and theme.LIGHT.keys() == theme.DARK.keys()
    for icon in icons:
        assert QSvgRenderer(QByteArray(icon.read_bytes())).isValid(), icon.name


def test_changing_the_scheme_repaints_and_says_so(qapp, qtbot):
    theme.apply(qapp, "light")
    label = QLabel("x")
    qtbot.addWidget(label)
    label.ensurePolished()
    light, drawn = label.palette().color(label.foregroundRole()).name(), theme.icon("close").pixmap(16, 16).toImage()
    with qtbot.waitSignal(theme.THEME.changed):
        theme.apply(qapp, "dark")
    assert theme.colour("ink").name() == theme.DARK["ink"]
    label.ensurePolished()
    assert (light, label.palette().color(label.foregroundRole()).name()) == (theme.LIGHT["ink"], theme.DARK["ink"])
    assert theme.icon("close").pixmap(16, 16).toImage() != drawn
    theme.apply(qapp, "light")


def test_a_dialog_and_a_menu_of_a_window_look_as_it_does(qapp, qtbot):
    theme.apply(qapp, "light")
    window = QWidget()
    qtbot.addWidget(window)
    dialog, menu = QDialog(window), QMenu(window)
    label = QLabel("x", dialog)
    label.setProperty("role", "muted")
    for scheme, tokens in (("light", theme.LIGHT), ("dark", theme.DARK), ("light", theme.LIGHT)):
        theme.apply(qapp, scheme)
        for widget, token in ((label, "muted"), (menu, "ink")):
            widget.ensurePolished()
            assert widget.palette().color(widget.foregroundRole()).name() == tokens[token]
    assert not qapp.styleSheet(), "it would be applied again to all that a widget holds when that gets another parent"


def test_the_system_scheme_is_followed_again_after_an_override(qapp):
    assert isinstance(qapp, QApplication)
    theme.apply(qapp, "dark")
    theme.apply(qapp, "system")
    assert theme.THEME.dark == (qapp.styleHints().colorScheme().name == "Dark")
    theme.apply(qapp, "light")
