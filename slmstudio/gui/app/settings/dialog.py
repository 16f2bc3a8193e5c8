"""The few things that are the same for every run, and the address of the hub that models come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QApplication, QCheckBox, QDialog, QHBoxLayout, QLineEdit, QWidget

from slmstudio.core import i18n
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model.hub import place
from slmstudio.core.settings import CHAT_WITH, TEXT_SIZES, THEMES
from slmstudio.gui.app.home_folder_row import PlaceRow
from slmstudio.gui.app.settings.energy_row import EnergyRow
from slmstudio.gui.common import motion, theme
from slmstudio.gui.common.announce import announce
from slmstudio.gui.common.dialogs import MARGIN
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.widgets.areas import ScrolledIfNeeded, plain_page
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton, SegmentedControl
from slmstudio.gui.common.widgets.fields import ComboBox, SpinBox, named, number_field
from slmstudio.gui.common.widgets.labels import show_text, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, row_of

# -- The language of the program, as a row of the settings.


class LanguageChoice(ComboBox):
    """Languages by the names that their speakers use, after the system's.

    Attributes:
        note: says below the box why the language can't be changed now.
    """

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
            self._session.change_language(code)


# -- How the window shows things, and what it tells: text size, motion, notifications, and how Chat opens a run.


class ComfortRows(QWidget):
    """Rows of the settings; they apply at once.

    Signals:
        changed: the settings hold other values.
    """

    changed = Signal()

    def __init__(self, session: Session):
        super().__init__()
        self._session = session
        self._make_text_size()
        self.still = named(QCheckBox(tr("Turn off animations")), "settings_still",
                           tip=tr("Nothing moves by itself. The system's setting applies until you change this."))
        self.notices = named(QCheckBox(tr("Notify me when training, an export or an evaluation ends")),
                             "settings_notifications",
                             tip=tr("Only while this window is behind others. The taskbar shows progress too, where "
                                    "the desktop can."))
        self.chat = SegmentedControl([tr("At once"), tr("As a GGUF file")],
                                     tooltips=[tr("Loads the adapter on its base model. It needs no export, but more "
                                                  "memory."),
                                               tr("Makes a GGUF file first where there is none. It answers faster "
                                                  "without a graphics card.")], name="settings_chat")
        self.chat.setAccessibleName(tr("How Chat opens a finished run"))
        column_in(self, _line(tr("Text size"), number_field(self.size)), self.still, self.notices,
                  _line(tr("Open finished runs in Chat"), self.chat))
        self._show()
        session.settings_changed.connect(self._show)  # another folder has settings of its own
        self.still.toggled.connect(self._set_still)
        self.notices.toggled.connect(self._set_notices)
        self.chat.changed.connect(self._set_chat)

    def _make_text_size(self) -> None:
        self.size = named(SpinBox(), "settings_text_size", tr("Text size"),
                          tr("Percent of the usual size. Ctrl+Plus and Ctrl+Minus change it anywhere."))
        self.size.setRange(*TEXT_SIZES)
        self.size.setSingleStep(10)
        self.size.setSuffix(tr("%"))
        self.size.setKeyboardTracking(False)
        self.size.valueChanged.connect(self._set_size)

    def _show(self) -> None:
        known = self._session.settings
        with (QSignalBlocker(self.size), QSignalBlocker(self.still), QSignalBlocker(self.notices),
              QSignalBlocker(self.chat)):
            self.size.setValue(known.text_size)
            self.still.setChecked(theme.THEME.still if known.reduce_motion is None else known.reduce_motion)
            self.notices.setChecked(known.notifications)
            self.chat.set_current(CHAT_WITH.index(known.chat_with))

    def _set_size(self, percent: int) -> None:
        self._session.settings.text_size = percent
        theme.apply(cast("QApplication", QApplication.instance()), self._session.settings.theme, percent)
        self.changed.emit()

    def _set_still(self, on: bool) -> None:
        self._session.settings.reduce_motion = on
        motion.set_still(cast("QApplication", QApplication.instance()), on)
        self.changed.emit()

    def _set_notices(self, on: bool) -> None:
        self._session.settings.notifications = on
        self.changed.emit()

    def _set_chat(self, index: int) -> None:
        self._session.settings.chat_with = CHAT_WITH[index]
        self.changed.emit()


def _line(name: str, field: QWidget) -> QHBoxLayout:
    return row_of(text_label(name), STRETCH, field, spacing=None)


LEAST_HEIGHT = 240
"""Pixels that the rows keep at least."""


class SettingsDialog(QDialog):
    """Theme, what electricity costs, where everything is kept, and where models come from. Changes apply at once."""

    def __init__(self, session: Session, parent: QWidget | None = None,
                 why_no_language_now: Callable[[], str] = lambda: ""):
        """
        Args:
            why_no_language_now: why the language can't be changed now; "" if it can.
        """
        super().__init__(parent)
        self._session = session
        self.setObjectName("settings")
        self.setWindowTitle(tr("Settings"))
        self.scheme = named(SegmentedControl([tr("Follow the system"), tr("Light"), tr("Dark")]), "settings_theme",
                            tr("Colours"),
                            tr("Colours of the window. Change them if the system's choice tires your eyes."))
        self._show_theme()
        session.settings_changed.connect(self._show_theme)  # another folder has settings of its own
        self.scheme.changed.connect(self._set_theme)
        self.banner = ErrorBanner()
        page = plain_page()
        page.setMinimumWidth(520)
        column = column_in(page, self.banner, margins=(0, 0, theme.SPACE_S, 0))
        self.language = LanguageChoice(session, why_no_language_now)
        self.comfort = ComfortRows(session)
        self.comfort.changed.connect(self._save)
        self.energy = EnergyRow(session)
        self.energy.changed.connect(self._save)
        self.hub = HubAddress(session)
        self.hub.refused.connect(self._hub_refused)
        for title, *widgets in (
            (tr("Language"), self.language, self.language.note),
            (tr("Colours"), self.scheme, self.comfort),
            (tr("Electricity"), self.energy),
            (tr("Where runs, models and chats are kept"), PlaceRow(session)),
            (tr("Address of the model hub"), self.hub),
        ):
            column.addWidget(text_label(title, "section"))
            for widget in widgets:
                column.addWidget(widget)
            column.addSpacing(theme.SPACE_M)
        column.addStretch(1)
        self._area = ScrolledIfNeeded(page, LEAST_HEIGHT)
        column_in(self, (self._area, 1), self._close_row(), spacing=theme.SPACE_M, margins=theme.SPACE_L)
        if parent is not None:
            self.setMaximumHeight(max(LEAST_HEIGHT, parent.height() - MARGIN))

    def _close_row(self) -> QHBoxLayout:
        close = PrimaryButton(tr("Done"), tr("Close the settings. They're already saved."), name="settings_close",
                              clicked=self.accept)
        welcome = SecondaryButton(tr("Welcome page"), tr("Show the welcome page again: what this machine has, and "
                                                         "how to begin."),
                                  name="settings_welcome", clicked=self.accept)
        welcome.clicked.connect(lambda: self._session.go_to("welcome"))
        doctor = SecondaryButton(tr("Check this machine"),
                                 tr("Shows what on this machine gets in the way of training, and how to fix it (F9)."),
                                 name="settings_doctor", clicked=self.accept)
        doctor.clicked.connect(lambda: self._session.go_to("doctor"))
        about = SecondaryButton(tr("Help and about"),
                                tr("Shows what words mean, the keyboard shortcuts, and the program's version (F1)."),
                                name="settings_help", clicked=self.accept)
        about.clicked.connect(lambda: self._session.go_to("help"))
        for button in (close, welcome, doctor, about):
            button.setAutoDefault(False)  # Enter ends what is typed, not the dialog
        return row_of(welcome, doctor, about, STRETCH, close, spacing=None)

    def _hub_refused(self, error: UserError | None) -> None:
        if error is None:
            self.banner.hide()
        else:
            self.banner.show_error(error)

    def _show_theme(self) -> None:
        with QSignalBlocker(self.scheme):
            self.scheme.set_current(THEMES.index(self._session.settings.theme))

    def _set_theme(self, index: int) -> None:
        self._session.settings.theme = THEMES[index]
        theme.apply(cast(QApplication, QApplication.instance()), THEMES[index])
        self._save()

    def _save(self) -> None:
        try:
            self._session.settings.save()
        except UserError as error:
            self.banner.show_error(error)
        self._session.tell_settings_changed()


class HubAddress(QLineEdit):
    """Saves itself when a user has typed an address that can be one; empty means the usual hub.

    Signals:
        refused(UserError): it can't be an address, or can't be saved. None: it could.
    """

    refused = Signal(object)

    def __init__(self, session: Session):
        super().__init__(session.settings.hub_endpoint)
        self._session = session
        named(self, "settings_hub", tr("Address of the model hub"),
              tr("Where models are downloaded from. Leave it empty unless your organisation has a mirror of its own, "
                 "such as https://models.example.org."))
        self.setPlaceholderText(tr("The usual hub"))
        self.setClearButtonEnabled(True)
        self.editingFinished.connect(self._save)

    def _save(self) -> None:
        text = self.text().strip()
        try:
            address = place.checked(text) if text else ""
            if address != self._session.settings.hub_endpoint:
                self._session.settings.hub_endpoint = address
                self._session.settings.save()
        except UserError as error:
            self.refused.emit(error)
            return
        self.refused.emit(None)
