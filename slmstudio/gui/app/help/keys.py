"""Which keys there are, and what they do."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication


def _tr(text: str) -> str:
    return QCoreApplication.translate("Keys", text)


def shortcuts() -> list[tuple[str, str]]:
    """Keys and what they do, the most useful first."""
    return [
        ("F1", _tr("This help")),
        ("Ctrl+1 … Ctrl+5", _tr("Data, Model, Training, Results, Chat")),
        ("Ctrl+O", _tr("Open a file in this tab")),
        ("Ctrl+,", _tr("Settings")),
        ("F9", _tr("Check this machine")),
        ("Ctrl++, Ctrl+-, Ctrl+0", _tr("Larger text, smaller text, usual size")),
        ("Tab, Shift+Tab", _tr("To the next control, to the one before")),
        ("Enter, Space", _tr("Press the button that has the focus")),
        (_tr("Arrow keys"), _tr("Move in a list, a table, or a row of choices")),
        ("Esc", _tr("Close a dialog or the welcome page; leave an edited question")),
        ("Enter", _tr("In Chat: send the question")),
        ("Shift+Enter", _tr("In Chat: begin a new line")),
        (_tr("Up"), _tr("In Chat, in an empty field: edit the last question")),
        ("Ctrl+Q", _tr("Quit; a run continues in the background")),
    ]
