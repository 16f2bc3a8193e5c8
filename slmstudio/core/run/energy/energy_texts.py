"""Energy, cost and CO2 in words: the same ones in the report, the terminal and the window."""

from __future__ import annotations

from slmstudio.core.i18n import noop, tr
from slmstudio.core.run.energy.energy_use import ESTIMATE, MACHINE, SAME, EnergyUse, Forecast
from slmstudio.core.run.energy.tariff import Tariff, format_money, format_price
from slmstudio.core.units import format_about, format_energy, format_weight

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
