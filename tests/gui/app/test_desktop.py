"""What the desktop shows while the window is behind others, the help, and panes that stay as they were."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QDialog, QLabel, QLineEdit, QPushButton, QWidget

from slmstudio.core import i18n, terms
from slmstudio.core import settings as kept_settings
from slmstudio.core.i18n import messages
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.settings import THEMES, Settings
from slmstudio.gui.app import application as program
from slmstudio.gui.app import desktop
from slmstudio.gui.app.desktop import DesktopNotices
from slmstudio.gui.app.help import HelpDialog
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.app.settings import SettingsDialog
from slmstudio.gui.common import followed_job, session_bus, theme
from slmstudio.gui.common.session import JobStatus, Notice
from slmstudio.gui.common.widgets import banner
from slmstudio.gui.common.widgets.areas import Panes
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.figures import MeaningButton
from slmstudio.gui.common.widgets.progress import ProgressBar

FAILED = Outcome("failed", {"what": "Memory ran out.", "why": "", "remedy": "", "problems": []})


class Shown:
    """A desktop that keeps what it is told."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.progress: list[float | None] = []

    def notify(self, notice: Notice, otherwise: Callable[[], object]) -> None:
        self.notices.append(notice)

    def show_progress(self, done: float | None) -> None:
        self.progress.append(done)


@pytest.fixture
def behind(qtbot, session) -> Shown:
    """The desktop of a window that isn't the active one."""
    window = QWidget()
    qtbot.addWidget(window)
    shown = Shown()
    DesktopNotices(session, window, shown)
    return shown


def test_an_end_is_told_while_the_window_is_behind_others(behind: Shown, session):
    followed_job.report_end(session, followed_job.TRAINING, "helpdesk", Outcome("finished"))
    followed_job.report_end(session, followed_job.EXPORT, "helpdesk", FAILED)
    followed_job.report_end(session, followed_job.TRAINING, "helpdesk", Outcome("cancelled"))
    assert behind.notices == [Notice("Training is finished", "helpdesk"),
                              Notice("The export failed", "helpdesk: Memory ran out.", urgent=True)]
    session.settings.notifications = False
    followed_job.report_end(session, followed_job.EVALUATION, "helpdesk", Outcome("finished"))
    assert len(behind.notices) == 2, "switched off"


@pytest.mark.parametrize("with_dialog", [False, True])
def test_nothing_is_told_to_who_looks_at_the_window(qtbot, session, with_dialog):
    window, shown = QWidget(), Shown()
    qtbot.addWidget(window)
    DesktopNotices(session, window, shown)
    window.show()
    active = QDialog(window) if with_dialog else window
    active.show()
    active.activateWindow()
    qtbot.waitUntil(active.isActiveWindow)
    followed_job.report_end(session, followed_job.TRAINING, "helpdesk", Outcome("finished"))
    assert shown.notices == []


def test_what_a_banner_tells_already_is_not_announced_again(qtbot, session, monkeypatch):
    said: list[str] = []
    for module in (desktop, banner):
        monkeypatch.setattr(module, "announce", lambda widget, text, urgent=False: said.append(text))
    window = QWidget()
    qtbot.addWidget(window)
    shown, hidden = ErrorBanner(window), ErrorBanner(QWidget(window))
    hidden.parentWidget().hide()
    DesktopNotices(session, window, Shown())
    window.show()
    hidden.show_error(FAILED.user_error())
    followed_job.report_end(session, followed_job.EXPORT, "helpdesk", FAILED)
    qtbot.waitUntil(lambda: bool(said))
    assert said == ["The export failed: helpdesk: Memory ran out."], "the banner is on a page that nobody sees"
    said.clear()
    followed_job.report_end(session, followed_job.EXPORT, "helpdesk", FAILED)
    shown.show_error(FAILED.user_error())
    followed_job.report_end(session, followed_job.TRAINING, "other", Outcome("finished"))
    qtbot.waitUntil(lambda: len(said) == 2)
    assert said == ["Memory ran out.", "Training is finished: other"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has D-Bus")
def test_where_nobody_shows_a_notice_the_tray_does(qtbot, qapp):
    asked: list[str] = []
    session_bus.LinuxDesktop().notify(Notice("Training is finished", "helpdesk"), lambda: asked.append("tray"))
    qtbot.waitUntil(lambda: asked == ["tray"])
    theme.set_still(qapp, True)
    theme.set_still(qapp, None)
    qtbot.waitUntil(lambda: not theme.THEME.still)


def test_the_taskbar_shows_how_far_the_job_is(behind: Shown, session):
    for done, total in ((0, 0), (1, 4), (1, 4), (4, 4)):
        session.set_job(JobStatus("Training helpdesk", done, total))
    session.set_job(None)
    assert behind.progress == [0.0, 0.25, 1.0, None]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has D-Bus")
def test_what_is_sent_on_the_bus():
    call = session_bus.notification(Notice("Training ended early", "helpdesk: Memory ran out.", urgent=True))
    assert (call.service(), call.member()) == ("org.freedesktop.portal.Desktop", "AddNotification")
    assert call.arguments() == ["ended", {"title": "Training ended early", "body": "helpdesk: Memory ran out.",
                                          "priority": "high"}]
    for done, visible in ((0.5, True), (None, False)):
        signal = session_bus.progress(done)
        assert signal.interface() == "com.canonical.Unity.LauncherEntry"
        assert signal.arguments() == ["application://slmstudio.desktop", {"progress": done or 0.0,
                                                                          "progress-visible": visible}]


# -- the help ----------------------------------------------------------------------------------------------------------

def test_the_diagnosis_is_copied_with_the_version(qtbot, qapp, monkeypatch):
    from slmstudio.core import checkup

    monkeypatch.setattr(checkup, "visit", lambda progress, cancelled: [])  # takes 20 s, and has tests of its own
    dialog = HelpDialog()
    qtbot.addWidget(dialog)
    dialog.open()
    dialog.tabs.set_current(2)
    qtbot.mouseClick(dialog.findChild(QPushButton, "about_copy"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "Copied" in dialog.findChild(QLabel, "about_said").text())
    copied = QGuiApplication.clipboard().text()
    assert copied.startswith("Version 0.1.0 · Python 3.") and "SLM Studio" in copied


def test_the_glossary_is_searched_and_sorted_in_the_language_of_the_window(qtbot, tmp_path, monkeypatch):
    monkeypatch.setattr(messages, "FOLDER", tmp_path)
    (tmp_path / "de.po").write_text('msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n\n'
                                    'msgid "Adapter"\nmsgstr "ZUSATZ"\n', encoding="utf-8")
    i18n.use("de")
    try:
        dialog, button = HelpDialog(), MeaningButton("adapter")
    finally:
        i18n.use("en")
    for each in (dialog, button):
        qtbot.addWidget(each)
    dialog.open()
    entries, search = dialog.words.entries, dialog.findChild(QLineEdit, "glossary_search")
    assert len(entries) == len(terms.TERMS) and entries[-1][0].startswith("zusatz ") and "ZUSATZ" in button.toolTip()
    for typed, most in (("chrf", 5), ("zusatz", 1)):
        search.clear()
        qtbot.keyClicks(search, typed)
        shown = [words for words, entry in entries if not entry.isHidden()]
        assert 1 <= len(shown) <= most and all(typed in words for words in shown)


def test_a_figure_says_what_it_means(qtbot, qapp):
    button = MeaningButton("eval_loss")
    qtbot.addWidget(button)
    assert not button.isVisible(), "no window of its own before it has a place"
    loss = terms.TERMS["eval_loss"]
    assert button.text_shown() == f"Eval loss: {loss.what} {loss.so}"
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


def test_settings_of_another_folder_take_the_place_of_those_before(qtbot, qapp, session):
    dialog = SettingsDialog(session)
    qtbot.addWidget(dialog)
    before = session.settings
    session.settings = Settings(text_size=120, theme="dark", chat_with="gguf", notifications=False, reduce_motion=True)
    session.settings_changed.emit()
    rows = dialog.comfort
    assert (rows.size.value(), rows.notices.isChecked(), rows.still.isChecked(), rows.chat.current(),
            rows.evaluates.isChecked(), rows.measure.isChecked()) == (120, False, True, 1, True, True)
    assert dialog.scheme.current() == THEMES.index("dark")
    assert before == Settings(evaluate_at_end=False, measure_plans=False)
    rows.size.setValue(130)
    assert (session.settings.text_size, before.text_size) == (130, 100)
    assert rows.size.focusPolicy() == Qt.FocusPolicy.StrongFocus, "the wheel scrolls the page"
    theme.apply(qapp, "light", 100)


def test_panes_stay_as_they_were(qtbot, session):
    kept = session.settings

    def make() -> Panes:
        panes = Panes(session, "runs", (QWidget(), QWidget()), (1, 1))
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
