"""Notifications and taskbar progress on Linux, by D-Bus. Nobody waits for an answer.

Notifications go to the desktop portal: the older `org.freedesktop.Notifications` wants an unsigned number, which can't
be sent from Python. Progress is a signal that docks and panels listen to (`com.canonical.Unity.LauncherEntry`, which
Ubuntu's dock, KDE's taskbar and others understand).
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QCoreApplication
from PySide6.QtDBus import QDBusConnection, QDBusMessage

from slmstudio.gui.common.session import Notice
from slmstudio.gui.common.session_bus import PORTAL, PORTAL_PATH, ask

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
