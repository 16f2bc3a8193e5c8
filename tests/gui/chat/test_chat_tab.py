"""The Chat tab with a real child process that speaks the chat protocol."""

from __future__ import annotations

import json

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QFileDialog, QLineEdit, QPlainTextEdit, QPushButton, QSlider
from support import chat_window
from support.chat_window import ask, ready, said
from support.window import press

from slmstudio.core import repetition
from slmstudio.core.chat.conversation import Conversation
from slmstudio.gui.chat.bubble import CURSOR, CodeBlock, TextBlock

first, models, tab = chat_window.first, chat_window.models, chat_window.tab


def below(qtbot, pane, number: int, name: str) -> None:
    """Press a button below a message."""
    press(qtbot, pane.bubbles.bubbles[number], name)


def test_it_says_what_to_do_first(tab):
    assert "Choose a model" in tab.panes[0].waiting.text.text()
    assert not tab.findChild(QPushButton, "chat_send").isEnabled()


def test_a_folder_is_opened_by_hand_and_keeps_its_whole_name(qtbot, tab, tmp_path):
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


def test_a_question_and_its_streamed_answer(qtbot, tab, first):
    assert tab.findChild(QComboBox, "chat_model").currentText() == "helpdesk-Q4_K_M"
    ask(qtbot, tab, "राशन कार्ड?")
    assert tab.findChild(QPushButton, "chat_stop").isVisible()
    ready(qtbot, first)
    assert said(first) == ["राशन कार्ड?", "**नमस्ते** दुनिया, you asked: राशन कार्ड?"]
    block = first.bubbles.bubbles[1].view.blocks[0]
    assert "<b>नमस्ते</b>" in block.text() and CURSOR not in block.text()
    assert first.bubbles.bubbles[1].figures.text() == "41 tokens/s · first token 0.2 s"
    assert first.line.text() == "helpdesk-Q4_K_M · On the RTX 3060: needs about 1.2 GB"
    qtbot.waitUntil(lambda: tab.input.meter_text.text() == "context 8 of 2,048", timeout=5000)
    assert tab.findChild(QPlainTextEdit, "chat_input").toPlainText() == ""


def test_settings_travel_with_the_question(qtbot, tab, first):
    tab.findChild(QPlainTextEdit, "system_prompt").setPlainText("आप सहायक हैं।")
    tab.findChild(QSlider, "temperature").setValue(20)
    tab.findChild(QSlider, "max_tokens").setValue(1)
    tab.findChild(QLineEdit, "seed").setText("7")
    assert tab.settings.options() == {"temperature": 1.0, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "seed": 7,
                                      "repeat_penalty": 1.0, "max_tokens": 32, "stop": []}
    assert first.messages("आप सहायक हैं।", "Hello") == [
        {"role": "system", "content": "आप सहायक हैं।"}, {"role": "user", "content": "Hello"}]
    ask(qtbot, tab, "long story")
    ready(qtbot, first)
    assert "cut at max tokens" in first.bubbles.bubbles[1].figures.text() and len(said(first)[1].split()) == 32


def test_stop_is_at_once_and_late_words_are_not_shown(qtbot, tab, first):
    tab.settings.rows["max_tokens"].slider.setValue(128)
    ask(qtbot, tab, "long story")
    qtbot.waitUntil(lambda: len(first.bubbles.bubbles[-1].content) > 20, timeout=5000)
    qtbot.keyClick(tab.input.editor, Qt.Key.Key_Escape)
    assert first.state == "ready", "the window does not wait for the worker"
    shown = said(first)[1]
    assert first.lane.turns[1].content == shown
    assert first.bubbles.bubbles[1].figures.text() == "stopped"
    qtbot.waitUntil(lambda: "41 tokens/s" in first.bubbles.bubbles[1].figures.text(), timeout=5000)
    ask(qtbot, tab, "again")
    ready(qtbot, first)
    assert said(first)[1] == shown and said(first)[3].endswith("you asked: again")


def test_answer_again_keeps_both_answers(qtbot, tab, first):
    ask(qtbot, tab, "hello")
    ready(qtbot, first)
    seed = first.request.options["seed"]
    below(qtbot, first, 1, "again_message")
    ready(qtbot, first)
    assert len(said(first)) == len(first.lane.turns) == 2
    assert 0 <= first.request.options["seed"] != seed
    assert first.bubbles.bubbles[1].branch.text() == "2/2"
    second = first.lane.turns[1]
    below(qtbot, first, 1, "previous_branch")
    assert first.lane.turns[1] is not second and first.bubbles.bubbles[1].branch.text() == "1/2"
    qtbot.waitUntil(lambda: tab.chat.file is not None and tab.chat.file.exists(), timeout=5000)
    qtbot.waitUntil(lambda: Conversation.read(tab.chat.file).lanes[0].turns[1].id == first.lane.turns[1].id,
                    timeout=5000)


def test_a_fixed_seed_still_gives_another_answer(qtbot, tab, first):
    tab.findChild(QLineEdit, "seed").setText("7")
    ask(qtbot, tab, "hello")
    ready(qtbot, first)
    below(qtbot, first, 1, "again_message")
    ready(qtbot, first)
    assert first.request.options["seed"] == 8


def test_an_edited_question_is_a_branch_of_its_own(qtbot, tab, first):
    for question in ("one", "two"):
        ask(qtbot, tab, question)
        ready(qtbot, first)
    below(qtbot, first, 0, "edit_message")
    assert tab.input.editor.toPlainText() == "one" and "Editing" in tab.input.note.text()
    qtbot.keyClick(tab.input.editor, Qt.Key.Key_Escape)
    assert tab.input.editor.toPlainText() == "" and tab.input.note.text() == ""
    below(qtbot, first, 0, "edit_message")
    ask(qtbot, tab, "one, better")
    ready(qtbot, first)
    assert [said(first)[0], len(said(first))] == ["one, better", 2]
    below(qtbot, first, 0, "previous_branch")
    assert said(first)[::2] == ["one", "two"]
    below(qtbot, first, 0, "next_branch")
    assert said(first)[0] == "one, better"


def test_up_takes_the_last_question_for_editing(qtbot, tab, first):
    qtbot.keyClick(tab.input.editor, Qt.Key.Key_Up)
    assert not tab.input.editing, "there is none yet"
    ask(qtbot, tab, "hello")
    ready(qtbot, first)
    qtbot.keyClick(tab.input.editor, Qt.Key.Key_Up)
    assert tab.input.editor.toPlainText() == "hello" and tab.input.editing


def test_shift_enter_makes_a_line_and_enter_sends(qtbot, tab, first):
    editor = tab.input.editor
    qtbot.keyClicks(editor, "a")
    qtbot.keyClick(editor, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    qtbot.keyClicks(editor, "b")
    assert editor.toPlainText() == "a\nb"
    qtbot.keyClick(editor, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    ready(qtbot, first)
    assert said(first)[0] == "a\nb"


def test_an_edit_without_an_answer_shows_what_was_there(qtbot, tab, first):
    ask(qtbot, tab, "hello")
    ready(qtbot, first)
    below(qtbot, first, 0, "edit_message")
    ask(qtbot, tab, "die now")
    qtbot.waitUntil(lambda: first.state == "failed", timeout=10_000)
    assert said(first)[0] == "hello" and len(said(first)) == 2 and len(list(first.lane.tree.messages())) == 2
    assert tab.input.editor.toPlainText() == "die now"


def test_another_answer_that_does_not_come_leaves_the_first(qtbot, tab, first, monkeypatch):
    ask(qtbot, tab, "hello")
    ready(qtbot, first)
    before = first.lane.turns[1]
    first._thread.send("close")
    below(qtbot, first, 1, "again_message")
    qtbot.waitUntil(lambda: first.state == "failed", timeout=10_000)
    assert first.lane.turns[1] is before and said(first)[1] == before.content


def test_the_draft_is_counted(qtbot, tab, first):
    tab.input.editor.setPlainText("one two three four")
    qtbot.waitUntil(lambda: tab.input.meter_text.text() == "context 4 of 2,048", timeout=5000)


def test_a_dead_worker_is_said_and_started_again(qtbot, tab, first):
    ask(qtbot, tab, "hello")
    ready(qtbot, first)
    ask(qtbot, tab, "die now")
    qtbot.waitUntil(lambda: first.state == "failed", timeout=10_000)
    assert first.banner.isVisible() and "has ended" in first.banner._what.text()
    assert said(first) == ["hello", "**नमस्ते** दुनिया, you asked: hello"]
    assert tab.input.editor.toPlainText() == "die now", "the question is not lost"
    press(qtbot, tab, "start_again")
    ready(qtbot, first)
    tab.input.editor.clear()
    ask(qtbot, tab, "still there?")
    ready(qtbot, first)
    assert len(said(first)) == 4 and not first.banner.isVisible()


def test_what_a_killed_worker_had_said_is_kept(qtbot, tab, first):
    ask(qtbot, tab, "half of it")
    qtbot.waitUntil(lambda: first.state == "failed", timeout=10_000)
    assert said(first) == ["half of it", "**नमस्ते** दुनिया, you"] and first.banner.isVisible()
    assert tab.findChild(QPushButton, "start_again").isVisible()
    press(qtbot, tab, "start_again")
    ready(qtbot, first)
    ask(qtbot, tab, "go on")
    ready(qtbot, first)
    assert len(said(first)) == 4


def test_a_model_that_cannot_be_loaded(qtbot, tab, session, tmp_path):
    session.open_chat([tmp_path / "gone.gguf"])
    pane = tab.panes[0]
    qtbot.waitUntil(lambda: pane.state == "failed", timeout=10_000)
    assert "doesn't exist" in pane.banner._what.text()


def test_a_worker_that_cannot_be_started(qtbot, tab, session, models, monkeypatch):
    monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([str(models[0].parent / "nowhere")]))
    session.open_chat(models[:1])
    pane = tab.panes[0]
    qtbot.waitUntil(lambda: pane.state == "failed", timeout=10_000)
    assert "couldn't be started" in pane.banner._what.text() and tab.findChild(QPushButton, "start_again").isVisible()


def test_two_models_answer_the_same_question_one_after_the_other(qtbot, tab, session, models):
    session.open_chat(models)
    ready(qtbot, *tab.panes)
    order: list[str] = []
    for pane in tab.panes:
        pane.answered.connect(lambda pane=pane: order.append(pane.name))
    ask(qtbot, tab, "hello")
    assert tab.panes[1].state == "waiting"
    ready(qtbot, *tab.panes)
    assert order == ["helpdesk-Q4_K_M", "base-Q4_1"]
    assert said(tab.panes[0]) == said(tab.panes[1])
    assert tab.panes[0].lane.turns[1].figures["tokens_per_second"] == 41.0


def test_a_long_answer_is_not_waited_for(qtbot, tab, session, models):
    session.open_chat(models)
    ready(qtbot, *tab.panes)
    tab.settings.rows["max_tokens"].slider.setValue(128)
    ask(qtbot, tab, "long story")
    assert [pane.state for pane in tab.panes] == ["answering", "waiting"]
    assert tab.panes[1].bubbles.turn.text()
    tab.lanes.turn.timeout.emit()
    assert [pane.state for pane in tab.panes] == ["answering", "waiting"], "its turn isn't over"
    tab.lanes.turn.stop()
    tab.lanes.turn.timeout.emit()
    assert [pane.state for pane in tab.panes] == ["answering", "answering"]
    assert not tab.panes[1].bubbles.turn.text()
    qtbot.waitUntil(lambda: all(len(pane.bubbles.bubbles[-1].content) > 20 for pane in tab.panes), timeout=5000)
    press(qtbot, tab, "chat_stop")
    assert [pane.lane.turns[-1].figures["reason"] for pane in tab.panes] == ["stopped", "stopped"]


def test_an_answer_that_repeated_itself_says_so_with_what_to_do(qtbot, tab, first):
    ask(qtbot, tab, "repeat this")
    ready(qtbot, first)
    assert first.has_repeated_itself() and first.bubbles.turn.isVisible()
    assert "it repeated itself" in first.bubbles.bubbles[1].figures.text()
    assert first.bubbles.turn.text() == repetition.ADVICE
    ask(qtbot, tab, "hello")
    ready(qtbot, first)
    assert not first.has_repeated_itself() and not first.bubbles.turn.isVisible()


def test_stop_ends_both(qtbot, tab, session, models):
    session.open_chat(models)
    ready(qtbot, *tab.panes)
    tab.settings.rows["max_tokens"].slider.setValue(128)
    ask(qtbot, tab, "long story")
    qtbot.waitUntil(lambda: len(tab.panes[0].bubbles.bubbles[-1].content) > 20, timeout=5000)
    press(qtbot, tab, "chat_stop")
    assert [pane.state for pane in tab.panes] == ["ready", "ready"]
    assert said(tab.panes[1]) == [] and tab.input.editor.toPlainText() == "long story"


def test_side_by_side_begins_anew_for_both(qtbot, tab, first, models):
    ask(qtbot, tab, "before")
    ready(qtbot, first)
    tab.choices[1].set_models([("base", models[1])])
    press(qtbot, tab, "compare")
    ready(qtbot, *tab.panes)
    ask(qtbot, tab, "after")
    ready(qtbot, *tab.panes)
    assert said(first)[0] == "after" and len(said(first)) == len(said(tab.panes[1])) == 2
    press(qtbot, tab, "compare")
    assert not tab.panes[1].isVisible() and tab.panes[1]._thread is None


def test_garbage_on_the_channel_is_passed_over(qtbot, tab, first):
    ask(qtbot, tab, "garbage please")
    ready(qtbot, first)
    assert said(first)[1].endswith("you asked: garbage please") and not first.banner.isVisible()


def test_what_no_longer_fits_is_marked(qtbot, tab, first):
    for question in ("one", "two", "three"):
        ask(qtbot, tab, question)
        ready(qtbot, first)
    assert not first.bubbles.dropped_line.isVisible()
    ask(qtbot, tab, "dropped:4 four")
    ready(qtbot, first)
    assert [bool(each.frame.property("dropped")) for each in first.bubbles.bubbles] == [True] * 4 + [False] * 4
    column = first.bubbles._column
    assert first.bubbles.dropped_line.isVisible() and column.indexOf(first.bubbles.dropped_line) == 4
    press(qtbot, tab, "new_chat")
    assert not first.bubbles.dropped_line.isVisible()


def test_a_model_without_a_template_says_what_it_does(qtbot, tab, session, tmp_path):
    path = tmp_path / "no_template.gguf"
    path.write_bytes(b"GGUF")
    session.open_chat([path])
    ready(qtbot, tab.panes[0])
    assert "no chat template" in tab.panes[0].waiting.text.text() and tab.panes[0].completion


def test_code_is_copied_and_links_show_their_address(qtbot, tab, first, monkeypatch):
    from PySide6.QtGui import QDesktopServices, QGuiApplication

    ask(qtbot, tab, "markdown")
    ready(qtbot, first)
    code = next(block for block in first.bubbles.bubbles[1].view.blocks if isinstance(block, CodeBlock))
    qtbot.mouseClick(code.copy, Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text() == "print('नमस्ते')\nx = 1" and code.name.text() == "python"
    text = next(block for block in first.bubbles.bubbles[1].view.blocks if isinstance(block, TextBlock))
    assert "<table" in text.text() and "<script" not in text.text()
    opened = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toString()))
    menu = text.offer_link("https://example.org/?a=1&b=2")
    assert opened == [] and "https://example.org/?a=1&&b=2" in menu.actions()[0].text()
    menu.actions()[0].trigger()
    assert opened == ["https://example.org/?a=1&b=2"]
    menu.close()
    below(qtbot, first, 1, "copy_message")
    assert QGuiApplication.clipboard().text() == said(first)[1]


def test_a_long_answer_is_laid_out_only_at_its_end(qtbot, tab, first):
    bubbles = first.bubbles
    bubbles.begin_answer()
    for number in range(60):
        bubbles.write(f"Paragraph {number} " + "words " * 60 + "\n\n")
        bubbles._draw_writing()
    view = bubbles.bubbles[-1].view
    before = list(view.blocks)
    bubbles.write("the end")
    bubbles._draw_writing()
    assert len(before) > 10 and view.blocks[:len(before) - 1] == before[:-1]
    assert all(len(block.content) < 4000 for block in view.blocks)


def test_everything_has_a_name_and_a_tooltip(qtbot, tab, first, unexplained):
    ask(qtbot, tab, "hello")
    ready(qtbot, first)
    assert unexplained(tab) == []


def test_a_gguf_file_is_dropped(qtbot, tab, models, drop):
    drop(tab, [models[1]])
    ready(qtbot, tab.panes[0])
    assert tab.panes[0].name == "base-Q4_1"
