"""The help: what the words mean, which keys there are, and which version this is (F1)."""

from __future__ import annotations

import platform

from PySide6.QtCore import QCollator, QSize, Qt, Signal, qVersion
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QDialog,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QScrollArea,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

import slmstudio
from slmstudio.core.i18n import tr
from slmstudio.core.terms import TERMS
from slmstudio.gui.app.header import Logo
from slmstudio.gui.app.help.keys import shortcuts
from slmstudio.gui.common import term_words, theme
from slmstudio.gui.common.tasks import Task, run_task
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton, SegmentedControl
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import column_in

SIZE = (720, 560)
MARGIN = 40
"""Pixels of the window that stay visible around the dialog."""


class HelpDialog(QDialog):
    """Three pages, of which the first is the glossary.

    Signals:
        welcome_wanted: show the welcome page.
    """

    welcome_wanted = Signal()

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.setWindowTitle(tr("Help"))
        self.tabs = SegmentedControl([tr("What words mean"), tr("Keyboard"), tr("About")])
        self.tabs.setObjectName("help_tabs")
        self.tabs.setAccessibleName(tr("Pages of the help"))
        self._pages = QStackedWidget()
        self.words = Glossary()
        for each in (self.words, _keys_page(), AboutPage()):
            self._pages.addWidget(each)
        self.tabs.changed.connect(self._pages.setCurrentIndex)
        column = QVBoxLayout(self)
        column.setContentsMargins(*[theme.SPACE_L] * 4)
        column.setSpacing(theme.SPACE_M)
        column.addWidget(self.tabs)
        column.addWidget(self._pages, 1)
        column.addLayout(self._buttons())
        room = parent.size() - QSize(MARGIN, MARGIN) if parent else QSize(*SIZE)
        self.resize(QSize(*SIZE).boundedTo(room))

    def _buttons(self) -> QHBoxLayout:
        welcome = SecondaryButton(tr("Welcome page"), tr("Show what this machine has and how to begin."))
        welcome.setObjectName("help_welcome")
        welcome.clicked.connect(self.accept)
        welcome.clicked.connect(self.welcome_wanted)
        close = PrimaryButton(tr("Close"), tr("Close the help (Esc). F1 opens it again."))
        close.setObjectName("help_close")
        close.clicked.connect(self.accept)
        for button in (welcome, close):
            button.setAutoDefault(False)
        row = QHBoxLayout()
        row.addWidget(welcome)
        row.addStretch(1)
        row.addWidget(close)
        return row


class Glossary(QWidget):
    """All terms in alphabetical order, with a field that narrows them down."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.search = QLineEdit()
        self.search.setObjectName("glossary_search")
        self.search.setPlaceholderText(tr("Find a word"))
        self.search.setAccessibleName(tr("Find a word"))
        self.search.setToolTip(tr("Shows the words that have this in their name or meaning."))
        self.search.textChanged.connect(self._narrow)
        self._none = text_label(tr("No matches."), "muted")
        page = QWidget()
        page.setProperty("plain", True)
        lines = QVBoxLayout(page)
        lines.setContentsMargins(0, 0, theme.SPACE_S, 0)
        lines.setSpacing(theme.SPACE_M)
        self.entries: list[tuple[str, QWidget]] = []
        alphabet = QCollator()
        alphabet.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        words = [(term_words.name(key), *term_words.sentences(key)) for key in TERMS]
        for name, what, so in sorted(words, key=lambda each: alphabet.sortKey(each[0].casefold())):
            entry = _entry(name, what, so)
            self.entries.append((f"{name} {what} {so}".lower(), entry))
            lines.addWidget(entry)
        lines.addWidget(self._none)
        lines.addStretch(1)
        column = column_in(self, theme.SPACE_M)
        column.addWidget(self.search)
        column.addWidget(_scrolled(page, tr("Words and their meanings")), 1)
        self._narrow("")

    def _narrow(self, text: str) -> None:
        wanted = text.strip().lower()
        for words, entry in self.entries:
            entry.setVisible(wanted in words)
        self._none.setVisible(not any(wanted in words for words, _ in self.entries))


class AboutPage(QWidget):
    """The version, and everything that a bug report needs, to be copied."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._task: Task | None = None
        head = QHBoxLayout()
        head.setSpacing(theme.SPACE_M)
        head.addWidget(Logo(28))
        head.addWidget(text_label("SLM Studio", "title"), 1)
        self.version = text_label(tr("Version {version} · Python {python} · Qt {qt} · {system}",
                                     version=slmstudio.__version__, python=platform.python_version(), qt=qVersion(),
                                     system=f"{platform.system()} {platform.machine()}"), "muted", wrap=True)
        self.version.setObjectName("about_version")
        self.version.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        what = text_label(tr("Fine-tune a small language model on your own machine, then talk to it. Nothing leaves "
                             "this machine unless you download a model."), wrap=True)
        self.copy = SecondaryButton(tr("Copy diagnosis"),
                                    tr("Checks this machine and copies what was found, for a bug report. Names of "
                                       "people, machines and folders, addresses and serial numbers are taken out."))
        self.copy.setObjectName("about_copy")
        self.copy.clicked.connect(self._check)
        self._said = text_label("", "small", wrap=True)
        self._said.setObjectName("about_said")
        row = QHBoxLayout()
        row.addWidget(self.copy)
        row.addWidget(self._said, 1)
        column = column_in(self, theme.SPACE_M)
        column.addLayout(head)
        column.addWidget(self.version)
        column.addWidget(what)
        column.addLayout(row)
        column.addStretch(1)

    def _check(self) -> None:
        self.copy.setEnabled(False)
        self._said.setText(tr("Checking this machine. It takes up to 20 seconds."))
        self._task = run_task(self, _report, self._copied, self._failed)

    def _copied(self, report: str) -> None:
        QGuiApplication.clipboard().setText(f"{self.version.text()}\n\n{report}")
        self._end(tr("Copied, without personal data."))

    def _failed(self, error: Exception) -> None:
        self._end(tr("This machine could not be checked: {error}", error=error))

    def _end(self, text: str) -> None:
        self.copy.setEnabled(True)
        self._said.setText(text)


def _report(task: Task) -> str:
    from slmstudio.core import checkup

    return checkup.report(checkup.visit(task.progress, task.cancelled))


def _entry(name: str, what: str, so: str) -> QWidget:
    entry = QWidget()
    lines = column_in(entry, 2)
    lines.addWidget(text_label(name, "strong"))
    for text in (what, so):
        lines.addWidget(text_label(text, wrap=True))
    return entry


def _keys_page() -> QWidget:
    page = QWidget()
    page.setProperty("plain", True)
    grid = QGridLayout(page)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setHorizontalSpacing(theme.SPACE_L)
    grid.setVerticalSpacing(theme.SPACE_S)
    grid.setColumnStretch(1, 1)
    for row, (keys, does) in enumerate(shortcuts()):
        grid.addWidget(text_label(keys, "mono"), row, 0, Qt.AlignmentFlag.AlignTop)
        grid.addWidget(text_label(does, wrap=True), row, 1)
    grid.setRowStretch(grid.rowCount(), 1)
    return _scrolled(page, tr("Keys and what they do"))


def _scrolled(page: QWidget, name: str) -> QScrollArea:
    """A page that the arrow keys scroll."""
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setAccessibleName(name)
    area.setWidget(page)
    return area
