"""The Chat tab with models that a scripted worker plays."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPlainTextEdit

from slmstudio.gui.chat.tab import ChatTab


@pytest.fixture
def models(tmp_path) -> list[Path]:
    """Two files that the fake worker takes for models."""
    found = [tmp_path / "helpdesk-Q4_K_M.gguf", tmp_path / "base-Q4_1.gguf"]
    for path in found:
        path.write_bytes(b"GGUF")
    return found


@pytest.fixture
def tab(chat_tab: ChatTab) -> ChatTab:
    return chat_tab


def ready(qtbot, *panes) -> None:
    qtbot.waitUntil(lambda: all(pane.state == "ready" for pane in panes), timeout=10_000)


def ask(qtbot, tab, question: str) -> None:
    editor = tab.findChild(QPlainTextEdit, "chat_input")
    editor.setPlainText(question)
    qtbot.keyClick(editor, Qt.Key.Key_Return)


def said(pane) -> list[str]:
    return [bubble.content for bubble in pane.bubbles.bubbles]


@pytest.fixture
def first(qtbot, tab, session, models):
    """The first pane with a model, asked for by Results."""
    session.open_chat(models[:1])
    ready(qtbot, tab.panes[0])
    return tab.panes[0]
