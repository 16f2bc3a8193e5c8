"""What Qt itself writes, in its buttons, its dialogs and the menus of its fields; and Qt's numbers and direction.

Qt has translations for some languages, but not for those of India. So the words that people meet here are messages of
the program, in its catalogues like all others.
"""

from __future__ import annotations

import json

from PySide6.QtCore import QLibraryInfo, QLocale, QObject, Qt, QTranslator
from PySide6.QtWidgets import QApplication

from slmstudio.core import i18n, paths
from slmstudio.core.i18n import tr

_ANYWHERE: dict[str, str] = json.loads((paths.resources() / "qt_texts.json").read_text(encoding="utf-8"))
"""Qt's English, without the marks of its keys, and ours."""


class _OurWords(QTranslator):
    """Asked by Qt for each of its texts, on any thread."""

    def isEmpty(self) -> bool:
        return False

    def translate(self, context: str, sourceText: str, disambiguation: str | None = None, n: int = -1) -> str:
        message = _ANYWHERE.get(sourceText.replace("&", ""))
        # An empty answer lets Qt look further, and in the end write its own English.
        return tr(message) if message is not None else ""


def speak(app: QApplication) -> None:
    """Let Qt write as the program does: its words, its numbers, and from the side where reading begins."""
    for before in app.findChildren(QTranslator):
        app.removeTranslator(before)
        before.setParent(None)
    code = i18n.language()
    if code != i18n.messages.SOURCE:
        _install(app, _qts_own(app, code))
        _install(app, _OurWords(app))  # asked first
    QLocale.setDefault(QLocale("en_GB" if i18n.messages.is_english() else code))
    app.setLayoutDirection(Qt.LayoutDirection.RightToLeft if i18n.is_right_to_left() else
                           Qt.LayoutDirection.LeftToRight)


def _qts_own(parent: QObject, code: str) -> QTranslator | None:
    """The translation that comes with Qt, where there is one."""
    found = QTranslator(parent)
    folder = QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath)
    return found if found.load(f"qtbase_{code}", folder) else None


def _install(app: QApplication, translator: QTranslator | None) -> None:
    if translator is not None:
        app.installTranslator(translator)
