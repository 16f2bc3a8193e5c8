"""Calls of other programs by D-Bus, as of the desktop portal. The window never waits for an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtDBus import QDBusConnection, QDBusMessage, QDBusPendingCallWatcher

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
