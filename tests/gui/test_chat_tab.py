"""The Chat tab with a real child process that speaks the chat protocol."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QLineEdit, QPlainTextEdit, QPushButton, QSlider, QToolButton

from slmstudio.core import paths
from slmstudio.core.errors import UserError
from slmstudio.gui.chat_bubbles import CURSOR
from slmstudio.gui.chat_tab import ChatTab
from slmstudio.gui.transcript import Lane, Transcript, all_transcripts, save


@pytest.fixture
def models(tmp_path) -> list[Path]:
    """Two files that the fake worker takes for models."""
    found = [tmp_path / "helpdesk-Q4_K_M.gguf", tmp_path / "base-Q4_1.gguf"]
    for path in found:
        path.write_bytes(b"GGUF")
    return found


@pytest.fixture
def tab(qtbot, session, studio_home, play):
    play("")
    made = ChatTab(session)
    qtbot.addWidget(made)
    made.resize(1280, 640)
    with qtbot.waitExposed(made):
        made.show()
    yield made
    threads = [pane._thread for pane in made.panes if pane._thread is not None]
    for thread in threads:
        thread.close()
    assert all(thread.wait(10_000) for thread in threads)


def ready(qtbot, *panes) -> None:
    qtbot.waitUntil(lambda: all(pane.state == "ready" for pane in panes), timeout=10_000)


def ask(qtbot, tab, question: str) -> None:
    editor = tab.findChild(QPlainTextEdit, "chat_input")
    editor.setPlainText(question)
    qtbot.keyClick(editor, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)


def press(qtbot, tab, name: str) -> None:
    qtbot.mouseClick(tab.findChild(QPushButton, name), Qt.MouseButton.LeftButton)


def said(pane) -> list[str]:
    return [bubble.content for bubble in pane.bubbles.bubbles]


@pytest.fixture
def first(qtbot, tab, session, models):
    """The first pane with a model, asked for by Results."""
    session.chat_requested.emit(models[:1])
    ready(qtbot, tab.panes[0])
    return tab.panes[0]


def test_it_says_what_to_do_first(tab):
    assert "Choose a model" in tab.panes[0].waiting.text()
    assert not tab.findChild(QPushButton, "chat_send").isEnabled()


def test_a_question_and_its_streamed_answer(qtbot, tab, first):
    assert tab.findChild(QComboBox, "chat_model").currentText() == "helpdesk-Q4_K_M"
    ask(qtbot, tab, "राशन कार्ड?")
    assert tab.findChild(QPushButton, "chat_stop").isVisible()
    ready(qtbot, first)
    assert said(first) == ["राशन कार्ड?", "**नमस्ते** दुनिया, you asked: राशन कार्ड?"]
    assert CURSOR not in first.bubbles.bubbles[1].label.text()
    assert first.figures.text() == "helpdesk-Q4_K_M · 41 tokens/s · first token 0.2 s"
    assert tab.input.meter_text.text() == "context 17 of 2,048"
    assert tab.findChild(QPlainTextEdit, "chat_input").toPlainText() == ""


def test_settings_travel_with_the_question(qtbot, tab, first):
    tab.findChild(QPlainTextEdit, "system_prompt").setPlainText("आप सहायक हैं।")
    tab.findChild(QSlider, "temperature").setValue(20)
    tab.findChild(QSlider, "max_tokens").setValue(1)
    tab.findChild(QLineEdit, "seed").setText("7")
    assert tab.settings.options() == {"temperature": 1.0, "top_p": 0.9, "max_tokens": 32, "seed": 7}
    assert first.messages("आप सहायक हैं।", "Hello") == [
        {"role": "system", "content": "आप सहायक हैं।"}, {"role": "user", "content": "Hello"}]
    ask(qtbot, tab, "long story")
    ready(qtbot, first)
    assert "cut at max tokens" in first.figures.text() and len(said(first)[1].split()) == 32


def test_stop_is_at_once_and_late_words_are_not_shown(qtbot, tab, first):
    tab.settings.max_tokens.slider.setValue(128)
    ask(qtbot, tab, "long story")
    qtbot.waitUntil(lambda: len(first.bubbles.bubbles[-1].content) > 20, timeout=5000)
    qtbot.keyClick(tab.input.editor, Qt.Key.Key_Escape)
    assert first.state == "ready", "the window does not wait for the worker"
    shown = said(first)[1]
    assert first.lane.turns[1]["content"] == shown
    qtbot.waitUntil(lambda: "stopped" in first.figures.text(), timeout=5000)
    ask(qtbot, tab, "again")
    ready(qtbot, first)
    assert said(first)[1] == shown and said(first)[3].endswith("you asked: again")


def test_answer_again_replaces_the_answer(qtbot, tab, first):
    ask(qtbot, tab, "hello")
    ready(qtbot, first)
    seed = first._last_request["options"]["seed"]
    press(qtbot, tab, "regenerate")
    ready(qtbot, first)
    assert len(said(first)) == 2 and len(first.lane.turns) == 2
    assert first._last_request["options"]["seed"] == (seed + 1) % 2**31


def test_the_draft_is_counted(qtbot, tab, first):
    tab.input.editor.setPlainText("one two three four")
    qtbot.waitUntil(lambda: tab.input.meter_text.text() == "context 4 of 2,048", timeout=5000)


def test_a_dead_worker_is_said_and_started_again(qtbot, tab, first):
    ask(qtbot, tab, "hello")
    ready(qtbot, first)
    ask(qtbot, tab, "die now")
    qtbot.waitUntil(lambda: first.state == "failed", timeout=10_000)
    assert first.banner.isVisible() and "gone" in first.banner._what.text()
    assert said(first) == ["hello", "**नमस्ते** दुनिया, you asked: hello"]
    assert tab.input.editor.toPlainText() == "die now", "the question is not lost"
    press(qtbot, tab, "start_again")
    ready(qtbot, first)
    ask(qtbot, tab, "still there?")
    ready(qtbot, first)
    assert len(said(first)) == 4 and not first.banner.isVisible()


def test_a_model_that_cannot_be_loaded(qtbot, tab, session, tmp_path):
    session.chat_requested.emit([tmp_path / "gone.gguf"])
    pane = tab.panes[0]
    qtbot.waitUntil(lambda: pane.state == "failed", timeout=10_000)
    assert "does not exist" in pane.banner._what.text()


def test_a_worker_that_cannot_be_started(qtbot, tab, session, models, monkeypatch):
    monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([str(models[0].parent / "nowhere")]))
    session.chat_requested.emit(models[:1])
    pane = tab.panes[0]
    qtbot.waitUntil(lambda: pane.state == "failed", timeout=10_000)
    assert "could not be started" in pane.banner._what.text() and tab.findChild(QPushButton, "start_again").isVisible()


def test_two_models_answer_the_same_question_one_after_the_other(qtbot, tab, session, models):
    session.chat_requested.emit(models)
    ready(qtbot, *tab.panes)
    order: list[str] = []
    for pane in tab.panes:
        pane.answered.connect(lambda pane=pane: order.append(pane.name))
    ask(qtbot, tab, "hello")
    assert tab.panes[1].state == "waiting"
    ready(qtbot, *tab.panes)
    assert order == ["helpdesk-Q4_K_M", "base-Q4_1"]
    assert said(tab.panes[0]) == said(tab.panes[1])
    assert tab.panes[0].lane.turns[1]["figures"]["tokens_per_second"] == 41.0


def test_stop_ends_both(qtbot, tab, session, models):
    session.chat_requested.emit(models)
    ready(qtbot, *tab.panes)
    tab.settings.max_tokens.slider.setValue(128)
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
    assert tab.panes[1].isHidden() and tab.panes[1]._thread is None


def test_conversations_are_kept_and_opened_again(qtbot, tab, first):
    ask(qtbot, tab, "राशन कार्ड कैसे बनता है?")
    ready(qtbot, first)
    qtbot.waitUntil(lambda: tab.chats.count() == 1, timeout=5000)
    qtbot.mouseClick(tab.findChild(QToolButton, "new_chat"), Qt.MouseButton.LeftButton)
    assert said(first) == []
    ask(qtbot, tab, "another")
    ready(qtbot, first)
    qtbot.waitUntil(lambda: tab.chats.count() == 2, timeout=5000)
    assert [tab.chats.item(row).text() for row in range(2)] == ["another", "राशन कार्ड कैसे बनता है?"]
    tab.chats.setCurrentRow(1)
    tab.chats.itemClicked.emit(tab.chats.item(1))
    assert said(first)[0] == "राशन कार्ड कैसे बनता है?" and first.state == "ready"
    assert len(list(paths.chats_dir().glob("*.json"))) == 2


def test_a_transcript_is_saved_in_both_forms(qtbot, tab, first, tmp_path):
    ask(qtbot, tab, "hello")
    ready(qtbot, first)
    assert tab.findChild(QPushButton, "save_chat").isEnabled()
    tab.save_as(tmp_path / "mine.json")
    qtbot.waitUntil(lambda: "mine.md" in tab.input.note.text(), timeout=5000)
    assert "## You\n\nhello\n\n## helpdesk-Q4_K_M" in (tmp_path / "mine.md").read_text("utf-8")
    assert Transcript.read(tmp_path / "mine.json").lanes[0].turns[0]["content"] == "hello"


def test_a_gguf_file_is_dropped(qtbot, tab, models, drop):
    drop(tab, [models[1]])
    ready(qtbot, tab.panes[0])
    assert tab.panes[0].name == "base-Q4_1"


def test_two_answers_stand_below_their_question():
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    other = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "B"}]
    text = Transcript(0.0, {"temperature": 0.3}, [Lane("x/one.gguf", turns), Lane("x/two.gguf", other)]).to_markdown()
    assert text.split("## ")[1:] == ["You\n\nQ\n\n", "one\n\nA\n\n", "two\n\nB\n"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"created": 1, "settings": {}, "lanes": [{"model": 1}]}',
                                     '{"created": 1, "settings": {}, "lanes": [{"model": "m", "turns": [{}]}]}'])
def test_what_is_no_conversation_is_refused_and_passed_over(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(UserError, match="no conversation"):
        Transcript.read(path)
    save(Transcript(1.0, {}, [Lane("m", [{"role": "user", "content": "hi"}])]), tmp_path / "good.json")
    assert [each.title for _, each in all_transcripts(tmp_path)] == ["hi"]
