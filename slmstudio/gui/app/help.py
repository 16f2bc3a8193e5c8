"""The help: what the words mean, which keys there are, and which version this is (F1)."""

from __future__ import annotations

import platform

from PySide6.QtCore import QCollator, Qt, Signal, qVersion
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLineEdit, QWidget

import slmstudio
from slmstudio.core import terms
from slmstudio.core.i18n import tr
from slmstudio.core.terms import TERMS
from slmstudio.gui.app.frame import Logo
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import resize_within
from slmstudio.gui.common.tasks import Task, run_task
from slmstudio.gui.common.widgets.areas import scrolled
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton, SegmentedControl
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, fill, grid_in, pages_of, row_of


class HelpDialog(QDialog):
    """Three pages, the first of which is the glossary.

    Signals:
        welcome_wanted: show the welcome page.
    """

    welcome_wanted = Signal()

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.setWindowTitle(tr("Help"))
        self.tabs = named(SegmentedControl([tr("What words mean"), tr("Keyboard"), tr("About")]), "help_tabs",
                          tr("Pages of the help"))
        self.words = Glossary()
        self._pages = pages_of(self.words, _keys_page(), AboutPage())
        self.tabs.changed.connect(self._pages.setCurrentIndex)
        column_in(self, self.tabs, (self._pages, 1), self._buttons(), spacing=theme.SPACE_M, margins=theme.SPACE_L)
        resize_within(self, parent, 720, 560)

    def _buttons(self) -> QHBoxLayout:
        welcome = SecondaryButton(tr("Welcome page"), tr("Show what this machine has and how to begin."),
                                  name="help_welcome", clicked=self.accept)
        welcome.clicked.connect(self.welcome_wanted)
        close = PrimaryButton(tr("Close"), tr("Close the help (Esc). F1 opens it again."), name="help_close",
                              clicked=self.accept)
        for button in (welcome, close):
            button.setAutoDefault(False)
        return row_of(welcome, STRETCH, close, spacing=None)


class Glossary(QWidget):
    """All terms in alphabetical order, with a field that narrows them down."""

    def __init__(self) -> None:
        super().__init__()
        self.search = named(QLineEdit(placeholderText=tr("Find a word")), "glossary_search", tr("Find a word"),
                            tr("Shows the words whose name or meaning contains this."))
        self.search.textChanged.connect(self._narrow)
        self._none = text_label(tr("No matches."), "muted")
        page = QWidget()
        lines = column_in(page, spacing=theme.SPACE_M, margins=(0, 0, theme.SPACE_S, 0))
        self.entries: list[tuple[str, QWidget]] = []
        alphabet = QCollator()
        alphabet.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        words = [(terms.name(key), *terms.sentences(key)) for key in TERMS]
        for name, what, so in sorted(words, key=lambda each: alphabet.sortKey(each[0].casefold())):
            entry = _entry(name, what, so)
            self.entries.append((f"{name} {what} {so}".lower(), entry))
            lines.addWidget(entry)
        fill(lines, self._none, STRETCH)
        column_in(self, self.search, (scrolled(page, tr("Words and their meanings")), 1), spacing=theme.SPACE_M)
        self._narrow("")

    def _narrow(self, text: str) -> None:
        wanted = text.strip().lower()
        for words, entry in self.entries:
            entry.setVisible(wanted in words)
        self._none.setVisible(not any(wanted in words for words, _ in self.entries))


class AboutPage(QWidget):
    """The version, and everything that a bug report needs, to be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.version = text_label(tr("Version {version} · Python {python} · Qt {qt} · {system}",
                                     version=slmstudio.__version__, python=platform.python_version(), qt=qVersion(),
                                     system=f"{platform.system()} {platform.machine()}"), "muted", wrap=True,
                                  name="about_version", selectable=True)
        what = text_label(tr("Fine-tune a small language model on your own machine, then talk to it. Nothing leaves "
                             "this machine unless you download a model."), wrap=True)
        self.copy = SecondaryButton(tr("Copy diagnosis"),
                                    tr("Checks this machine and copies what was found, for a bug report. Names of "
                                       "people, machines and folders, addresses and serial numbers are taken out."),
                                    name="about_copy", clicked=self._check)
        self._said = text_label("", "small", wrap=True, name="about_said")
        column_in(self, row_of(Logo(28), (text_label("SLM Studio", "title"), 1), spacing=theme.SPACE_M), self.version,
                  what, row_of(self.copy, (self._said, 1), spacing=None), STRETCH, spacing=theme.SPACE_M)

    def _check(self) -> None:
        self.copy.setEnabled(False)
        self._said.setText(tr("Checking this machine. It takes up to 20 seconds."))
        run_task(self, _report, self._copied, self._failed)

    def _copied(self, report: str) -> None:
        QGuiApplication.clipboard().setText(f"{self.version.text()}\n\n{report}")
        self._end(tr("Copied, without personal data."))

    def _failed(self, error: Exception) -> None:
        self._end(tr("This machine couldn't be checked: {error}", error=error))

    def _end(self, text: str) -> None:
        self.copy.setEnabled(True)
        self._said.setText(text)


def _report(task: Task) -> str:
    from slmstudio.core import checkup

    return checkup.report(checkup.visit(task.progress, task.cancelled))


def _entry(name: str, what: str, so: str) -> QWidget:
    entry = QWidget()
    lines = column_in(entry, text_label(name, "strong"), spacing=2)
    for text in (what, so):
        lines.addWidget(text_label(text, wrap=True))
    return entry


def _keys_page() -> QWidget:
    page = QWidget()
    grid = grid_in(page, theme.SPACE_L, theme.SPACE_S, stretch=1)
    for row, (keys, does) in enumerate(shortcuts()):
        grid.addWidget(text_label(keys, "mono"), row, 0, Qt.AlignmentFlag.AlignTop)
        grid.addWidget(text_label(does, wrap=True), row, 1)
    grid.setRowStretch(grid.rowCount(), 1)
    return scrolled(page, tr("Keys and what they do"))


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
