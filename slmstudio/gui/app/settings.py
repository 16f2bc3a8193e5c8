"""The few things that are the same for every run, and the address of the hub that models come from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QApplication, QCheckBox, QDialog, QHBoxLayout, QLineEdit, QWidget

from slmstudio.core import i18n, llama
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model.hub import place
from slmstudio.core.run.energy.energy_costs import SIGNS, format_price, tariff
from slmstudio.core.settings import CHAT_WITH, TEXT_SIZES, THEMES, Settings
from slmstudio.gui.app.home_folder import PlaceRow
from slmstudio.gui.chat.device_panel import device_choice
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import MARGIN
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.widgets.areas import ScrolledIfNeeded, plain_page
from slmstudio.gui.common.widgets.banner import ErrorBanner, announce
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton, SegmentedControl
from slmstudio.gui.common.widgets.fields import ComboBox, DoubleSpinBox, SpinBox, named, number_field
from slmstudio.gui.common.widgets.labels import show_text, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, fill, row_of


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
        self.evaluates = named(QCheckBox(tr("Evaluate by itself when a training ends")), "settings_evaluate",
                               tip=tr("The base and the tuned model answer a few rows that weren't learned. It takes "
                                      "about as long as the training at most."))
        self.measure = named(QCheckBox(tr("Measure by itself how long a plan takes")), "settings_measure_plans",
                             tip=tr("While nothing else is running, the Training tab tries a new plan for some "
                                    "seconds. Start ends that at once."))
        self.chat = SegmentedControl([tr("At once"), tr("As a GGUF file")],
                                     tooltips=[tr("Loads the adapter on its base model. It needs no export, but more "
                                                  "memory."),
                                               tr("Makes a GGUF file first where there is none. It answers faster "
                                                  "without a graphics card.")], name="settings_chat")
        self.chat.setAccessibleName(tr("How Chat opens a finished run"))
        self.device = device_choice("settings_chat_device")
        built = ", ".join(llama.backends())
        self.built = text_label(tr("llama.cpp was built with: {backends}", backends=built) if built else
                                tr("llama.cpp isn't set up."), "small", name="settings_llama_backends")
        column_in(self, _line(tr("Text size"), number_field(self.size)), self.still, self.notices, self.evaluates,
                  self.measure, _line(tr("Open finished runs in Chat"), self.chat),
                  _line(tr("Device for chat"), self.device), self.built)
        self._show()
        session.settings_changed.connect(self._show)  # another folder has settings of its own
        self.size.valueChanged.connect(partial(self._set, "text_size"))
        self.still.toggled.connect(partial(self._set, "reduce_motion"))
        self.notices.toggled.connect(partial(self._set, "notifications"))
        self.evaluates.toggled.connect(partial(self._set, "evaluate_at_end"))
        self.measure.toggled.connect(partial(self._set, "measure_plans"))
        self.device.activated.connect(lambda: self._set("chat_device", self.device.currentData()))
        self.chat.changed.connect(lambda index: self._set("chat_with", CHAT_WITH[index]))

    def _make_text_size(self) -> None:
        self.size = named(SpinBox(), "settings_text_size", tr("Text size"),
                          tr("Percent of the usual size. Ctrl+Plus and Ctrl+Minus change it anywhere."))
        self.size.setRange(*TEXT_SIZES)
        self.size.setSingleStep(10)
        self.size.setSuffix(tr("%"))
        self.size.setKeyboardTracking(False)

    def _show(self) -> None:
        known = self._session.settings
        with (QSignalBlocker(self.size), QSignalBlocker(self.still), QSignalBlocker(self.notices),
              QSignalBlocker(self.evaluates), QSignalBlocker(self.chat), QSignalBlocker(self.measure)):
            self.size.setValue(known.text_size)
            self.still.setChecked(theme.THEME.still if known.reduce_motion is None else known.reduce_motion)
            self.notices.setChecked(known.notifications)
            self.evaluates.setChecked(known.evaluate_at_end)
            self.measure.setChecked(known.measure_plans)
            self.device.setCurrentIndex(max(0, self.device.findData(known.chat_device)))
            self.chat.set_current(CHAT_WITH.index(known.chat_with))

    def _set(self, name: str, value: object) -> None:
        """The user chose another value."""
        settings, app = self._session.settings, cast("QApplication", QApplication.instance())
        setattr(settings, name, value)
        if name == "text_size":
            theme.apply(app, settings.theme, settings.text_size)
        elif name == "reduce_motion":
            theme.set_still(app, settings.reduce_motion)
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
        others = [SecondaryButton(text, tip, name=f"settings_{place}", clicked=partial(self._go_to, place))
                  for place, text, tip in (
                      ("welcome", tr("Welcome page"),
                       tr("Show the welcome page again: what this machine has, and how to begin.")),
                      ("doctor", tr("Check this machine"),
                       tr("Shows what on this machine gets in the way of training, and how to fix it (F9).")),
                      ("help", tr("Help and about"),
                       tr("Shows what words mean, the keyboard shortcuts, and the program's version (F1).")))]
        for button in (close, *others):
            button.setAutoDefault(False)  # Enter ends what is typed, not the dialog
        return row_of(*others, STRETCH, close, spacing=None)

    def _go_to(self, place: str) -> None:
        self.accept()
        self._session.go_to(place)

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
        self._session.report_settings_changed()


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


# -- What a kilowatt-hour costs and gives off: the user's own figures in the settings, and what holds without them.

NOT_SET = -0.01
"""The lowest value of a field stands for no figure of one's own."""
MOST = 999_999.0


class EnergyRow(QWidget):
    """Price, its currency, and CO2 of a kilowatt-hour.

    Signals:
        changed: the settings hold other figures now, and aren't saved yet.
    """

    changed = Signal()

    def __init__(self, session: Session):
        super().__init__()
        self._session = session
        self.price = self._field("settings_price", tr("Price of a kilowatt-hour"),
                                 tr("What you pay for a kilowatt-hour, according to your bill. Set it to see what a "
                                    "run really costs."))
        self.currency = named(ComboBox(), "settings_currency", tr("Currency of the price"),
                              tr("The currency that you pay in. Change it when your system is set up for another "
                                 "country."))
        self.currency.addItems(["", *sorted(SIGNS)])
        self.grams = self._field("settings_grams", tr("CO₂ per kilowatt-hour, in grams"),
                                 tr("Grams of CO₂ per kilowatt-hour. Set it if you have your own power, or if your "
                                    "supplier gives a figure."))
        self.grams.setSuffix(tr(" g"))
        self.usual = SecondaryButton(tr("Usual figures"),
                                     tr("Remove your own figures, and use the usual ones of your country."), "small",
                                     name="settings_energy_usual", clicked=self._forget)
        self.note = text_label("", "small", wrap=True, name="settings_energy_note")
        self.note.setMinimumHeight(3 * self.note.fontMetrics().lineSpacing())  # what is below stays in its place
        row = row_of()
        for label, field in ((tr("Per kWh"), self.price), ("", self.currency), (tr("CO₂"), self.grams)):
            if label:
                row.addWidget(text_label(label))
            row.addWidget(field)
        fill(row, STRETCH, self.usual)
        column_in(self, row, self.note)
        self._show()
        session.settings_changed.connect(self._show)  # another folder has settings of its own
        self.price.valueChanged.connect(self._take_price)
        self.currency.activated.connect(self._take_currency)
        self.grams.valueChanged.connect(self._take_grams)

    def _field(self, name: str, accessible: str, tip: str) -> DoubleSpinBox:
        field = named(DoubleSpinBox(), name, accessible, tip)
        field.setDecimals(4)
        field.setRange(NOT_SET, MOST)
        field.setKeyboardTracking(False)  # half a number is none
        return field

    def _show(self) -> None:
        """What the settings say, and what holds where they say nothing."""
        known = self._session.settings
        here, usual = tariff(known), tariff(Settings(currency=known.currency))
        with QSignalBlocker(self.price), QSignalBlocker(self.grams):
            self.price.setSpecialValueText(tr("not set") if usual.price is None
                                           else format_price(usual.price, usual.currency))
            self.price.setValue(NOT_SET if known.price_per_kwh is None else known.price_per_kwh)
            self.grams.setSpecialValueText(tr("{grams:,.0f} g", grams=usual.grams))
            self.grams.setValue(NOT_SET if known.grams_per_kwh is None else known.grams_per_kwh)
        if self.currency.findText(here.currency) < 0:  # the terminal takes any
            self.currency.addItem(here.currency)
        self.currency.setCurrentText(here.currency)
        if here.price is not None:
            price = tr("Price: {source}.", source=here.price_source)
        elif known.price_per_kwh is not None:
            price = tr("Choose the currency, too.")
        else:
            price = tr("Set the price to see what a run costs.")
        co2 = tr("CO₂: {source}.", source=here.grams_source)
        self.usual.setEnabled((known.price_per_kwh, known.currency, known.grams_per_kwh) != (None, "", None))
        self.note.setText(tr("{price} {co2}", price=price, co2=co2))

    def _take_price(self, value: float) -> None:
        known = self._session.settings
        known.price_per_kwh = None if value < 0 else value
        if value >= 0:
            known.currency = self.currency.currentText()  # a price stays in its currency when the locale changes
        self._taken()

    def _take_currency(self) -> None:
        self._session.settings.currency = self.currency.currentText()
        self._taken()

    def _take_grams(self, value: float) -> None:
        self._session.settings.grams_per_kwh = None if value < 0 else value
        self._taken()

    def _taken(self) -> None:
        self._show()
        self.changed.emit()

    def _forget(self) -> None:
        known = self._session.settings
        known.price_per_kwh, known.currency, known.grams_per_kwh = None, "", None
        self._taken()


# -- The language of the program, as a row of the settings.
