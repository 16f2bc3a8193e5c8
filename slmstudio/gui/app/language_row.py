"""The language of the program, as a row of the settings."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core import i18n
from slmstudio.core.i18n import tr
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.widgets.fields import ComboBox


class LanguageChoice(ComboBox):
    """Languages by the names that their speakers use, after the system's.

    Signals:
        language_chosen(str): the person wants this one: a code, or "" for the system's. The settings have it already.
    """

    language_chosen = Signal(str)

    def __init__(self, session: Session, parent: QWidget | None = None):
        super().__init__(parent)
        self._session = session
        self.setObjectName("settings_language")
        self.setAccessibleName(tr("Language"))
        self.setToolTip(tr("Language of the window, the terminal and the reports. It changes at once; what runs keeps "
                           "running."))
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
        code = self.currentData()
        if code != self._session.settings.language:
            self._session.settings.language = code
            self.language_chosen.emit(code)
