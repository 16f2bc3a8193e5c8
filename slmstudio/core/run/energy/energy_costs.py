"""Energy, cost and CO2: what a kilowatt-hour costs and gives off here, and the words for it in the report, the terminal
and the window."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

from slmstudio.core import settings as settings_module
from slmstudio.core.i18n import noop, tr
from slmstudio.core.run.energy.energy_use import ESTIMATE, KWH, MACHINE, SAME, EnergyUse, Forecast
from slmstudio.core.settings import Settings
from slmstudio.core.units import format_about, format_energy, format_weight

# -- What a kilowatt-hour costs and gives off here: the user's own figures, else those of the country that the
# machine is set up for, each with its source.

OWN = noop("your own figure")
PRICES = {"IN": (7.12, noop("average cost of supply of India's public utilities 2024-25, Power Finance "
                         "Corporation"))}
"""By country: a price and its source. Tariffs differ by state, slab and contract, so others are left to the user."""
WORLD = (481.0, noop("world average 2023, Ember"))
_EMBER = noop("average of the country's generation 2023, Ember")
GRAMS = {
    "IN": (727.0, noop("India's grid 2023-24, Central Electricity Authority, CO2 Baseline Database 20.0")),
    "US": (373.0, noop("average of the United States 2022, EPA eGRID2022")),
    "GB": (207.0, noop("UK electricity, government conversion factors 2024, DESNZ")),
    **{code: (grams, _EMBER) for code, grams in {
        "AT": 111.0, "AU": 549.0, "BD": 691.0, "BE": 138.0, "BR": 98.0, "CA": 170.0, "CL": 291.0, "CN": 582.0,
        "CO": 260.0, "CZ": 450.0, "DE": 381.0, "DK": 152.0, "EG": 570.0, "FI": 79.0, "FR": 56.0, "GR": 337.0,
        "HU": 204.0, "IE": 291.0, "NO": 30.0}.items()},
}
"""By country: grams of CO2 (equivalents in Ember's and DESNZ's figures) of a kilowatt-hour, and the source."""


@dataclass(frozen=True)
class Tariff:
    """Price and CO2 of a kilowatt-hour.

    Attributes:
        currency: as in ISO 4217; "" if the country isn't known.
        price: None if nobody knows it.
        price_source, grams_source: where the figures come from.
        grams: of CO2.
    """

    currency: str
    price: float | None
    price_source: str
    grams: float
    grams_source: str

    def cost(self, joules: float) -> float | None:
        """In `currency`; None if the price isn't known."""
        return None if self.price is None else joules / KWH * self.price

    def co2(self, joules: float) -> float:
        return joules / KWH * self.grams


def tariff(settings: Settings | None = None, country: str | None = None) -> Tariff:
    """What holds on this machine.

    Args:
        settings: those of the window; the settings file by default.
        country: two letters; by default what the machine is set up for.
    """
    known = settings or settings_module.load(put_aside=False)[0]
    here = country_here() if country is None else country
    usual = currency_of(here)
    price, source = PRICES.get(here, (None, ""))
    currency = known.currency or usual
    if known.price_per_kwh is not None and currency:
        price, source = known.price_per_kwh, OWN
    elif currency != usual:  # the default is in another currency
        price, source = None, ""
    grams, grams_source = GRAMS.get(here, WORLD)
    if known.grams_per_kwh is not None:
        grams, grams_source = known.grams_per_kwh, OWN
    return Tariff(currency, price, tr(source) if source else "", grams, tr(grams_source))


INDIA = "IN"
INDIAN_OFFSET = -19_800
"""Seconds west of Greenwich: UTC+5:30, which Sri Lanka has too."""
SRI_LANKAN_NAMES = ("+0530", "Sri Lanka Standard Time")


def country_here(environ: Mapping[str, str] = os.environ, zone: tuple[int, str] | None = None) -> str:
    """Two letters as in ISO 3166, or "" if it isn't known.

    India's time zone outweighs the locale: many machines there are set up in American or British English.

    Args:
        zone: seconds west of Greenwich and the time zone's name; the machine's own by default.
    """
    offset, name = zone or (time.timezone, time.tzname[0])
    if offset == INDIAN_OFFSET and name not in SRI_LANKAN_NAMES:
        return INDIA
    said = next((environ[key] for key in ("LC_ALL", "LC_MONETARY", "LANG") if environ.get(key)), "") or _of_windows()
    found = re.match(r"[A-Za-z]{2,3}(?:[_-][A-Za-z]{4})?[_-]([A-Z]{2})\b", said)
    return found[1] if found else ""


def _of_windows() -> str:
    """The name of the user's locale, such as "hi-IN"; "" on other systems."""
    if sys.platform != "win32":
        return ""
    import ctypes

    name = ctypes.create_unicode_buffer(85)  # LOCALE_NAME_MAX_LENGTH
    ctypes.windll.kernel32.GetUserDefaultLocaleName(name, len(name))
    return name.value


# -- Amounts of money as people read them, and the currency of a country.

SIGNS = {
    "INR": "₹", "USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "CNY": "CN¥", "AUD": "A$", "CAD": "CA$", "NZD": "NZ$",
    "SGD": "S$", "BRL": "R$", "KRW": "₩", "BDT": "৳", "NPR": "Rs ", "LKR": "Rs ", "PKR": "Rs ", "CHF": "CHF ",
    "AED": "AED ", "ZAR": "R", "NGN": "₦", "KES": "KSh ", "IDR": "Rp ", "VND": "₫", "PHP": "₱", "THB": "฿",
    "MYR": "RM ", "MXN": "MX$", "TRY": "₺", "PLN": "zł ", "SEK": "kr ", "NOK": "kr ", "DKK": "kr ", "CZK": "Kč ",
    "HUF": "Ft ", "RON": "lei ", "ILS": "₪", "SAR": "SAR ", "EGP": "E£", "TWD": "NT$", "HKD": "HK$", "UAH": "₴",
}
"""By ISO 4217, what comes before an amount. Others are written as their three letters."""
WHOLE = frozenset({"JPY", "KRW", "VND", "IDR", "HUF"})
"""Currencies that nobody splits."""
LAKH = frozenset({"INR", "NPR", "BDT", "PKR", "LKR"})
"""Currencies whose amounts are grouped as 12,34,567."""


def currency_of(country: str) -> str:
    """What people of a country pay their electricity in, by ISO 4217; "" if it isn't known."""
    from babel.numbers import get_territory_currencies

    return next(iter(get_territory_currencies(country)), "")


def format_money(amount: float, currency: str) -> str:
    """An amount of two digits with its sign, grouped as where the currency is used: the energy isn't known better. Four
    decimals where it is less than a cent, none from ten on.

    >>> [format_money(a, c) for a, c in ((1234567.5, "INR"), (2.24, "INR"), (12.7, "USD"), (0.004, "EUR"), (7, "XOF"))]
    ['₹12,00,000', '₹2.20', '$13', '€0.0040', 'XOF 7.00']
    """
    rounded = float(f"{amount:.2g}")
    return _written(rounded, currency, 0 if currency in WHOLE or rounded >= 10 else 4 if 0 < rounded < 0.01 else 2)


def format_price(price: float, currency: str) -> str:
    """A price of a kilowatt-hour: a hundredth of a cent is something there, and so is a hundredth of a yen.

    >>> [format_price(p, c) for p, c in ((7.12, "INR"), (8.5, "INR"), (0.3127, "EUR"), (31.27, "JPY"), (31, "JPY"))]
    ['₹7.12', '₹8.50', '€0.3127', '¥31.27', '¥31']
    """
    least = 0 if currency in WHOLE else 2
    exact = f"{price:.4f}".rstrip("0").partition(".")[2]
    return _written(price, currency, max(least, len(exact)))


def _written(amount: float, currency: str, digits: int) -> str:
    text = f"{amount:.{digits}f}"
    whole, _, cents = text.partition(".")
    pattern = r"(?<=\d)(?=(\d\d)*\d{3}$)" if currency in LAKH else r"(?<=\d)(?=(\d{3})+$)"
    grouped = re.sub(pattern, ",", whole)
    return f"{SIGNS.get(currency, f'{currency} ')}{grouped}{'.' if cents else ''}{cents}"


BASES = {SAME: noop("{watts:,} W, as measured in runs with the same settings on this machine"),
         MACHINE: noop("{watts:,} W, as measured in other runs on this machine"),
         ESTIMATE: noop("{watts:,} W, estimated: {low:,} to {high:,} W")}
"""How the power of a run is known."""


def energy(use: EnergyUse) -> str:
    """An amount and how it is known: "0.311 kWh (0.25 kWh measured, the rest estimated)"."""
    total = format_energy(use.joules)
    if not use.measured:
        return tr("about {energy} (estimated)", energy=total)
    return tr("{total} ({measured} measured, the rest estimated)", total=total, measured=format_energy(use.measured))


def cost(joules: float, tariff: Tariff) -> str:
    """"₹2.21 at ₹7.12 per kWh (source)", or that Settings has no price."""
    amount = tariff.cost(joules)
    if amount is None or tariff.price is None:
        return tr("not known: Settings has no electricity price")
    return tr("{cost} at {price} per kWh ({source})", cost=format_money(amount, tariff.currency),
              price=format_price(tariff.price, tariff.currency), source=tariff.price_source)


def co2(joules: float, tariff: Tariff) -> str:
    """"226 g at 727 g per kWh (source)"."""
    return tr("{weight} at {grams:,.0f} g per kWh ({source})", weight=format_weight(tariff.co2(joules)),
              grams=tariff.grams, source=tariff.grams_source)


def amounts(joules: float, tariff: Tariff) -> str:
    """Energy, cost as far as it is known, and CO2, without their sources: "0.311 kWh, ₹2.21, 226 g CO₂"."""
    price = tariff.cost(joules)
    parts = [format_energy(joules), "" if price is None else format_money(price, tariff.currency),
             tr("{weight} CO₂", weight=format_weight(tariff.co2(joules)))]
    return ", ".join(filter(None, parts))


def expected(forecast: Forecast, tariff: Tariff) -> str:
    how = tr(BASES[forecast.basis], watts=round(forecast.watts), low=round(forecast.low), high=round(forecast.high))
    if forecast.joules is None or forecast.seconds is None:
        return tr("Uses about {amounts} an hour ({how}). How long it takes hasn't been measured yet.",
                  amounts=amounts(forecast.watts * 3600, tariff), how=how)
    return tr("Uses about {amounts} in {time} ({how}).", amounts=amounts(forecast.joules, tariff),
              time=format_about(forecast.seconds), how=how)
