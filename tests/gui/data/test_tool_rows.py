"""A row with tools: what it offers, what is called, and what comes back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from PySide6.QtWidgets import QLabel
from support import model_files, tool_rows

from slmstudio.core.data.record import Record
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.widgets.conversation import ConversationView
from slmstudio.gui.common.widgets.labels import ElidedLabel
from slmstudio.gui.data.rows_table import ANSWER, RowsModel, matching_rows
from slmstudio.gui.data.token_preview import TokenPreview

ROW = Record(tuple(tool_rows.SEVERAL), 1, tools=tool_rows.TOOLS)
PUNE, GOA = 'get_weather(city="पुणे", days=1)', 'get_weather(city="Goa", days=2)'


@pytest.fixture
def view(qtbot, session: Session) -> ConversationView:
    shown = ConversationView()
    shown.resize(500, 600)
    qtbot.addWidget(shown)
    shown.show()
    return shown


def labels(view: ConversationView) -> list[str]:
    return [label.text().replace("\u200b", "") for label in view.widget().findChildren(QLabel) if label.isVisible()]


def test_tools_calls_and_results_are_shown(view: ConversationView):
    view.show_record(ROW)
    assert labels(view) == [
        "May call: get_weather, book_ticket", "system", "Short.", "user", "Pune, Goa?", "assistant", PUNE, GOA,
        "tool · get_weather", "31", "tool · get_weather", "29", "assistant", "31 and 29.", "user", "A ticket to Goa.",
        "assistant", 'book_ticket(to="Goa")']
    mono = [label for label in view.widget().findChildren(QLabel) if label.property("role") == "mono"]
    assert [label.text() for label in mono] == [PUNE, GOA, 'book_ticket(to="Goa")']
    assert all(label.accessibleName() == "call of a tool" for label in mono)


def test_a_long_call_keeps_to_its_bubble(qtbot, view: ConversationView):
    long = tool_rows.calls(tool_rows.call("find", text="words and more " * 40), content="I look.")
    view.show_record(Record((tool_rows.user("a"), long), 1, tools=tuple(
        tool_rows.tool(f"a_tool_with_a_long_name_{number}") for number in range(40))))
    assert "I look." in labels(view)
    qtbot.waitUntil(lambda: view.widget().width() <= view.viewport().width())
    assert all(bubble.width() <= view.viewport().width() for bubble in view.bubbles)
    names = view.findChild(ElidedLabel, "conversation_tools")
    assert names.height() < 30 and "a_tool_with_a_long_name_39" in names.toolTip()


def test_without_tools_nothing_is_said_of_them(view: ConversationView):
    view.show_record(Record((tool_rows.user("a"), tool_rows.assistant("b")), 1))
    assert labels(view) == ["user", "a", "assistant", "b"]


def test_a_call_that_is_compared_with_an_answer(view: ConversationView):
    view.show_record(dataclasses.replace(ROW, messages=ROW.messages[:3], rejected="Hot."))
    assert labels(view)[-5:] == ["chosen answer", PUNE, GOA, "rejected answer", "Hot."]


def test_the_table_and_its_search_see_calls():
    rows = RowsModel()
    rows.show_rows([ROW], [0])
    assert rows.index(0, ANSWER).data() == 'book_ticket(to="Goa")'
    assert matching_rows([ROW], "days=2", lambda: False) == [0] and not matching_rows([ROW], "days=3", lambda: False)


def test_the_tokens_are_those_of_the_training(qtbot, session: Session, tmp_path: Path):
    preview = TokenPreview()
    qtbot.addWidget(preview)
    preview.show()
    preview.set_model(None, model_files.write_model(tmp_path / "m", template=tool_rows.template("qwen2_5")))
    preview.show_record(ROW)
    qtbot.waitUntil(lambda: "learned" in preview.counts.text())
    assert '"name": "book_ticket"' in preview.view.toPlainText()
    preview.set_model(None, model_files.write_model(tmp_path / "other"))
    qtbot.waitUntil(preview.banner.isVisible)
    assert "doesn't support tools" in " ".join(label.text() for label in preview.banner.findChildren(QLabel))
