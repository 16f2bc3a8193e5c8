"""Price and CO2 of a kilowatt-hour by country, by locale, and as the person says."""

from __future__ import annotations

import doctest

import pytest

from slmstudio.core.run.energy import energy_costs, energy_use
from slmstudio.core.run.energy.energy_costs import GRAMS, OWN, PRICES, country_here, currency_of, format_money, tariff
from slmstudio.core.run.energy.energy_use import CARDS, LOAD, PROCESSOR, SAME, EnergyUse, Forecast, Part
from slmstudio.core.settings import Settings

KWH = 3.6e6
UTC = (0, "UTC")


@pytest.mark.parametrize(("environ", "country"), [
    ({"LANG": "hi_IN.UTF-8"}, "IN"), ({"LANG": "en_IN"}, "IN"), ({"LANG": "de_DE.UTF-8@euro"}, "DE"),
    ({"LANG": "en_US.UTF-8", "LC_MONETARY": "en_GB.UTF-8"}, "GB"), ({"LC_ALL": "ta_IN", "LANG": "en_US"}, "IN"),
    ({"LANG": "sr_RS@latin"}, "RS"), ({"LANG": "zh-Hans-CN"}, "CN"), ({"LANG": "brx_IN"}, "IN"),
    ({"LANG": "C.UTF-8"}, ""), ({"LANG": "POSIX"}, ""), ({}, ""), ({"LANG": "हिन्दी"}, "")])
def test_the_locale_tells_the_country(environ, country):
    assert country_here(environ, UTC) == country


@pytest.mark.parametrize(("zone", "country"), [
    ((-19_800, "IST"), "IN"), ((-19_800, "India Standard Time"), "IN"), ((-19_800, "भारतीय मानक समय"), "IN"),
    ((-19_800, "+0530"), "US"), ((-19_800, "Sri Lanka Standard Time"), "US"), ((-7200, "IST"), "US"),
    ((0, "IST"), "US")])
def test_indias_time_zone_outweighs_a_locale_in_english_and_those_of_others_do_not(zone, country):
    assert country_here({"LANG": "en_US.UTF-8"}, zone) == country


def test_india_pays_in_rupees_at_a_price_with_its_source():
    here = tariff(Settings(), "IN")
    assert (here.currency, here.price, here.grams) == ("INR", 7.12, 727.0)
    assert "2024-25" in here.price_source and "Central Electricity Authority" in here.grams_source
    assert here.cost(2 * KWH) == pytest.approx(14.24) and here.co2(KWH / 2) == pytest.approx(363.5)


def test_elsewhere_the_currency_is_known_and_the_price_is_the_persons():
    german = tariff(Settings(), "DE")
    assert (german.currency, german.price, german.cost(KWH), german.grams) == ("EUR", None, None, 381.0)
    assert tariff(Settings(), "").currency == ""
    assert tariff(Settings(), "RS").grams_source == "world average 2023, Ember"
    own = tariff(Settings(price_per_kwh=0.32, grams_per_kwh=0.0), "DE")
    assert (own.price, own.price_source, own.cost(KWH), own.grams, own.grams_source) == (0.32, OWN, 0.32, 0.0, OWN)


def test_a_price_of_nothing_is_a_price_and_one_in_no_currency_is_none():
    assert tariff(Settings(price_per_kwh=0.0), "IN").cost(KWH) == 0.0
    assert tariff(Settings(price_per_kwh=5.0), "").cost(KWH) is None
    assert tariff(Settings(price_per_kwh=5.0, currency="USD"), "").cost(KWH) == 5.0


def test_indias_price_is_not_taken_for_one_in_another_currency():
    assert tariff(Settings(currency="USD"), "IN").price is None
    assert tariff(Settings(currency="INR"), "IN").price == 7.12


@pytest.mark.parametrize("stored", [{"price_per_kwh": "8"}, {"price_per_kwh": -1}, {"price_per_kwh": True},
                                    {"price_per_kwh": False}, {"grams_per_kwh": float("inf")},
                                    {"grams_per_kwh": [1]}, {"currency": 5}])
def test_a_setting_that_makes_no_sense_is_the_default(stored):
    assert Settings.from_dict(stored) == Settings()


def test_settings_keep_the_figures():
    kept = Settings.from_dict({"price_per_kwh": 8, "currency": "INR", "grams_per_kwh": 0})
    assert (kept.price_per_kwh, kept.currency, kept.grams_per_kwh) == (8, "INR", 0)


def test_every_country_with_a_price_has_a_currency_and_every_factor_a_source_with_its_year():
    assert all(map(currency_of, PRICES))
    assert all(10 < grams < 1000 and "20" in source for grams, source in GRAMS.values())


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(energy_costs) == doctest.TestResults(failed=0, attempted=2)


@pytest.mark.parametrize(("amount", "currency", "text"), [
    (0, "INR", "₹0.00"), (999.996, "INR", "₹1,000"), (99_999, "INR", "₹1,00,000"),
    (9.996, "INR", "₹10"), (1e7, "INR", "₹1,00,00,000"), (0.0042, "INR", "₹0.0042"),
    (1e6, "EUR", "€1,000,000"), (1234.6, "JPY", "¥1,200"),
    (5, "CHF", "CHF 5.00"), (123456.7, "NPR", "Rs 1,20,000"), (12, "XYZ", "XYZ 12")])
def test_money(amount, currency, text):
    assert format_money(amount, currency) == text


INDIA, NOWHERE = tariff(Settings(), "IN"), tariff(Settings(), "")


def test_what_was_drawn_in_words():
    use = EnergyUse((Part(CARDS, 0.75 * KWH, "counter"), Part(PROCESSOR, 0.25 * KWH, LOAD)), 3600.0)
    assert energy_costs.energy(use) == "1 kWh (0.75 kWh measured, the rest estimated)"
    assert energy_costs.energy(EnergyUse((Part(PROCESSOR, 0.25 * KWH, LOAD),), 3600.0)) == "about 0.25 kWh (estimated)"
    assert energy_costs.amounts(use.joules, INDIA) == "1 kWh, ₹7.10, 730 g CO₂"
    assert energy_costs.amounts(use.joules, NOWHERE) == "1 kWh, 480 g CO₂"
    assert energy_costs.cost(use.joules, NOWHERE) == "not known: Settings has no electricity price"
    for price, currency, said in ((0.3127, "EUR", "€31 at €0.3127 per kWh"), (31.27, "JPY", "¥3,100 at ¥31.27 per")):
        here = tariff(Settings(price_per_kwh=price, currency=currency), "")
        assert energy_costs.cost(100 * KWH, here).startswith(said)


def test_what_a_run_will_draw_in_words():
    hour = Forecast(265.4, 180.0, 350.0, energy_use.ESTIMATE, 4200.0)
    assert energy_costs.expected(hour, INDIA) == ("Uses about 0.31 kWh, ₹2.20, 230 g CO₂ in about 1 h 10 min (265 W, "
                                          "estimated: 180 to 350 W).")
    assert energy_costs.expected(Forecast(265.4, 240.0, 290.0, SAME, 4200.0), NOWHERE) == (
        "Uses about 0.31 kWh, 150 g CO₂ in about 1 h 10 min (265 W, as measured in runs with the same settings "
        "on this machine).")
    assert energy_costs.expected(Forecast(265.4, 240.0, 290.0, energy_use.MACHINE, None), INDIA) == (
        "Uses about 0.27 kWh, ₹1.90, 190 g CO₂ an hour (265 W, as measured in other runs on this machine). How long "
        "it takes hasn't been measured yet.")
