"""The Chat tab with a real child process that speaks the chat protocol."""

from __future__ import annotations

import json

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QFileDialog, QLabel, QLineEdit, QPlainTextEdit, QPushButton, QSlider
from support.chat_window import LIMIT, answered, ask, ready, said, start
from support.window import press, text, texts

from slmstudio.core.chat import sampling
from slmstudio.core.chat.conversation import Conversation
from slmstudio.gui.chat.blocks import CodeBlock, TextBlock
from slmstudio.gui.chat.bubbles import CURSOR

MARKED = "**नमस्ते** दुनिया, you asked: "


def below(qtbot, pane, number: int, name: str) -> None:
    """Press a button below a message."""
    press(qtbot, pane.bubbles.bubbles[number], name)


def dies(qtbot, tab, pane, question: str) -> None:
    """Ask what the worker doesn't survive."""
    ask(qtbot, tab, question)
    qtbot.waitUntil(lambda: pane.state == "failed", timeout=LIMIT)
    assert pane.banner.isVisible() and tab.findChild(QPushButton, "start_again").isVisible()


def begin_long_story(qtbot, tab) -> None:
    """An answer is being written, and takes its time."""
    tab.settings.rows["max_tokens"].slider.setValue(128)
    ask(qtbot, tab, "long story")
    qtbot.waitUntil(lambda: len(tab.panes[0].bubbles.bubbles[-1].content) > 20)


def test_a_folder_is_opened_by_hand_and_keeps_its_whole_name(qtbot, tab, tmp_path):
    assert not tab.findChild(QPushButton, "chat_send").isEnabled(), "there is nobody to ask yet"
    folder = tmp_path / "qwen2.5-0.5b"
    folder.mkdir()
    choice = tab.choices[0]
    choice.activated.emit(choice.findText("Open a model or run folder…"))
    dialog = tab.findChild(QFileDialog)
    assert dialog.fileMode() == QFileDialog.FileMode.Directory and choice.path() is None
    with qtbot.waitSignal(choice.chosen) as opened:
        dialog.fileSelected.emit(str(folder))
    assert opened.args == [folder] and choice.currentText() == folder.name and folder in choice.models()
    dialog.reject()


def test_a_question_and_its_streamed_answer(qtbot, tab, first, unexplained):
    assert tab.choices[0].currentText() == "tuned"
    tab.input.editor.setPlainText("one two three four")
    qtbot.waitUntil(lambda: text(tab, "context_meter") == "context 4 of 2,048")
    ask(qtbot, tab, "garbage राशन कार्ड?")  # what comes in between and is no message is passed over
    assert tab.findChild(QPushButton, "chat_stop").isVisible()
    ready(qtbot, tab)
    assert said(first) == ["garbage राशन कार्ड?", f"{MARKED}garbage राशन कार्ड?"] and not first.banner.isVisible()
    block = first.bubbles.bubbles[1].view.blocks[0]
    assert "<b>नमस्ते</b>" in block.text() and CURSOR not in block.text()
    assert first.bubbles.bubbles[1].figures.text() == "5 tokens · 41 tokens/s · first token 0.2 s"
    assert first.line.text() == "tuned · On the RTX 3060: needs about 1.2 GB"
    qtbot.waitUntil(lambda: text(tab, "context_meter") == "context 10 of 2,048")
    assert tab.input.editor.toPlainText() == "" and unexplained(tab) == []


def test_settings_travel_with_the_question(qtbot, tab, first):
    tab.findChild(QPlainTextEdit, "system_prompt").setPlainText("आप सहायक हैं।")
    tab.findChild(QSlider, "temperature").setValue(20)
    tab.findChild(QSlider, "max_tokens").setValue(1)
    tab.findChild(QLineEdit, "seed").setText("7")
    assert tab.settings.options() == {"temperature": 1.0, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "seed": 7,
                                      "repeat_penalty": 1.0, "max_tokens": 32, "stop": []}
    assert first.messages("आप सहायक हैं।", "Hello") == [
        {"role": "system", "content": "आप सहायक हैं।"}, {"role": "user", "content": "Hello"}]
    answered(qtbot, tab, "long story")
    assert first.lane.turns[1].figures["reason"] == "length" and len(said(first)[1].split()) == 32


def test_stop_is_at_once_and_late_words_are_not_shown(qtbot, tab, first):
    begin_long_story(qtbot, tab)
    qtbot.keyClick(tab.input.editor, Qt.Key.Key_Escape)
    assert first.state == "ready", "the window does not wait for the worker"
    shown, figures = said(first)[1], first.bubbles.bubbles[1].figures
    assert first.lane.turns[1].content == shown and figures.text() == "stopped"
    qtbot.waitUntil(lambda: "41 tokens/s" in figures.text())
    answered(qtbot, tab, "again")
    assert said(first)[1] == shown and said(first)[3] == f"{MARKED}again"


def test_answer_again_keeps_both_answers(qtbot, tab, first):
    answered(qtbot, tab, "hello")
    seed = first.request.options["seed"]
    below(qtbot, first, 1, "again_message")
    ready(qtbot, tab)
    assert len(said(first)) == len(first.lane.turns) == 2 and 0 <= first.request.options["seed"] != seed
    second = first.lane.turns[1]
    assert first.bubbles.bubbles[1].branch.text() == "2/2"
    below(qtbot, first, 1, "previous_branch")
    assert first.lane.turns[1] is not second and first.bubbles.bubbles[1].branch.text() == "1/2"
    qtbot.waitUntil(lambda: tab.chat.file is not None and tab.chat.file.exists())
    qtbot.waitUntil(lambda: Conversation.read(tab.chat.file).lanes[0].turns[1].id == first.lane.turns[1].id)
    tab.findChild(QLineEdit, "seed").setText("7")
    below(qtbot, first, 1, "again_message")
    ready(qtbot, tab)
    assert first.request.options["seed"] == 9, "a fixed seed still gives another answer each time"


def test_an_edited_question_is_a_branch_of_its_own(qtbot, tab, first):
    editor = tab.input.editor
    qtbot.keyClick(editor, Qt.Key.Key_Up)
    assert not tab.input.editing, "there is none yet"
    answered(qtbot, tab, "one", "two")
    qtbot.keyClick(editor, Qt.Key.Key_Up)
    assert editor.toPlainText() == "two" and tab.input.editing
    below(qtbot, first, 0, "edit_message")
    assert editor.toPlainText() == "one" and text(tab, "chat_note")
    qtbot.keyClick(editor, Qt.Key.Key_Escape)
    assert editor.toPlainText() == "" and text(tab, "chat_note") == ""
    below(qtbot, first, 0, "edit_message")
    answered(qtbot, tab, "one, better")
    assert [said(first)[0], len(said(first))] == ["one, better", 2]
    below(qtbot, first, 0, "previous_branch")
    assert said(first)[::2] == ["one", "two"]
    below(qtbot, first, 0, "next_branch")
    assert said(first)[0] == "one, better"


def test_shift_enter_makes_a_line_and_enter_sends(qtbot, tab, first):
    editor = tab.input.editor
    qtbot.keyClicks(editor, "a")
    qtbot.keyClick(editor, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    qtbot.keyClicks(editor, "b")
    assert editor.toPlainText() == "a\nb"
    qtbot.keyClick(editor, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    ready(qtbot, tab)
    assert said(first)[0] == "a\nb"


@pytest.mark.parametrize("what", ["edit", "again"])
def test_what_does_not_come_leaves_what_was_there(qtbot, tab, first, what):
    answered(qtbot, tab, "hello")
    before = first.lane.turns[1]
    if what == "edit":
        below(qtbot, first, 0, "edit_message")
        dies(qtbot, tab, first, "die now")
        assert tab.input.editor.toPlainText() == "die now"
    else:
        first.send("close")
        below(qtbot, first, 1, "again_message")
        qtbot.waitUntil(lambda: first.state == "failed", timeout=LIMIT)
    assert first.lane.turns[1] is before and said(first) == ["hello", before.content]
    assert len(list(first.lane.tree.messages())) == 2


@pytest.mark.parametrize(("question", "kept", "left"), [
    ("die now", [], "die now"), ("half of it", ["half of it", "**नमस्ते** दुनिया, you"], "")])
def test_a_dead_worker_is_said_and_started_again(qtbot, tab, first, question, kept, left):
    answered(qtbot, tab, "hello")
    dies(qtbot, tab, first, question)
    assert said(first) == ["hello", f"{MARKED}hello", *kept], "what it had written is kept"
    assert tab.input.editor.toPlainText() == left, "a question without a word of an answer isn't lost"
    press(qtbot, tab, "start_again")
    ready(qtbot, tab)
    answered(qtbot, tab, "still there?")
    assert len(said(first)) == 4 + len(kept) and not first.banner.isVisible()


@pytest.mark.parametrize("broken", ["model", "worker"])
def test_a_model_that_cannot_be_loaded(qtbot, tab, session, models, monkeypatch, broken):
    if broken == "worker":
        monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([str(models[0].parent / "nowhere")]))
    session.open_chat([models[0] if broken == "worker" else models[0].with_name("gone.gguf")])
    pane = tab.panes[0]
    qtbot.waitUntil(lambda: pane.state == "failed", timeout=LIMIT)
    assert pane.banner.isVisible() and tab.findChild(QPushButton, "start_again").isVisible()
    assert ("couldn't be started" if broken == "worker" else "doesn't exist") in texts(pane.banner)


@pytest.mark.parametrize("both", [True, False])
def test_a_long_answer_is_not_waited_for_and_stop_ends_both(qtbot, tab, session, models, both):
    start(qtbot, tab, session, models[:2])
    begin_long_story(qtbot, tab)
    first, second = tab.panes
    assert [first.state, second.state] == ["answering", "waiting"] and second.bubbles.turn.text()
    if both:
        tab.lanes.turn.timeout.emit()
        assert second.state == "waiting", "its turn isn't over"
        tab.lanes.turn.stop()
        tab.lanes.turn.timeout.emit()
        assert [first.state, second.state] == ["answering", "answering"] and not second.bubbles.turn.text()
        qtbot.waitUntil(lambda: len(second.bubbles.bubbles[-1].content) > 20)
    press(qtbot, tab, "chat_stop")
    assert [first.state, second.state] == ["ready", "ready"] and first.lane.turns[-1].figures["reason"] == "stopped"
    assert bool(said(second)) == both and tab.input.editor.toPlainText() == ("" if both else "long story")


def test_an_answer_that_repeated_itself_says_so_with_what_to_do(qtbot, tab, first):
    answered(qtbot, tab, "repeat this")
    assert first.has_repeated_itself() and first.lane.turns[1].figures["reason"] == "repeated"
    assert first.bubbles.loop.isVisible() and text(first, "loop_advice") == sampling.ADVICE
    press(qtbot, first, "loop_penalty")
    ready(qtbot, tab)
    assert first.request.options["repeat_penalty"] == 1.1 and first.bubbles.bubbles[1].branch.text() == "2/2"
    press(qtbot, first, "loop_penalty")
    ready(qtbot, tab)
    assert first.request.options["repeat_penalty"] == 1.15, "it still repeats itself"
    answered(qtbot, tab, "hello")
    assert not first.has_repeated_itself() and not first.bubbles.loop.isVisible()


def test_side_by_side_begins_anew_for_both(qtbot, tab, first, models):
    answered(qtbot, tab, "before")
    tab.choices[1].set_models([("base", models[1])])
    press(qtbot, tab, "compare")
    ready(qtbot, tab)
    answered(qtbot, tab, "after")
    assert said(first)[0] == "after" and len(said(first)) == len(said(tab.panes[1])) == 2
    press(qtbot, tab, "compare")
    assert not tab.panes[1].isVisible() and tab.panes[1].state == "empty"


def test_what_no_longer_fits_is_marked(qtbot, tab, first):
    answered(qtbot, tab, "one", "two", "three")
    line = tab.findChild(QLabel, "dropped_line")
    assert not line.isVisible()
    answered(qtbot, tab, "dropped:4 four")
    bubbles = first.bubbles.bubbles
    assert [bool(each.frame.property("dropped")) for each in bubbles] == [True] * 4 + [False] * 4
    assert line.isVisible() and bubbles[3].y() < line.y() < bubbles[4].y()
    press(qtbot, tab, "new_chat")
    assert not line.isVisible()


def test_a_model_without_a_template_is_dropped_and_says_what_it_does(qtbot, tab, tmp_path, drop):
    path = tmp_path / "no_template.gguf"
    path.write_bytes(b"GGUF")
    drop(tab, [path])
    ready(qtbot, tab)
    assert tab.panes[0].name == "no_template" and tab.panes[0].completion
    assert "no chat template" in texts(tab.panes[0].waiting)


def test_code_is_copied_and_links_show_their_address(qtbot, tab, first, monkeypatch):
    answered(qtbot, tab, "markdown")
    blocks = first.bubbles.bubbles[1].view.blocks
    code = next(block for block in blocks if isinstance(block, CodeBlock))
    qtbot.mouseClick(code.copy, Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text() == "print('नमस्ते')\nx = 1" and code.name.text() == "python"
    block = next(block for block in blocks if isinstance(block, TextBlock))
    assert "<table" in block.text() and "<script" not in block.text()
    opened = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toString()))
    menu = block.offer_link("https://example.org/?a=1&b=2")
    assert opened == [] and "https://example.org/?a=1&&b=2" in menu.actions()[0].text()
    menu.actions()[0].trigger()
    assert opened == ["https://example.org/?a=1&b=2"]
    menu.close()
    below(qtbot, first, 1, "copy_message")
    assert QGuiApplication.clipboard().text() == said(first)[1]


def test_a_long_answer_is_laid_out_only_at_its_end(qtbot, tab, first):
    bubbles = first.bubbles
    bubbles.begin_answer()
    bubble = bubbles.bubbles[-1]
    for number in range(60):
        bubbles.write(f"Paragraph {number} " + "words " * 60 + "\n\n")
        bubble.draw_writing()
    before = list(bubble.view.blocks)
    bubbles.write("the end")
    bubble.draw_writing()
    assert len(before) > 10 and bubble.view.blocks[:len(before) - 1] == before[:-1]
    assert all(len(block.content) < 4000 for block in bubble.view.blocks)
