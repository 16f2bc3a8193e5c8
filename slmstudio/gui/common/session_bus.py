"""Calls of other programs by D-Bus: of the desktop portal, and of the docks that show progress. The window never waits
for an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QCoreApplication
from PySide6.QtDBus import QDBusConnection, QDBusMessage, QDBusPendingCallWatcher

from slmstudio.gui.common.session import Notice

PORTAL, PORTAL_PATH = "org.freedesktop.portal.Desktop", "/org/freedesktop/portal/desktop"
_waiting: set[QDBusPendingCallWatcher] = set()
"""Keeps each call alive until its answer has come; nobody else needs to hold it."""


def ask(call: QDBusMessage, answered: Callable[[list[Any] | None], object]) -> None:
    """Call a method of another program.

    Args:
        answered: is given what the method returned; None if there is no bus, no such program, or it refused.
    """
    bus = QDBusConnection.sessionBus()
    if not bus.isConnected():
        answered(None)
        return
    watcher = QDBusPendingCallWatcher(bus.asyncCall(call))

    def finished() -> None:
        _waiting.discard(watcher)
        answered(None if watcher.isError() else watcher.reply().arguments())

    _waiting.add(watcher)
    watcher.finished.connect(finished)


# -- Notifications and taskbar progress on Linux, by D-Bus. Nobody waits for an answer.

NOTIFICATIONS = "org.freedesktop.portal.Notification"
LAUNCHER = "com.canonical.Unity.LauncherEntry"
DESKTOP_FILE = "slmstudio.desktop"


def notification(notice: Notice) -> QDBusMessage:
    """The call that shows a notice. A later one takes the place of the one before."""
    message = QDBusMessage.createMethodCall(PORTAL, PORTAL_PATH, NOTIFICATIONS, "AddNotification")
    message.setArguments(["ended", {"title": notice.title, "body": notice.text,
                                    "priority": "high" if notice.urgent else "normal"}])
    return message


def progress(done: float | None) -> QDBusMessage:
    """The signal that shows progress on the program's icon.

    Args:
        done: from 0 to 1; None takes it away.
    """
    message = QDBusMessage.createSignal(f"/{QCoreApplication.applicationName() or 'slmstudio'}", LAUNCHER, "Update")
    message.setArguments([f"application://{DESKTOP_FILE}",
                          {"progress": float(done or 0.0), "progress-visible": done is not None}])
    return message


class LinuxDesktop:
    """Sends both to the session's bus, where there is one."""

    def __init__(self) -> None:
        self._bus = QDBusConnection.sessionBus()

    def notify(self, notice: Notice, otherwise: Callable[[], object]) -> None:
        """Show a notice.

        Args:
            otherwise: is called, perhaps later, where nobody shows it.
        """
        ask(notification(notice), lambda answer: otherwise() if answer is None else None)

    def show_progress(self, done: float | None) -> None:
        if self._bus.isConnected():
            self._bus.send(progress(done))
