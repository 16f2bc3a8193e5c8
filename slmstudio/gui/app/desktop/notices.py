"""Tells of what has ended while the window is behind others, and shows how far the running job is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Protocol

from PySide6.QtCore import QObject, QTimer
from PySide6.QtWidgets import QApplication, QSystemTrayIcon, QWidget

from slmstudio.core.i18n import tr
from slmstudio.gui.common.announce import announce
from slmstudio.gui.common.session import Notice, Session
from slmstudio.gui.common.widgets.banner import ErrorBanner

SHOWN_MS = 10_000


class Desktop(Protocol):
    """What shows notices and progress."""

    def notify(self, notice: Notice, otherwise: Callable[[], object]) -> None: ...

    def show_progress(self, done: float | None) -> None: ...


class DesktopNotices(QObject):
    """Listens to the session.

    Args:
        desktop: by default that of the system.
    """

    def __init__(self, session: Session, window: QWidget, desktop: Desktop | None = None):
        super().__init__(window)
        self._session, self._window = session, window
        self._tray: QSystemTrayIcon | None = None
        self._progress: float | None = None
        self._desktop = desktop if desktop is not None else _desktop_of_system(self, window)
        session.notice.connect(self._tell)
        session.job_changed.connect(self._show_progress)

    def _tell(self, notice: Notice) -> None:
        QTimer.singleShot(0, self, partial(self._announce, notice))  # only then a banner tells about it, too
        if QApplication.activeWindow() is not None or not self._session.settings.notifications:
            return  # the window itself isn't the active one while a dialog of its own is open
        QApplication.alert(self._window)
        self._desktop.notify(notice, partial(self.show_in_tray, notice))

    def _announce(self, notice: Notice) -> None:
        banners = self._window.findChildren(ErrorBanner)
        if not any(each.isVisible() and each.accessibleName() in notice.text for each in banners):
            announce(self._window, tr("{title}: {text}", title=notice.title, text=notice.text),
                     urgent=notice.urgent)

    def show_in_tray(self, notice: Notice) -> None:
        """A message beside the clock, where there is such a place."""
        if not QSystemTrayIcon.isSystemTrayAvailable():
            return
        if self._tray is None:
            self._tray = QSystemTrayIcon(self._window.windowIcon(), self)
            self._tray.messageClicked.connect(self._come_forward)
            self._tray.activated.connect(self._come_forward)
        self._tray.show()
        icon = QSystemTrayIcon.MessageIcon.Warning if notice.urgent else QSystemTrayIcon.MessageIcon.Information
        self._tray.showMessage(notice.title, notice.text, icon, SHOWN_MS)

    def _come_forward(self) -> None:
        self._window.showNormal() if self._window.isMinimized() else self._window.show()
        self._window.raise_()
        self._window.activateWindow()
        if self._tray is not None:
            self._tray.hide()

    def _show_progress(self) -> None:
        job = self._session.job
        done = None if job is None or not self._session.settings.notifications else (
            round(job.done / job.total, 2) if job.total else 0.0)
        if done != self._progress:
            self._progress = done
            self._desktop.show_progress(done)


class _TrayAlone:
    """Notices beside the clock; progress where Windows' taskbar shows it."""

    def __init__(self, notices: DesktopNotices, window: QWidget):
        from slmstudio.gui.app.desktop.windows import WindowsTaskbar

        self._notices = notices
        self._taskbar = WindowsTaskbar(int(window.winId())) if sys.platform == "win32" else None

    def notify(self, notice: Notice, otherwise: Callable[[], object]) -> None:
        self._notices.show_in_tray(notice)

    def show_progress(self, done: float | None) -> None:
        if self._taskbar is not None:
            self._taskbar.show_progress(done)


def _desktop_of_system(notices: DesktopNotices, window: QWidget) -> Desktop:
    if sys.platform.startswith("linux"):
        from slmstudio.gui.app.desktop.linux import LinuxDesktop

        return LinuxDesktop()
    return _TrayAlone(notices, window)
