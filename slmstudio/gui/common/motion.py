"""Whether the system is set to show no animations. Qt doesn't tell."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

SPI_GETCLIENTAREAANIMATION = 0x1042


def ask_system(told: Callable[[bool], object]) -> None:
    """Ask the desktop: Linux by its portal, Windows by SystemParametersInfo (not tried there yet).

    Args:
        told: is given whether nothing is to move, at once or as soon as the desktop has answered.
    """
    if sys.platform == "win32":
        import ctypes

        moves = ctypes.c_int(1)
        ctypes.windll.user32.SystemParametersInfoW(SPI_GETCLIENTAREAANIMATION, 0, ctypes.byref(moves), 0)
        told(not moves.value)
        return
    if not sys.platform.startswith("linux"):
        told(False)
        return
    from PySide6.QtDBus import QDBusMessage

    from slmstudio.gui.common.session_bus import PORTAL, PORTAL_PATH, ask

    def answered(answer: list[Any] | None) -> None:
        found = answer[0] if answer else True
        told((found.variant() if hasattr(found, "variant") else found) is False)

    question = QDBusMessage.createMethodCall(PORTAL, PORTAL_PATH, "org.freedesktop.portal.Settings", "ReadOne")
    question.setArguments(["org.gnome.desktop.interface", "enable-animations"])
    ask(question, answered)
