"""What electricity costs is set in the settings, and a default says where it comes from."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel

from slmstudio.core import settings
from slmstudio.core.run.energy import energy_costs
from slmstudio.core.settings import Settings
from slmstudio.gui.app.settings import SettingsDialog
from slmstudio.gui.common.session import Session


@pytest.fixture
def dialog(qtbot, qapp, studio_home, monkeypatch):
    """`dialog(country, settings)`: the settings as they open on such a machine."""

    def make(country: str, known: Settings | Session) -> SettingsDialog:
        monkeypatch.setattr(energy_costs, "country_here", lambda: country)
        made = SettingsDialog(known if isinstance(known, Session) else Session(known))
        qtbot.addWidget(made)
        made.show()
        return made

    return make


def note(dialog: SettingsDialog) -> str:
    return dialog.findChild(QLabel, "settings_energy_note").text()


def write(qtbot, field, text: str) -> None:
    field.selectAll()
    qtbot.keyClicks(field, text)
    qtbot.keyClick(field, Qt.Key.Key_Return)


def test_india_has_a_default_with_its_source(dialog):
    made = dialog("IN", Settings())
    assert (made.energy.price.text(), made.energy.currency.currentText(), made.energy.grams.text()) == (
        "₹7.12", "INR", "727 g")
    assert "Power Finance Corporation" in note(made) and "Central Electricity Authority" in note(made)


def test_ones_own_figures_are_kept_at_once(qtbot, dialog):
    made = dialog("IN", Settings())
    write(qtbot, made.energy.price, "8.5")
    write(qtbot, made.energy.grams, "40")
    kept = settings.load()[0]
    assert (kept.price_per_kwh, kept.currency, kept.grams_per_kwh) == (8.5, "INR", 40.0)
    assert note(made) == "Price: your own figure. CO₂: your own figure."
    assert (made.energy.price.text(), made.energy.grams.text()) == ("8.5", "40 g")


def test_a_change_of_one_figure_leaves_the_others_as_they_are(qtbot, dialog):
    made = dialog("DE", Settings(price_per_kwh=0.31274, currency="CLP", grams_per_kwh=40.123456))
    assert (made.energy.price.text(), made.energy.currency.currentText()) == ("0.3127", "CLP")
    write(qtbot, made.energy.grams, "41")
    kept = settings.load()[0]
    assert (kept.price_per_kwh, kept.currency, kept.grams_per_kwh) == (0.31274, "CLP", 41.0)
    write(qtbot, made.energy.price, "0.3128")
    kept = settings.load()[0]
    assert (kept.price_per_kwh, kept.currency, kept.grams_per_kwh) == (0.3128, "CLP", 41.0)
    assert note(made).startswith("Price: your own figure.")


def test_back_to_the_default(qtbot, dialog):
    made = dialog("IN", Settings(price_per_kwh=8.5, grams_per_kwh=0.0))
    assert made.energy.price.value() == 8.5 and made.energy.grams.value() == 0
    qtbot.mouseClick(made.energy.usual, Qt.MouseButton.LeftButton)
    kept = settings.load()[0]
    assert (kept.price_per_kwh, kept.grams_per_kwh) == (None, None) and made.energy.price.text() == "₹7.12"
    assert not made.energy.usual.isEnabled()


def test_without_a_country_the_currency_is_asked_for(qtbot, dialog):
    made = dialog("", Settings())
    assert made.energy.price.text() == "not set" and note(made).startswith("Set the price to see what a run costs.")
    write(qtbot, made.energy.price, "0.31")
    assert note(made).startswith("Choose the currency, too.")
    made.energy.currency.setCurrentText("EUR")
    made.energy.currency.activated.emit(made.energy.currency.currentIndex())
    assert note(made).startswith("Price: your own figure.")
    kept = settings.load()[0]
    assert (kept.price_per_kwh, kept.currency) == (0.31, "EUR")


def test_settings_of_another_place_are_shown(dialog):
    session = Session(Settings())
    made = dialog("DE", session)
    session.adopt_settings(Settings(price_per_kwh=0.4))
    assert made.energy.price.value() == 0.4 and made.energy.currency.currentText() == "EUR"
