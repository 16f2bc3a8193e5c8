"""What the desktop shows while the window is behind others, the help, and panes that stay as they were."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QLabel, QLineEdit, QPushButton, QWidget

from slmstudio.core import settings as kept_settings
from slmstudio.core import terms
from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.jobs.job import Outcome
from slmstudio.core.settings import Settings
from slmstudio.gui.app import application as program
from slmstudio.gui.app.desktop import linux
from slmstudio.gui.app.desktop.notices import DesktopNotices
from slmstudio.gui.app.help.dialog import ABOUT, HelpDialog
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.app.settings_dialog import SettingsDialog
from slmstudio.gui.common import notices, theme
from slmstudio.gui.common.session import JobStatus, Notice
from slmstudio.gui.common.widgets.meaning import MeaningButton, meaning_of
from slmstudio.gui.common.widgets.panes import Panes
from slmstudio.gui.common.widgets.progress import ProgressBar

FAILED = Outcome("failed", {"what": "Memory ran out.", "why": "", "remedy": "", "problems": []})


class Shown:
    """A desktop that keeps what it is told."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.progress: list[float | None] = []

    def notify(self, notice: Notice) -> bool:
        self.notices.append(notice)
        return True

    def show_progress(self, done: float | None) -> None:
        self.progress.append(done)


@pytest.fixture
def behind(qtbot, session) -> Shown:
    """The desktop of a window that is not the active one."""
    window = QWidget()
    qtbot.addWidget(window)
    shown = Shown()
    DesktopNotices(session, window, shown)
    return shown


def test_an_end_is_told_while_the_window_is_behind_others(behind: Shown, session):
    notices.tell_end(session, notices.TRAINING, "helpdesk", Outcome("finished"))
    notices.tell_end(session, notices.EXPORT, "helpdesk", FAILED)
    notices.tell_end(session, notices.TRAINING, "helpdesk", Outcome("cancelled"))
    assert behind.notices == [Notice("Training is finished", "helpdesk"),
                              Notice("The export failed", "helpdesk: Memory ran out.", urgent=True)]
    session.settings.notifications = False
    notices.tell_end(session, notices.EVALUATION, "helpdesk", Outcome("finished"))
    assert len(behind.notices) == 2, "switched off"


def test_nothing_is_told_to_who_looks_at_the_window(qtbot, session):
    window, shown = QWidget(), Shown()
    qtbot.addWidget(window)
    DesktopNotices(session, window, shown)
    window.show()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    notices.tell_end(session, notices.TRAINING, "helpdesk", Outcome("finished"))
    assert shown.notices == []


def test_the_taskbar_shows_how_far_the_job_is(behind: Shown, session):
    for done, total in ((0, 0), (1, 4), (1, 4), (4, 4)):
        session.set_job(JobStatus("Training helpdesk", done, total))
    session.set_job(None)
    assert behind.progress == [0.0, 0.25, 1.0, None]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="D-Bus is of Linux")
def test_what_is_sent_on_the_bus():
    call = linux.notification(Notice("Training ended early", "helpdesk: Memory ran out.", urgent=True))
    assert (call.service(), call.member()) == ("org.freedesktop.portal.Desktop", "AddNotification")
    assert call.arguments() == ["ended", {"title": "Training ended early", "body": "helpdesk: Memory ran out.",
                                          "priority": "high"}]
    for done, visible in ((0.5, True), (None, False)):
        signal = linux.progress(done)
        assert signal.interface() == "com.canonical.Unity.LauncherEntry"
        assert signal.arguments() == ["application://slmstudio.desktop", {"progress": done or 0.0,
                                                                          "progress-visible": visible}]


# -- the help ----------------------------------------------------------------------------------------------------------

def test_each_term_has_two_sentences_and_each_score_a_meaning():
    for key, term in terms.TERMS.items():
        assert term.what.endswith(".") and term.so.endswith("."), key
        assert all(len(part) < 160 for part in (term.what, term.so)), key
    known = [metric.label for metric in METRICS.values()]
    assert [label for label in known if terms.find(label) is None] == []
    assert terms.meaning("rank").startswith("How many directions")


def test_the_glossary_is_searched(qtbot, qapp):
    dialog = HelpDialog()
    qtbot.addWidget(dialog)
    dialog.open()
    assert len(dialog.words.entries) == len(terms.TERMS)
    qtbot.keyClicks(dialog.findChild(QLineEdit, "glossary_search"), "chrf")
    shown = [words for words, entry in dialog.words.entries if not entry.isHidden()]
    assert shown and all("chrf" in words for words in shown) and len(shown) < 6


def test_the_diagnosis_is_copied_with_the_version(qtbot, qapp, monkeypatch):
    from slmstudio.core import checkup

    monkeypatch.setattr(checkup, "visit", lambda progress, cancelled: [])  # takes 20 s, and has tests of its own
    dialog = HelpDialog(page=ABOUT)
    qtbot.addWidget(dialog)
    dialog.open()
    qtbot.mouseClick(dialog.findChild(QPushButton, "about_copy"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "Copied" in dialog.findChild(QLabel, "about_said").text())
    copied = QGuiApplication.clipboard().text()
    assert copied.startswith("Version 0.1.0 · Python 3.") and "SLM Studio" in copied


def test_a_figure_says_what_it_means(qtbot, qapp):
    button = meaning_of("Eval loss")
    assert isinstance(button, MeaningButton) and meaning_of("Data") is None
    qtbot.addWidget(button)
    assert not button.isVisible(), "no window of its own before it has a place"
    assert button.text_shown() == f"Eval loss: {terms.meaning('eval_loss')}"
    assert button.accessibleName() == "What does this mean: Eval loss"


# -- settings ----------------------------------------------------------------------------------------------------------

def test_settings_apply_at_once_and_are_kept(qtbot, qapp, session):
    dialog = SettingsDialog(session)
    qtbot.addWidget(dialog)
    dialog.open()
    dialog.comfort.size.setValue(150)
    dialog.comfort.still.setChecked(True)
    dialog.comfort.notices.setChecked(False)
    dialog.comfort.chat.set_current(1)
    assert theme.THEME.scale == 1.5 and theme.THEME.still
    bar = ProgressBar()
    qtbot.addWidget(bar)
    bar.setRange(0, 0)
    assert (bar.minimum(), bar.maximum()) == (0, 1), "it doesn't move"
    found = kept_settings.load()[0]
    assert (found.text_size, found.reduce_motion, found.notifications, found.chat_with) == (150, True, False, "gguf")
    theme.apply(qapp, "light", 100)
    theme.set_still(qapp, False)
    bar.setRange(0, 0)
    assert bar.maximum() == 0
    assert Settings.from_dict({"text_size": 900, "chat_with": "x", "reduce_motion": 3}).text_size == 100


def test_panes_stay_as_they_were(qtbot, qapp):
    kept = Settings()

    def make() -> Panes:
        panes = Panes(kept, "runs", (QWidget(), QWidget()), (1, 1))
        qtbot.addWidget(panes)
        panes.resize(600, 200)
        panes.show()
        panes.restore((300, 300))
        return panes

    first = make()
    first.moveSplitter(150, 1)
    sizes = first.sizes()
    assert abs(sizes[0] - 150) < 20 and make().sizes() == sizes
    kept.panes["runs"] = "damaged"
    assert abs(make().sizes()[0] - 300) < 20


# -- the starter model -------------------------------------------------------------------------------------------------

def test_the_starter_model_is_prepared_at_the_first_start(qtbot, session, studio_home: Path, play):
    play("start hang")
    window = MainWindow(session)
    qtbot.addWidget(window)
    window.open_welcome()
    with qtbot.waitSignal(window.painted):
        window.show()
    program.prepare_starter(session, window)
    work = window.page("model").work
    qtbot.waitUntil(lambda: work.target is not None and work.target.name == "SmolLM2-135M-Instruct")
    qtbot.waitUntil(lambda: window.welcome.starter.isVisible() and work.followed.thread is not None)
    thread = work.followed.thread
    try:
        assert session.job.name == "Preparing SmolLM2-135M-Instruct"
        qtbot.mouseClick(window.welcome.starter.cancel, Qt.MouseButton.LeftButton)
        assert not session.settings.prepare_starter, "nor at the next start"
    finally:
        thread.end_now()
        thread.wait()
    qtbot.waitUntil(lambda: work.target is None)
    qtbot.waitUntil(window.welcome.starter.isHidden)
