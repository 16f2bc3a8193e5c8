"""The window's own controls, used as a person would."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetrics, QGuiApplication, QImage, QPainter, QTextDocument
from PySide6.QtWidgets import QFileDialog, QLabel, QListView, QPushButton, QToolButton, QWidget
from support.window import show_widget

from slmstudio.core.errors import Problem, UserError
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import LastFolder, choose_file, open_path
from slmstudio.gui.common.widgets.areas import DropArea
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import SegmentedControl
from slmstudio.gui.common.widgets.labels import Chip, ElidedLabel, breakable, elided_apart, plain_tip
from slmstudio.gui.common.widgets.progress import ProgressStrip
from slmstudio.gui.common.widgets.table_cells import paint_text

pytestmark = pytest.mark.usefixtures("session")


def show(qtbot, widget: QWidget) -> QWidget:
    return show_widget(qtbot, widget)


def test_a_long_path_loses_its_middle_and_keeps_both_ends(qtbot):
    path = "/home/someone/a very long folder name/another one/helpdesk_train.jsonl"
    label = show(qtbot, ElidedLabel(path))
    label.setFixedWidth(160)
    begin, _, end = label.shown_text().partition("…")
    assert begin.startswith("/home") and end.endswith(".jsonl") and label.toolTip() == path
    label.setFixedWidth(900)
    assert (label.shown_text(), label.toolTip()) == (path, "")


def test_two_long_names_never_look_alike(qtbot):
    names = [f"helpdesk-of-the-city-of-pune-{kind}-smollm2-135m-instruct" for kind in ("quick", "thorough")]
    letters = QFontMetrics(theme.base_font())
    width = letters.horizontalAdvance("helpdesk-of-…35m-instruct")
    assert [elided_apart(name, names, letters, width)[:6] for name in names] == ["…quick", "…thoro"]
    assert elided_apart(names[0], ["another"], letters, width).startswith("helpdesk")


def test_a_file_dialog_begins_where_a_file_was_chosen_last(qtbot, tmp_path, monkeypatch):
    monkeypatch.setattr(LastFolder, "path", "")
    (tmp_path / "rows.jsonl").touch()
    parent = show(qtbot, QWidget())
    open_path(parent, "Open", print)
    dialog = parent.findChild(QFileDialog)
    dialog.selectFile(str(tmp_path / "rows.jsonl"))
    dialog.accept()
    choose_file(parent, "Save", "runs.csv", "Tables (*.csv)", print)
    assert parent.findChildren(QFileDialog)[-1].selectedFiles() == [str(tmp_path / "runs.csv")]


def test_a_chip_changes_text_colour_and_tooltip(qtbot):
    chip = show(qtbot, Chip("46 °C"))
    before = chip.grab().toImage()
    chip.set("46 °C", "warn", "hot")
    assert (chip.kind, chip.toolTip()) == ("warn", "hot")
    assert chip.grab().toImage() != before


def test_segments_by_mouse_and_by_keyboard(qtbot):
    control = SegmentedControl(["Table", "Conversation", "As the model sees it"])
    show(qtbot, control)
    with qtbot.waitSignal(control.changed) as heard:
        qtbot.mouseClick(control.button(2), Qt.MouseButton.LeftButton)
    assert heard.args == [2]
    widths = [control.button(i).width() for i in range(3)]
    with qtbot.waitSignal(control.changed) as heard:
        qtbot.keyClick(control.button(2), Qt.Key.Key_Left)
    assert heard.args == [1]
    qtbot.keyClick(control, Qt.Key.Key_Right)
    qtbot.keyClick(control, Qt.Key.Key_Right)
    assert control.current() == 0
    assert [control.button(i).width() for i in range(3)] == widths
    for index in range(3):
        bold = control.button(index)
        assert bold.fontMetrics().horizontalAdvance(bold.text()) < bold.width()


def test_a_user_error_is_shown_with_all_its_problems(qtbot):
    banner = show(qtbot, ErrorBanner())
    problems = [Problem(f"number {n}", line=n) for n in range(1, 100_001)]
    banner.show_error(UserError("bad.jsonl can't be used.", "Every row is broken.", "Mend it.", problems))
    toggle, copy = banner.findChild(QPushButton, "banner_problems"), banner.findChild(QPushButton, "banner_copy")
    problem_list = banner.findChild(QWidget, "banner_list")
    assert toggle.text() == "100,000 problems"
    assert not copy.isVisible() and not problem_list.isVisible()
    qtbot.mouseClick(toggle, Qt.MouseButton.LeftButton)
    assert problem_list.isVisible()
    assert problem_list.model().rowCount() == 100_000
    assert problem_list.model().index(41, 0).data() == "line 42: number 42"


def test_problems_wrap_in_a_narrow_place_and_all_are_seen(qtbot):
    banner = show(qtbot, ErrorBanner())
    problems = [Problem("There is no tokenizer: neither tokenizer.json nor tokenizer.model " * 2)] * 2
    banner.show_error(UserError("It can't be used.", "", "", problems))
    banner.resize(420, 300)
    bar = banner.findChild(QListView, "banner_list").verticalScrollBar()
    qtbot.waitUntil(lambda: bar.maximum() == 0)
    assert banner.findChild(QListView, "banner_list").horizontalScrollBar().maximum() == 0


def test_a_defect_offers_its_details(qtbot):
    banner = show(qtbot, ErrorBanner())
    try:
        {}["gone"]
    except KeyError as error:
        banner.show_error(error)
    qtbot.mouseClick(banner.findChild(QPushButton, "banner_copy"), Qt.MouseButton.LeftButton)
    text = QGuiApplication.clipboard().text()
    assert "KeyError: 'gone'" in text and "Traceback" in text
    qtbot.mouseClick(banner.findChild(QToolButton, "banner_close"), Qt.MouseButton.LeftButton)
    assert banner.error is None and not banner.isVisible()
    banner.show_error(UserError("<b>x</b>", "<img src=x>", ""))
    assert all(label.textFormat() == Qt.TextFormat.PlainText for label in banner.findChildren(QLabel))


def test_progress_and_cancel(qtbot):
    strip = show(qtbot, ProgressStrip())
    strip.start("Reading rows.jsonl")
    assert strip.bar.maximum() == 0
    strip.set_progress(5 * 1024**3, 10 * 1024**3)
    assert (strip.bar.value(), strip.detail.text()) == (500, "50%")
    strip.set_progress(1, 0)
    assert strip.bar.maximum() == 0
    with qtbot.waitSignal(strip.cancelled):
        qtbot.mouseClick(strip.cancel, Qt.MouseButton.LeftButton)


def test_files_are_dropped(qtbot, drop, tmp_path: Path):
    area = show(qtbot, DropArea("Drop files here"))
    with qtbot.waitSignal(area.dropped) as heard:
        drop(area, [tmp_path / "ए.jsonl", tmp_path / "b.jsonl"])
    assert heard.args == [[tmp_path / "ए.jsonl", tmp_path / "b.jsonl"]]


def test_a_run_that_is_too_long_for_a_line_gets_places_to_break():
    run = "आपृचा" * 40
    broken = breakable(run)
    assert broken.replace("\u200b", "") == run and max(map(len, broken.split("\u200b"))) < 20
    assert all(not unicodedata.category(piece[0]).startswith("M") for piece in broken.split("\u200b"))
    address = "https://example.org/" + "a" * 100
    assert breakable(f"see {address} and text") == f"see {address} and text"


@pytest.mark.parametrize("text", ["lr<1e-4", "<b>bold</b>\n  and a line & more", "<img src='x'>", "word " * 60,
                                  "plain"])
def test_a_tooltip_shows_its_text_as_it_is(qtbot, text):
    tip = QTextDocument()
    rich = plain_tip(text).startswith("<qt>")
    (tip.setHtml if rich else tip.setPlainText)(plain_tip(text))
    assert tip.toPlainText() == text
    assert rich == (text != "plain"), "screen readers read it out, and short text needs no breaks"


def test_words_of_all_scripts_have_the_same_baseline():
    def drawn(words: str) -> QImage:
        image = QImage(200, 33, QImage.Format.Format_RGB32)
        image.fill(Qt.GlobalColor.white)
        painter = QPainter(image)
        paint_text(painter, image.rect(), words, theme.TEXT_SIZE, "ink", False, Qt.AlignmentFlag.AlignLeft,
                   Qt.TextElideMode.ElideRight)
        painter.end()
        return image.copy(0, 0, QFontMetrics(theme.base_font()).horizontalAdvance("Form "), 33)

    assert drawn("Form हिन्दी") == drawn("Form 7")
