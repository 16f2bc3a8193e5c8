"""What a kilowatt-hour costs and gives off: the user's own figures in the settings, and what holds without them."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core.i18n import tr
from slmstudio.core.run.energy.tariff import CURRENCIES, format_price, tariff
from slmstudio.core.settings import Settings
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.fields import ComboBox, DoubleSpinBox, named
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, fill, row_of

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
        self.currency.addItems(["", *sorted(set(CURRENCIES.values()))])
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
