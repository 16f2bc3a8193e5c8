"""Starts the window and ends it: logging, unhandled errors, the machine's state after the first paint."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from PySide6.QtCore import QMessageLogContext, QObject, Qt, QTimer, QtMsgType, Signal, qInstallMessageHandler
from PySide6.QtWidgets import QApplication, QDialog, QMessageBox

from slmstudio.core import files, home_folder, paths, settings
from slmstudio.core.errors import Problem, UserError, from_os_error
from slmstudio.core.i18n import tr
from slmstudio.gui.app import qt_texts
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.app.single_instance import SingleInstance
from slmstudio.gui.common import tasks, theme
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import GarbageCollector

if TYPE_CHECKING:
    from slmstudio.core.jobs.job import Job
    from slmstudio.gui.data.tab import DataTab
    from slmstudio.gui.model.tab import ModelTab

LOG_LIMIT = 2_000_000
LOG_HANDLER = "slmstudio.log"
UI_TURN_SECONDS = 0.0001
"""How long a thread at work may keep the interpreter while the UI thread waits for it; a paint waits many times."""
_log = logging.getLogger("slmstudio")
_QT_LEVELS = {QtMsgType.QtDebugMsg: logging.DEBUG, QtMsgType.QtInfoMsg: logging.INFO,
              QtMsgType.QtWarningMsg: logging.WARNING, QtMsgType.QtCriticalMsg: logging.ERROR,
              QtMsgType.QtFatalMsg: logging.CRITICAL}


class _Defects(QObject):
    """Carries an unhandled exception of any thread to the window."""

    raised = Signal(object)


def main(quit_after_paint: bool = False, files: Sequence[Path] = ()) -> int:
    """Open the window and stay until it is closed.

    Args:
        quit_after_paint: quit once everything was painted: how the start is measured and checked.
        files: opened once the window is there, each in the tab that it belongs to.

    Returns:
        the exit status.
    """
    sys.setswitchinterval(UI_TURN_SECONDS)
    app = QApplication.instance() or QApplication(["slmstudio"])
    assert isinstance(app, QApplication)
    garbage = GarbageCollector(app)
    app.setApplicationName("slmstudio")
    app.setApplicationDisplayName("SLM Studio")
    app.setDesktopFileName("slmstudio")
    qt_texts.speak(app)
    missing = home_folder.missing()
    if missing is not None and not _found_again(app, missing, ask=not quit_after_paint):
        print(f"error: {missing}", file=sys.stderr)
        return 2
    instance = None if quit_after_paint else _claim_instance(app)
    if instance is not None and not instance.claim() and not _opens_another(app, instance, files):
        return 0
    home_folder.keep_private(paths.home())
    log_trouble = _start_logging()
    chosen, trouble = settings.load()
    theme.apply(app, chosen.theme, chosen.text_size)
    shown = [MainWindow(Session(chosen))]  # holds the window alone: one that another replaces is forgotten
    _begin(app, shown, garbage, files, [error for error in (log_trouble, trouble) if error is not None],
           quit_after_paint=quit_after_paint)
    if instance is not None:
        shown[0].painted.connect(lambda: instance.listen(lambda named: _come_forward(shown[0], named)))
    # Ctrl+C in the terminal ends the window at once. Runs are processes of their own and continue.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    status = app.exec()
    tasks.shut_down()
    return status


def _claim_instance(app: QApplication) -> SingleInstance | None:
    try:
        return SingleInstance(app)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return None


def _opens_another(app: QApplication, instance: SingleInstance, files: Sequence[Path]) -> bool:
    """Whether this start opens a window although one is open: if that one doesn't answer, and the user wants it."""
    from slmstudio.gui.common.dialogs import question

    if instance.hand_over(files):
        return False
    if instance.claim():
        return True  # it has just been closed
    error = UserError(tr("SLM Studio is already open, but its window isn't responding."),
                      tr("It is very busy, or has stopped responding. Training runs continue in any case."),
                      tr("Wait a little and start SLM Studio again, or open another window."))
    print(f"error: {error}", file=sys.stderr, flush=True)
    theme.apply(app)
    box = question(None, "SLM Studio", error.what, f"{error.why} {error.remedy}")
    another = box.addButton(tr("Open another window"), QMessageBox.ButtonRole.AcceptRole)
    box.addButton(QMessageBox.StandardButton.Cancel)
    box.exec()
    return box.clickedButton() is another


def _come_forward(window: MainWindow, files: Sequence[Path]) -> None:
    """Somebody has started the program again: show the window, and open what that start was given."""
    from slmstudio.gui.app import single_instance

    window.setWindowState(window.windowState() & ~Qt.WindowState.WindowMinimized)
    window.show()
    window.raise_()
    window.activateWindow()
    if files:
        single_instance.open_files(files, window.session, window)


def _begin(app: QApplication, shown: list[MainWindow], garbage: GarbageCollector, files: Sequence[Path],
           troubles: list[UserError], *, quit_after_paint: bool) -> None:
    """Show the first window."""
    window, chosen = shown[0], shown[0].session.settings
    _connect(app, shown, garbage)
    for error in troubles:
        window.show_error(error)
    if not files and not chosen.welcomed and not home_folder.kept(paths.home()):
        window.open_welcome()
    else:
        window.open_first_page()
    if quit_after_paint:
        window.ready.connect(app.quit)
    else:
        window.painted.connect(lambda: _after_paint(app, window))
        window.painted.connect(lambda: _open_last(window, files))
    window.show()


def _connect(app: QApplication, shown: list[MainWindow], garbage: GarbageCollector) -> None:
    """What every window has: the first, and those that speak another language after it.

    Args:
        shown: the window; one in another language takes its place there.
    """
    window = shown[0]
    _catch_defects(window)
    window.session.place_changed.connect(lambda: _log_elsewhere(window))
    if (instance := app.findChild(SingleInstance)) is not None:
        window.session.place_changed.connect(instance.move)
    window.ready.connect(garbage.keep_what_is_there)

    def open_again() -> None:
        garbage.let_go_of_it()
        shown[0] = open_in_language(app, window)
        _connect(app, shown, garbage)

    # Not at once: what asks for it is a part of the window that goes. And once: it may be asked twice by then.
    soon = QTimer(window, interval=0, singleShot=True, timeout=open_again)
    window.session.language_changed.connect(soon.start)


def open_in_language(app: QApplication, old: MainWindow) -> MainWindow:
    """Open the window again, in its place and in the language of the settings. Widgets get their texts when they are
    made, so all are made again; jobs are processes of their own, which continue."""
    from slmstudio.core import i18n

    settings_were_open = any(each.isVisible() for each in old.findChildren(QDialog, "settings"))
    session = old.leave()
    i18n.use(session.settings.language or i18n.system_language())
    qt_texts.speak(app)
    app.setFont(theme.base_font())
    window = MainWindow(session)
    if old.welcome_is_open():
        window.open_welcome()
    else:
        window.open_first_page()
    window.painted.connect(old.hide)
    window.painted.connect(old.deleteLater)
    window.painted.connect(lambda: _after_paint(app, window))
    if settings_were_open:
        window.painted.connect(lambda: window.open_settings().language.setFocus())
    window.show()
    window.activateWindow()
    return window


def _after_paint(app: QApplication, window: MainWindow) -> None:
    """What the user need not wait for."""
    from PySide6.QtGui import QIcon

    from slmstudio.gui.app.desktop import DesktopNotices
    from slmstudio.gui.app.frame import NetworkLock, Sensors

    session = window.session
    app.setWindowIcon(QIcon(str(paths.resources() / "icons" / "slmstudio.svg")))
    theme.set_still(app, session.settings.reduce_motion)
    Sensors(session, window.header, window)
    NetworkLock(session, window.header, window)
    DesktopNotices(session, window)
    if window.welcome is not None:
        window.welcome.look()
    prepare_starter(session, window)
    window.notice.look()
    window.ready.connect(window.prepare_pages)


def _open_last(window: MainWindow, files: Sequence[Path]) -> None:
    """What was open when the window was closed, and the files that the program is started with."""
    from slmstudio.gui.app import single_instance

    session = window.session
    if session.settings.datasets:
        cast("DataTab", window.page("data")).restore()
    restore_model(session, window)
    look_for_runs(session, window)
    report_of_wsl(session, window)
    if files:
        single_instance.open_files(files, session, window)


def _found_again(app: QApplication, missing: UserError, *, ask: bool) -> bool:
    """Whether there is a folder to work in after all: the missing one, or another that the user chooses now."""
    if not ask:
        return False
    from slmstudio.gui.app.home_folder import PlaceMissing

    theme.apply(app)
    return PlaceMissing(missing).exec() == PlaceMissing.DialogCode.Accepted


def prepare_starter(session: Session, window: MainWindow) -> None:
    """Prepare the starter model in the background where it isn't there yet."""
    from slmstudio.core.model import library

    if session.settings.prepare_starter and not library.starter_folder().is_dir():
        page = cast("ModelTab", window.page("model"))
        if window.welcome is not None:
            window.welcome.show_preparation(page.work)
        page.prepare_starter()


def restore_model(session: Session, window: MainWindow) -> None:
    """Choose the base model that was chosen when the window was closed."""
    from slmstudio.core.model.facts import read_model

    folder = session.settings.model
    if folder:
        tasks.run_task(window, lambda task: read_model(Path(folder)),
                       lambda facts: session.set_model(facts) if session.model is None else None)


def look_for_runs(session: Session, window: MainWindow) -> None:
    """Follow a run that continued without the window, or has ended without it, or say that one was cut off."""
    from slmstudio.core.run.folder import wanting_attention

    def found(job: Job | None) -> None:
        if job is not None and session.run is None:
            session.start_run(job)
            session.go_to("training")

    tasks.run_task(window, lambda task: wanting_attention(evaluates=session.settings.evaluate_at_end), found)


def report_of_wsl(session: Session, window: MainWindow, root: Path = Path("/")) -> None:
    """Say once what is different, or to be fixed, where Linux runs inside Windows.

    Args:
        root: where the files are that tell; see `wsl`.
    """
    from slmstudio.core.hardware import wsl

    def found(notes: list[wsl.Finding]) -> None:
        new = [note for note in notes if note.id not in session.settings.told]
        if not new or window.banner.error is not None:
            return  # another message is there: next time
        session.settings.told += [note.id for note in new]
        session.report_settings_changed()
        if not window.welcome_is_open():  # that page has them
            window.show_error(new[0] if len(new) == 1 else UserError(
                tr("SLM Studio runs inside Windows (WSL). Some things need attention."),
                problems=[Problem(str(note)) for note in new]))

    tasks.run_task(window, lambda task: wsl.findings(home_folder.absolute(paths.home()), root), found)


def _log_elsewhere(window: MainWindow) -> None:
    trouble = _start_logging()
    if trouble is not None:
        window.show_error(trouble)


def _start_logging() -> UserError | None:
    """Log to the program's log file, and to no other. Returns what a user should know when that can't be done."""
    path = paths.log_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            open(path, "ab", opener=files.regular).close()
        handler: logging.Handler = RotatingFileHandler(path, maxBytes=LOG_LIMIT, backupCount=1, encoding="utf-8",
                                                       delay=True)
        trouble = None
    except OSError as error:
        handler = logging.StreamHandler()
        trouble = from_os_error(error, tr("Could not write the log."))
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.set_name(LOG_HANDLER)
    root = logging.getLogger()
    for other in [known for known in root.handlers if known.name == LOG_HANDLER]:
        root.removeHandler(other)
        other.close()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    qInstallMessageHandler(_log_qt)
    return trouble


def _log_qt(kind: QtMsgType, context: QMessageLogContext, message: str) -> None:
    logging.getLogger("qt").log(_QT_LEVELS.get(kind, logging.WARNING), "%s", message)


def _catch_defects(window: MainWindow) -> None:
    """An unhandled exception is logged and shown; the program continues."""
    defects = _Defects(window)
    defects.raised.connect(window.show_error)

    def hook(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt) or not isinstance(error, Exception):
            sys.__excepthook__(kind, error or kind(), trace)
            return
        _log.critical("An unhandled error.", exc_info=(kind, error, trace))
        defects.raised.emit(home_folder.explain(error, tr("Could not continue."))
                            if isinstance(error, OSError) else error)

    def thread_hook(args: Any) -> None:
        hook(args.exc_type, args.exc_value, args.exc_traceback)

    sys.excepthook = hook
    threading.excepthook = thread_hook
