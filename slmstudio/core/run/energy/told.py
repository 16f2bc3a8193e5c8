"""Energy, cost and CO2 in words: the same ones in the report, the terminal and the window."""

from __future__ import annotations

from slmstudio.core.i18n import tr
from slmstudio.core.run.energy.forecast import ESTIMATE, MACHINE, SAME, Forecast
from slmstudio.core.run.energy.money import format_money, format_price
from slmstudio.core.run.energy.tariff import Tariff
from slmstudio.core.run.energy.use import EnergyUse
from slmstudio.core.units import format_about, format_energy, format_weight

BASES = {SAME: "as measured in runs with the same settings here", MACHINE: "as measured in other runs here",
         ESTIMATE: "estimated"}


def energy(use: EnergyUse) -> str:
    """An amount and how it is known: "0.311 kWh (0.25 kWh measured, the rest estimated)"."""
    total = format_energy(use.joules)
    if not use.measured:
        return f"about {total} (estimated)"
    return tr("{total} ({energy} measured, the rest estimated)", total=total, energy=format_energy(use.measured))


def cost(joules: float, tariff: Tariff) -> str:
    """"₹2.21 at ₹7.12 per kWh (source)", or where to set the price."""
    amount = tariff.cost(joules)
    if amount is None or tariff.price is None:
        return "not known, because no price of electricity is set in Settings"
    return tr("{money} at {price} per kWh ({price_source})", money=format_money(amount, tariff.currency),
              price=format_price(tariff.price, tariff.currency), price_source=tariff.price_source)


def co2(joules: float, tariff: Tariff) -> str:
    """"226 g at 727 g per kWh (source)"."""
    return tr("{weight} at {grams:,.0f} g per kWh ({grams_source})", weight=format_weight(tariff.co2(joules)),
              grams=tariff.grams, grams_source=tariff.grams_source)


def amounts(joules: float, tariff: Tariff) -> str:
    """Energy, cost as far as it is known, and CO2, without their sources: "0.311 kWh, ₹2.21, 226 g CO₂"."""
    price = tariff.cost(joules)
    parts = [format_energy(joules), "" if price is None else format_money(price, tariff.currency),
             f"{format_weight(tariff.co2(joules))} CO₂"]
    return ", ".join(filter(None, parts))


def expected(forecast: Forecast, tariff: Tariff) -> str:
    """What a run is likely to take, in a sentence or two."""
    how = f"{round(forecast.watts):,} W, {BASES[forecast.basis]}"
    if forecast.basis == ESTIMATE:
        how += f": {round(forecast.low):,} to {round(forecast.high):,} W"
    if forecast.joules is None or forecast.seconds is None:
        return tr("Draws about {amounts} an hour ({how}). How long it takes isn't measured yet.",
                  amounts=amounts(forecast.watts * 3600, tariff), how=how)
    return tr("Takes about {amounts} in {duration} ({how}).", amounts=amounts(forecast.joules, tariff),
              duration=format_about(forecast.seconds), how=how)


def expected_in_short(forecast: Forecast, tariff: Tariff) -> str:
    """The same where there is little room: "Energy: about 0.311 kWh, ₹2.21, 226 g CO₂ (estimated)."."""
    known = "estimated" if forecast.basis == ESTIMATE else "going by runs here"
    if forecast.joules is None:
        return tr("Energy: about {amounts} an hour ({known}).", amounts=amounts(forecast.watts * 3600, tariff),
                  known=known)
    return tr("Energy: about {amounts} ({known}).", amounts=amounts(forecast.joules, tariff), known=known)
