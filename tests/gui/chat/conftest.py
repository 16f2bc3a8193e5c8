"""What the tests of Chat share."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.chat_window import start

from slmstudio.gui.chat.pane import ChatPane
from slmstudio.gui.chat.tab import ChatTab


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    """Four files that the fake worker takes for models."""
    found = [tmp_path / f"{name}.gguf" for name in ("tuned", "base", "third", "fourth")]
    for path in found:
        path.write_bytes(b"GGUF" + path.stem.encode())
    return found


@pytest.fixture
def tab(chat_tab: ChatTab) -> ChatTab:
    return chat_tab


@pytest.fixture
def first(qtbot, tab, session, models) -> ChatPane:
    """The first pane with a model, asked for by Results."""
    start(qtbot, tab, session, models[:1])
    return tab.panes[0]
