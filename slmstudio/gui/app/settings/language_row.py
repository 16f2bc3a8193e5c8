"""The language of the program, as a row of the settings."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QSignalBlocker, Signal

from slmstudio.core import i18n
from slmstudio.core.i18n import tr
from slmstudio.gui.common.announce import announce
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.widgets.fields import ComboBox, named
from slmstudio.gui.common.widgets.labels import show_text, text_label


class LanguageChoice(ComboBox):
    """Languages by the names that their speakers use, after the system's.

    Signals:
        language_chosen(str): the user wants this one: a code, or "" for the system's. The settings have it already.

    Attributes:
        note: says below the box why the language can't be changed now.
    """

    language_chosen = Signal(str)

    def __init__(self, session: Session, why_not_now: Callable[[], str]):
        """
        Args:
            why_not_now: why the language can't be changed now; "" if it can.
        """
        super().__init__()
        self._session, self._why_not_now = session, why_not_now
        self.note = text_label("", "small", wrap=True, name="settings_language_note", tone="warn")
        self.note.hide()
        named(self, "settings_language", tr("Language"),
              tr("Language of the window, the terminal and the reports. It changes at once, and running jobs "
                 "continue."))
        names = i18n.available()
        system = i18n.system_language()
        self.addItem(tr("Same as the system ({language})", language=names.get(system, system)), "")
        for code, name in names.items():
            self.addItem(name, code)
        self._show()
        session.settings_changed.connect(self._show)  # another folder has settings of its own
        self.activated.connect(self._choose)

    def _show(self) -> None:
        with QSignalBlocker(self):
            self.setCurrentIndex(max(0, self.findData(self._session.settings.language)))

    def _choose(self) -> None:
        code, why = self.currentData(), ""
        if code != self._session.settings.language:
            why = self._why_not_now()
        show_text(self.note, why)
        if why:
            self._show()
            announce(self, why)
        elif code != self._session.settings.language:
            self._session.settings.language = code
            self.language_chosen.emit(code)
