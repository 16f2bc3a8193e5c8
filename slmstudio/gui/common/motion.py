"""Whether animations are shown, by the user's choice or the system's setting, which Qt doesn't report."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication

from slmstudio.gui.common import theme

SPI_GETCLIENTAREAANIMATION = 0x1042


def set_still(app: QApplication, wanted: bool | None) -> None:
    """Turn animations off or on.

    Args:
        wanted: None follows the system.
    """
    if wanted is None:
        _ask_system(partial(_set_still, app))
    else:
        _set_still(app, wanted)


def _set_still(app: QApplication, still: bool) -> None:
    theme.THEME.still = still
    for effect in (Qt.UIEffect.UI_AnimateMenu, Qt.UIEffect.UI_FadeMenu, Qt.UIEffect.UI_AnimateCombo,
                   Qt.UIEffect.UI_AnimateTooltip, Qt.UIEffect.UI_FadeTooltip):
        app.setEffectEnabled(effect, not still)


def _ask_system(told: Callable[[bool], object]) -> None:
    """Ask the desktop: on Linux through its portal, on Windows by SystemParametersInfo (not tried there yet).

    Args:
        told: is called with whether animations are off, at once or as soon as the desktop has answered.
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
