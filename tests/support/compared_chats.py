"""The Chat tab with several models that a scripted worker plays."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPlainTextEdit, QPushButton

from slmstudio.gui.chat.tab import ChatTab


@pytest.fixture
def models(tmp_path) -> list[Path]:
    """Four files that the fake worker takes for models."""
    found = [tmp_path / f"{name}.gguf" for name in ("tuned", "base", "third", "fourth")]
    for path in found:
        path.write_bytes(b"GGUF" + path.stem.encode())
    return found


@pytest.fixture
def tab(chat_tab: ChatTab) -> ChatTab:
    return chat_tab


def ready(qtbot, tab) -> None:
    qtbot.waitUntil(lambda: all(pane.state == "ready" for pane in tab.lanes.panes()), timeout=15_000)


def ask(qtbot, tab, question: str) -> None:
    editor = tab.findChild(QPlainTextEdit, "chat_input")
    editor.setPlainText(question)
    qtbot.keyClick(editor, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)


def press(qtbot, tab, name: str, kind: type = QPushButton) -> None:
    [button] = [each for each in tab.findChildren(kind, name) if each.isVisible()]
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def start(qtbot, tab, session, models, blind: bool = False) -> None:
    session.open_chat(models)
    ready(qtbot, tab)
    if blind:
        press(qtbot, tab, "blind")


def vote(qtbot, tab, name: str) -> None:
    qtbot.waitUntil(lambda: any(each.isVisible() for each in tab.findChildren(QPushButton, name)), timeout=15_000)
    with qtbot.waitSignal(tab.comparison.voted, timeout=5000):
        press(qtbot, tab, name)
