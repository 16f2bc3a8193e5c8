"""The Chat tab with models that a scripted worker plays."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPlainTextEdit, QPushButton
from pytestqt.qtbot import QtBot
from support.window import press

from slmstudio.gui.chat.pane import ChatPane
from slmstudio.gui.chat.tab import ChatTab
from slmstudio.gui.common.session import Session

LIMIT = 15_000
"""Milliseconds."""


def ready(qtbot: QtBot, tab: ChatTab) -> None:
    """All models that are shown are loaded and have answered."""
    qtbot.waitUntil(lambda: all(pane.state == "ready" for pane in tab.lanes.panes()), timeout=LIMIT)


def start(qtbot: QtBot, tab: ChatTab, session: Session, models: list[Path], blind: bool = False) -> None:
    """Open these models, as Results does."""
    session.open_chat(models)
    ready(qtbot, tab)
    if blind:
        press(qtbot, tab, "blind")


def ask(qtbot: QtBot, tab: ChatTab, question: str) -> None:
    editor = tab.findChild(QPlainTextEdit, "chat_input")
    editor.setPlainText(question)
    qtbot.keyClick(editor, Qt.Key.Key_Return)


def answered(qtbot: QtBot, tab: ChatTab, *questions: str) -> None:
    """Ask, and wait for the answers."""
    for question in questions:
        ask(qtbot, tab, question)
        ready(qtbot, tab)


def said(pane: ChatPane) -> list[str]:
    """The messages on the screen."""
    return [bubble.content for bubble in pane.bubbles.bubbles]


def can_vote(qtbot: QtBot, tab: ChatTab) -> None:
    """All have answered, and the buttons for the vote are there."""
    qtbot.waitUntil(lambda: any(each.isVisible() for each in tab.findChildren(QPushButton, "vote_good")), timeout=LIMIT)


def vote(qtbot: QtBot, tab: ChatTab, name: str) -> None:
    can_vote(qtbot, tab)
    with qtbot.waitSignal(tab.comparison.voted):
        press(qtbot, tab, name)
