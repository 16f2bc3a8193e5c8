"""Conversations are kept, found, opened again and saved; settings are checked."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLineEdit, QPushButton
from support.chat_window import answered, ask, ready, said
from support.window import press, text, texts

from slmstudio.core import paths
from slmstudio.core.chat.conversation import Conversation


def test_conversations_are_kept_and_opened_again(qtbot, tab, first):
    tab.chat.conversation().created = 0.0  # an empty page, since the program's start
    answered(qtbot, tab, "राशन कार्ड कैसे बनता है?")
    listed(qtbot, tab, "राशन कार्ड कैसे बनता है?")
    press(qtbot, tab, "new_chat")
    assert said(first) == []
    answered(qtbot, tab, "another")
    listed(qtbot, tab, "another", "राशन कार्ड कैसे बनता है?")
    tab.saved.list.itemClicked.emit(tab.saved.list.item(1))
    assert said(first)[0] == "राशन कार्ड कैसे बनता है?" and first.state == "ready"
    assert first.bubbles.bubbles[1].figures.text() == "5 tokens · 41 tokens/s · first token 0.2 s"
    assert [Conversation.read(path).created > 0 for path in paths.chats_dir().glob("*.json")] == [True, True]


def test_conversations_are_found_renamed_deleted_and_put_back(qtbot, tab, first, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for question in ("apple", "banana"):
        press(qtbot, tab, "new_chat")
        answered(qtbot, tab, question)
        qtbot.waitUntil(lambda: tab.chat.file is not None and tab.chat.file.exists())
    listed(qtbot, tab, "banana", "apple")
    search = tab.findChild(QLineEdit, "search_chats")
    search.setText("ASKED: APP")
    listed(qtbot, tab, "apple")
    search.clear()
    tab.saved.list.setCurrentRow(1)
    tab.saved.list.setFocus()
    qtbot.keyClick(tab.saved.list, Qt.Key.Key_F2)
    name = tab.findChild(QLineEdit, "rename_chat")
    name.setText("Fruit")
    qtbot.keyClick(name, Qt.Key.Key_Return)
    listed(qtbot, tab, "banana", "Fruit")
    tab.saved.list.setCurrentRow(0)
    tab.saved.list.setFocus()
    qtbot.keyClick(tab.saved.list, Qt.Key.Key_Delete)
    listed(qtbot, tab, "Fruit")
    assert said(first) == [] and tab.chat.file is None, "what is thrown away is not shown, and not saved again"
    press(qtbot, tab, "undo_delete")
    listed(qtbot, tab, "banana", "Fruit")


def test_a_damaged_conversation_is_listed_and_says_why(qtbot, tab):
    paths.chats_dir().mkdir(parents=True)
    (paths.chats_dir() / "20261125-100000-001.json").write_text('{"format": 2, "la')
    tab.saved.read()
    listed(qtbot, tab, "20261125-100000-001")
    tab.saved.list.itemClicked.emit(tab.saved.list.item(0))
    assert tab.banner.isVisible() and "isn't a conversation" in texts(tab.banner)


def test_a_full_disk_is_said_and_the_conversation_goes_on(qtbot, tab, first, monkeypatch):
    import os

    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    answered(qtbot, tab, "hello")
    qtbot.waitUntil(tab.banner.isVisible)
    assert "disk is full" in texts(tab.banner) and not list(paths.chats_dir().iterdir())
    monkeypatch.setattr(os, "fsync", real)
    answered(qtbot, tab, "again")
    listed(qtbot, tab, "hello")
    assert len(said(first)) == 4


def test_settings_are_reset_and_checked(qtbot, tab, first):
    settings = tab.settings
    settings.system.setPlainText("You are a clerk.")
    settings.rows["temperature"].slider.setValue(40)
    settings.rows["top_k"].slider.setValue(0)
    settings.stop.setPlainText("\\n\\nUser:\n###")
    assert settings.options()["stop"] == ["\n\nUser:", "###"] and settings.options()["top_k"] == 0
    again = type(settings)()
    qtbot.addWidget(again)
    again.from_dict(settings.to_dict())
    assert again.to_dict() == {**settings.to_dict(), "seed": ""}
    settings.stop.setPlainText("\n".join("abcdefghijklmnopq"))
    ask(qtbot, tab, "hello")
    assert tab.banner.isVisible() and tab.input.editor.toPlainText() == "hello" and said(first) == []
    press(qtbot, tab, "reset_sampling")
    assert settings.options()["stop"] == [] and settings.options()["temperature"] == 0.3
    assert settings.options()["top_k"] == 40 and settings.system.toPlainText() == ""
    settings.system.undo()
    assert settings.system.toPlainText() == "You are a clerk.", "what was typed is not lost"


def test_reset_sets_the_context_length_back_and_loads_the_model_for_it(qtbot, tab, first):
    settings = tab.settings
    settings.context.slider.setFocus()
    with qtbot.waitSignal(settings.context_changed):  # a key is enough, as is a click beside the handle
        qtbot.keyClick(settings.context.slider, Qt.Key.Key_Right)
    ready(qtbot, tab)
    assert settings.context_length() == first.context_length == 1024
    with qtbot.waitSignal(settings.context_changed):
        press(qtbot, tab, "reset_sampling")
    ready(qtbot, tab)
    assert settings.context_length() is None and first.context_length == 2048
    assert settings.context.figure.text() == "default"


def listed(qtbot, tab, *titles: str) -> None:
    qtbot.waitUntil(lambda: [tab.saved.list.item(row).text() for row in range(tab.saved.list.count())]
                    == list(titles))


def test_a_conversation_is_saved_in_both_forms(qtbot, tab, first, tmp_path):
    answered(qtbot, tab, "hello")
    assert tab.findChild(QPushButton, "save_chat").isEnabled()
    tab.chat.export(tmp_path / "mine.json")
    qtbot.waitUntil(lambda: "mine.md" in text(tab, "chat_note"))
    assert "## You\n\nhello\n\n## tuned" in (tmp_path / "mine.md").read_text("utf-8")
    assert Conversation.read(tmp_path / "mine.json").lanes[0].turns[0].content == "hello"
