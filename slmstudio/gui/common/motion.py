"""Whether the system is set to show no animations. Qt doesn't tell."""

from __future__ import annotations

import sys

PORTAL, PATH = "org.freedesktop.portal.Desktop", "/org/freedesktop/portal/desktop"
WAIT_MS = 200
SPI_GETCLIENTAREAANIMATION = 0x1042


def system_is_still() -> bool:
    """Asks the desktop: Linux by its portal, Windows by SystemParametersInfo (not tried there yet)."""
    if sys.platform == "win32":
        import ctypes

        moves = ctypes.c_int(1)
        ctypes.windll.user32.SystemParametersInfoW(SPI_GETCLIENTAREAANIMATION, 0, ctypes.byref(moves), 0)
        return not moves.value
    if not sys.platform.startswith("linux"):
        return False
    from PySide6.QtDBus import QDBus, QDBusConnection, QDBusMessage

    bus = QDBusConnection.sessionBus()
    if not bus.isConnected() or not bus.interface().isServiceRegistered(PORTAL).value():
        return False
    question = QDBusMessage.createMethodCall(PORTAL, PATH, "org.freedesktop.portal.Settings", "ReadOne")
    question.setArguments(["org.gnome.desktop.interface", "enable-animations"])
    answer = bus.call(question, QDBus.CallMode.Block, WAIT_MS).arguments()
    found = answer[0] if answer else True
    return (found.variant() if hasattr(found, "variant") else found) is False
