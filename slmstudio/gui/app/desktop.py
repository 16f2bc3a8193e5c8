"""Tells of what has ended while the window is behind others, and shows how far the running job is."""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from PySide6.QtCore import QObject, QTimer
from PySide6.QtWidgets import QApplication, QSystemTrayIcon, QWidget

from slmstudio.core.i18n import tr
from slmstudio.gui.common.session import Notice, Session
from slmstudio.gui.common.widgets.banner import ErrorBanner, announce

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
        session.notice.connect(self._report)
        session.job_changed.connect(self._show_progress)

    def _report(self, notice: Notice) -> None:
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

        self._notices = notices
        self._taskbar = WindowsTaskbar(int(window.winId())) if sys.platform == "win32" else None

    def notify(self, notice: Notice, otherwise: Callable[[], object]) -> None:
        self._notices.show_in_tray(notice)

    def show_progress(self, done: float | None) -> None:
        if self._taskbar is not None:
            self._taskbar.show_progress(done)


def _desktop_of_system(notices: DesktopNotices, window: QWidget) -> Desktop:
    if sys.platform.startswith("linux"):
        from slmstudio.gui.common.session_bus import LinuxDesktop

        return LinuxDesktop()
    return _TrayAlone(notices, window)


# -- Progress in Windows' taskbar: ITaskbarList3, a COM interface, called by its place in the table of methods.

_log = logging.getLogger(__name__)
CLSID_TASKBAR_LIST = "{56FDF344-FD6D-11D0-958A-006097C9A090}"
IID_TASKBAR_LIST_3 = "{EA1AFB91-9E28-4B86-90E9-9E9F8A5EEFAF}"
HR_INIT, SET_PROGRESS_VALUE, SET_PROGRESS_STATE = 3, 9, 10
"""Places of methods: three of IUnknown, five of ITaskbarList, one of ITaskbarList2, then these."""
NO_PROGRESS, NORMAL = 0, 2
CLSCTX_INPROC_SERVER = 1
STEPS = 1000


class WindowsTaskbar:
    """The progress on the button of one window.

    Args:
        window: its handle.
    """

    def __init__(self, window: int):
        self._window = window
        self._list: ctypes.c_void_p | None = None
        try:
            self._list = self._make()
        except OSError as error:
            _log.info("The taskbar shows no progress: %s", error)

    def _make(self) -> ctypes.c_void_p:
        ole: Any = ctypes.OleDLL("ole32")  # type: ignore[attr-defined]
        ole.CoInitialize(None)
        ids = []
        for text in (CLSID_TASKBAR_LIST, IID_TASKBAR_LIST_3):
            found = (ctypes.c_byte * 16)()
            ole.CLSIDFromString(ctypes.c_wchar_p(text), found)
            ids.append(found)
        made = ctypes.c_void_p()
        ole.CoCreateInstance(ids[0], None, CLSCTX_INPROC_SERVER, ids[1], ctypes.byref(made))
        self._call(made, HR_INIT)
        return made

    def _call(self, made: ctypes.c_void_p, place: int, *arguments: Any) -> None:
        table = ctypes.cast(made, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p)))[0]
        kinds = [type(each) for each in arguments]
        method = ctypes.WINFUNCTYPE(ctypes.HRESULT, ctypes.c_void_p, *kinds)(table[place])  # type: ignore[attr-defined]
        method(made, *arguments)

    def show_progress(self, done: float | None) -> None:
        """From 0 to 1; None takes it away."""
        if self._list is None:
            return
        window = ctypes.c_void_p(self._window)
        try:
            self._call(self._list, SET_PROGRESS_STATE, window, ctypes.c_int(NO_PROGRESS if done is None else NORMAL))
            if done is not None:
                self._call(self._list, SET_PROGRESS_VALUE, window, ctypes.c_ulonglong(round(STEPS * done)),
                           ctypes.c_ulonglong(STEPS))
        except OSError as error:
            _log.info("The taskbar shows no progress: %s", error)
            self._list = None
