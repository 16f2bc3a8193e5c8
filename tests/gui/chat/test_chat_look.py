"""What is read in Chat is whole, at the smallest usual size too: questions, names, and why a lane says nothing yet."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QApplication
from support.chat_window import answered, ask, ready, start

from slmstudio.core.run.named import model_title
from slmstudio.gui.chat.blocks import CodeBlock, TextBlock, document_of
from slmstudio.gui.chat.tab import ChatTab
from slmstudio.gui.common import theme
from slmstudio.gui.common.known_models import ModelPicker


@pytest.fixture
def models(models: list[Path]) -> list[Path]:
    """With names as exports have them."""
    return [path.rename(path.with_stem(f"pune-helpdesk-qwen2.5-1.5b-r16-{path.stem}")) for path in models]


QUESTION = ("My ration card application was rejected because the address on my electricity bill doesn't match my "
            "Aadhaar card. What should I do now, and which documents should I bring to the tehsil office? "
            "राशन कार्ड में बच्चे का नाम कैसे जोड़ें?")


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_question_is_shown_whole(qtbot, chat_tab, session, models, count):
    chat_tab.resize(1280, 644)  # what a window of 1280 x 720 leaves
    start(qtbot, chat_tab, session, models[:count])
    answered(qtbot, chat_tab, QUESTION)
    for pane in chat_tab.lanes.panes():
        bubble = pane.bubbles.bubbles[0]
        label = bubble.view.blocks[0]
        assert document_of(label).toPlainText() == QUESTION
        # It is laid out once the events of the answer are through.
        qtbot.waitUntil(lambda label=label: label.height() >= label.heightForWidth(label.width()))
        qtbot.waitUntil(lambda bubble=bubble: bubble.frame.height() >= bubble.view.blocks[0].height())
        assert label.width() <= pane.bubbles.viewport().width()


def test_a_lane_says_whose_turn_it_waits_for(qtbot, chat_tab, session, models):
    start(qtbot, chat_tab, session, models[:3])
    panes = chat_tab.lanes.panes()
    said: dict[str, list[str]] = {}

    def note() -> None:
        at_work = next((pane.name for pane in panes if pane.state == "answering"), "")
        said[at_work] = [pane.bubbles.turn.text() if pane.bubbles.turn.isVisible() else "" for pane in panes]

    for pane in panes:
        pane.state_changed.connect(note)
    ask(qtbot, chat_tab, "hello")
    ready(qtbot, chat_tab)
    first, second, third = (pane.name for pane in panes)
    assert said[first] == ["", f"Waiting for {first} to finish", f"Waiting for {first} to finish"]
    assert said[second] == ["", "", f"Waiting for {second} to finish"]
    assert said[third] == said[""] == ["", "", ""]
    assert panes[2].bubbles.turn.isHidden()


def test_a_name_that_is_too_long_loses_its_middle(qtbot, chat_tab, session, models):
    chat_tab.resize(1280, 644)
    start(qtbot, chat_tab, session, models)
    for lane in chat_tab.lanes.shown():
        name, shown = lane.pane.name, lane.choice.shown_text()
        start_of_it, _, end_of_it = shown.partition("…")
        assert len(shown) > 8 and len(shown) < len(name)
        assert name.startswith(start_of_it) and name.endswith(end_of_it) and end_of_it
        assert name in lane.choice.toolTip()
    session.open_chat(models[:1])
    chat_tab.choices[0].setMinimumWidth(400)
    qtbot.waitUntil(lambda: chat_tab.choices[0].shown_text() == models[0].stem)


def test_figures_stand_below_the_buttons_where_there_is_no_room_beside_them(qtbot, chat_tab, session, models):
    chat_tab.resize(1280, 644)
    start(qtbot, chat_tab, session, models)
    answered(qtbot, chat_tab, "hello")
    answer = chat_tab.panes[0].bubbles.bubbles[1]
    assert answer.figures.text().startswith("5 tokens")
    qtbot.waitUntil(lambda: answer.figures.y() >= answer.buttons[0].geometry().bottom())
    assert answer.figures.shown_text().startswith("5 tokens · 41 tok")
    left = [button.geometry() for button in answer.buttons]
    assert all(after.left() - before.right() <= 4 for before, after in itertools.pairwise(left)), "not spread"


def test_an_empty_chat_leads_to_the_models(qtbot, chat_tab):
    waiting, choice = chat_tab.panes[0].waiting, chat_tab.choices[0]
    assert waiting.title.isVisible() and "drop a GGUF file" in waiting.text.text()
    qtbot.mouseClick(waiting.choose, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: choice.view().isVisible())
    choice.hidePopup()


def test_lines_are_no_longer_than_what_is_read_easily(qtbot, chat_tab: ChatTab):
    tree = chat_tab.panes[0].lane.tree
    tree.add("user", "Where is the office? " * 40)
    tree.add("assistant", "It is behind the market, next to the bank. " * 40)
    chat_tab.resize(2600, 700)
    chat_tab.panes[0].show_lane(chat_tab.panes[0].lane)
    bubbles = chat_tab.panes[0].bubbles
    longest = QFontMetrics(theme.base_font()).horizontalAdvance("n" * 90)
    qtbot.waitUntil(lambda: bubbles.room() > 1500)
    qtbot.waitUntil(lambda: all(300 < each.frame.width() <= longest + 40 for each in bubbles.bubbles))


def test_a_model_has_the_name_of_its_run(qtbot, make_run):
    run = make_run("Ward helpdesk")
    export = run / "exports" / f"{run.name}-Q4_K_M.gguf"
    assert [model_title(path) for path in (run, export, Path("/m/Qwen2.5-1.5B"), Path("/m/a.b.gguf"))] == [
        "Ward helpdesk", "Ward helpdesk · Q4_K_M", "Qwen2.5-1.5B", "a.b"]
    picker = ModelPicker("Model", "", "")
    qtbot.addWidget(picker)
    picker.set_current(run)
    assert picker.currentText() == "Ward helpdesk"


def test_a_text_is_no_higher_than_it_must_be(qtbot):
    """An answer that was narrow while it was written isn't left with empty room around it."""
    block = TextBlock("<p>नमस्ते दुनिया, this is a line of text that is wrapped where it is narrow.</p>")
    qtbot.addWidget(block)
    heights = []
    for width in (900, 80, 900):
        block.fit(width)
        heights.append(block.height())
    assert heights[1] > 2 * heights[0] == 2 * heights[2]


def test_code_is_whole_where_the_conversation_is_longer_than_the_window(qtbot, chat_tab, session, models):
    """The style sheet has a least height for fields to type in, which took the place of the code's own."""
    start(qtbot, chat_tab, session, models[:1])
    answered(qtbot, chat_tab, *["markdown"] * 3)
    theme.apply(QApplication.instance(), "dark")
    theme.apply(QApplication.instance(), "light")
    codes = chat_tab.panes[0].bubbles.findChildren(CodeBlock)
    assert [code.text.minimumHeight() for code in codes] == [code.text.maximumHeight() for code in codes]
