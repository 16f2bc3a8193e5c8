"""Thoughts and calls of tools, documents of a question, settings by model, and the place that was searched for."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QLabel, QPlainTextEdit
from support.chat_window import answered, ask, said
from support.window import press, text

from slmstudio.gui.chat.blocks import ThoughtBlock


def test_thoughts_are_folded_and_copied_apart(qtbot, tab, first):
    ask(qtbot, tab, "held think")
    qtbot.waitUntil(lambda: first.bubbles.findChild(ThoughtBlock) is not None)
    block = first.bubbles.bubbles[1].view.blocks[0]
    assert block.name.text().startswith("Thinking") and not block.text.isVisible()
    press(qtbot, tab, "chat_stop")
    assert block.name.text().startswith("Still thinking")
    answered(qtbot, tab, "think")
    thoughts, answer = first.bubbles.bubbles[3].view.blocks
    assert thoughts.name.text().endswith("8 words") and "<b>Monday</b>" in answer.text()
    thoughts.name.click()
    assert not thoughts.text.isHidden() and thoughts.text.toPlainText().startswith("The office is closed")
    press(qtbot, first.bubbles.bubbles[3], "copy_message")
    assert QGuiApplication.clipboard().text() == "Go on **Monday**."
    assert first.messages("")[-1]["content"] == "Go on **Monday**.", "the model doesn't read them once more"
    assert first.lane.turns[3].content.startswith("<think>"), "but they are kept"


def test_a_document_goes_with_the_question_as_far_as_it_fits(qtbot, tab, first, tmp_path, drop):
    (tmp_path / "rules.txt").write_text("word " * 150)
    (tmp_path / "short.md").write_text("two words")
    drop(tab, [tmp_path / "rules.txt"])
    shown = tab.talk.documents
    tab.input.editor.setPlainText("What do they say?")
    assert not tab.input.send_button.isEnabled(), "it isn't known yet what fits"
    qtbot.waitUntil(shown.are_measured)
    qtbot.waitUntil(lambda: lines(tab) == ["rules.txt · 100 of 150 tokens"])
    assert "50 tokens too long" in text(tab, "documents_note")
    press(qtbot, tab, "leave_out")
    assert not shown.isVisible()
    drop(tab, [tmp_path / "short.md"])
    qtbot.waitUntil(lambda: tab.input.send_button.isEnabled() and len(shown.attached) == 1)
    qtbot.waitUntil(lambda: lines(tab) == ["short.md · 2 tokens"])
    assert not shown.note.isVisible()
    answered(qtbot, tab, "What do they say?")
    assert not shown.isVisible() and said(first)[0] == "What do they say?"
    assert first.bubbles.bubbles[0].figures.text() == "short.md · 2 tokens"
    assert first.messages("")[0]["content"] == '<document name="short.md">\ntwo words\n</document>\n\nWhat do they say?'
    press(qtbot, first.bubbles.bubbles[0], "edit_message")
    assert [each["name"] for each in shown.attached] == ["short.md"]
    qtbot.keyClick(tab.input.editor, Qt.Key.Key_Escape)
    assert not shown.isVisible()


def lines(tab) -> list[str]:
    return [label.text() for label in tab.findChildren(QLabel, "document") if label.isVisible()]


def test_each_model_has_its_own_settings(qtbot, tab, session, first, models):
    system = tab.findChild(QPlainTextEdit, "system_prompt")
    system.setPlainText("You are a clerk.")
    tab.settings.rows["temperature"].set_value(1.0)
    tab.choices[0].pick(models[1])
    assert system.toPlainText() == "" and tab.settings.options()["temperature"] == 0.3
    system.setPlainText("You are a poet.")
    tab.choices[0].pick(models[0])
    assert system.toPlainText() == "You are a clerk." and tab.settings.options()["temperature"] == 1.0
    press(qtbot, tab, "reset_sampling")
    assert session.settings.chat_settings[str(models[0])]["system"] == ""
    assert session.settings.chat_settings[str(models[1])]["system"] == "You are a poet."


def test_what_was_searched_for_is_shown(qtbot, tab, first):
    answered(qtbot, tab, "long story")
    tab.new_chat()
    answered(qtbot, tab, "apple", "pear")
    press(qtbot, first.bubbles.bubbles[2], "edit_message")
    answered(qtbot, tab, "plum")
    tab.new_chat()
    qtbot.waitUntil(lambda: tab.saved.list.count() == 2)
    tab.saved.search.setText("asked: pear")
    qtbot.waitUntil(lambda: tab.saved.list.count() == 1)
    tab.saved.list.itemClicked.emit(tab.saved.list.item(0))
    assert said(first)[2] == "pear", "in the branch that has it"
    marked = [label.selectedText() for label in first.bubbles.findChildren(QLabel) if label.hasSelectedText()]
    assert marked == ["asked: pear"]
