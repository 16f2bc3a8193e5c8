"""Which keys there are, and what they do."""

from __future__ import annotations

from slmstudio.core.i18n import tr


def shortcuts() -> list[tuple[str, str]]:
    """Keys and what they do, the most useful first."""
    return [
        ("F1", tr("This help")),
        ("Ctrl+1 … Ctrl+5", tr("Data, Model, Training, Results, Chat")),
        ("Ctrl+O", tr("Open a file in this tab")),
        ("Ctrl+,", tr("Settings")),
        ("F9", tr("Check this machine")),
        ("Ctrl++, Ctrl+-, Ctrl+0", tr("Larger text, smaller text, usual size")),
        ("Tab, Shift+Tab", tr("Go to the next or the previous control")),
        ("Enter, Space", tr("Press the button that has the focus")),
        (tr("Arrow keys"), tr("Move in a list, a table, or a row of choices")),
        ("Esc", tr("Close a dialog or the welcome page; stop editing a question")),
        ("Enter", tr("In Chat: send the question")),
        ("Shift+Enter", tr("In Chat: begin a new line")),
        (tr("Up"), tr("In Chat, in an empty field: edit the last question")),
        ("Ctrl+Q", tr("Quit; a run continues in the background")),
    ]
