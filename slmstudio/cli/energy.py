"""Energy, its price and its CO2 in the terminal: of a run, and what they are calculated from."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmstudio.cli.output import Json, print_json, print_table, run_named, say
from slmstudio.core import program
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import tr

if TYPE_CHECKING:
    from slmstudio.core.run.energy.energy_costs import Tariff
    from slmstudio.core.run.energy.energy_use import EnergyUse, Forecast

app = typer.Typer()


@app.command()
def energy(
    run: Annotated[Path | None, typer.Argument(parser=run_named, help="A run, by its name or folder. Its energy is "
                                                                      "shown by part.")] = None,
    price: Annotated[float | None, typer.Option(help="What you pay for a kilowatt-hour. It is remembered.")] = None,
    currency: Annotated[str | None, typer.Option(help="Currency of the price, as a three-letter code such as INR, "
                                                      "USD or EUR.")
                        ] = None,
    grams: Annotated[float | None, typer.Option(help="Grams of CO2 per kilowatt-hour, if you know a better figure than "
                                                     "your country's average. It is remembered.")] = None,
    default: Annotated[bool, typer.Option("--default", help="Forget your own figures.")] = False,
    as_json: Json = False,
) -> int:
    "Show a run's energy, cost and CO2; or set the price of electricity and the CO2 per kilowatt-hour."
    from slmstudio.core.hardware import linux_sensors
    from slmstudio.core.run import folder
    from slmstudio.core.run.energy.energy_costs import tariff

    if default or (price, currency, grams) != (None, None, None):
        _remember(price, currency, grams, default)
    here = tariff()
    use = folder.summarise(run.absolute()).energy if run is not None else None
    if as_json:
        told = {"run_dir": str(run), **drawn(use, True)} if run is not None else {}
        print_json({"tariff": _tariff(here), "no_processor_counter": linux_sensors.no_energy_counter() or None, **told})
        return 0
    if run is not None:
        _show(use, here)
    else:
        _show_tariff(here)
        if why := linux_sensors.no_energy_counter():
            say(why)
    if here.price is None:
        say("\n" + tr("To set the price: {command}",
                      command=program.command("energy", "--price", "PRICE", "--currency", "CURRENCY")))
    return 0


def _remember(price: float | None, currency: str | None, grams: float | None, default: bool) -> None:
    """Raises UserError: with everything that is wrong, or the settings can't be used or written."""
    from slmstudio.core import settings
    from slmstudio.core.run.energy.energy_costs import tariff

    known, trouble = settings.load_to_change()
    if trouble is not None:
        say(tr("note: {text}", text=trouble), file=sys.stderr)
    problems = [Problem(tr("{value:g} isn't allowed; it must be 0 or more.", value=value), field=f"--{name}")
                for name, value in (("price", price), ("grams", grams)) if value is not None and not 0 <= value < 1e6]
    if currency is not None and not re.fullmatch("[A-Za-z]{3}", currency):
        problems.append(Problem(tr("{currency} isn't a three-letter currency code, such as INR.", currency=currency),
                                field="--currency"))
    if default:
        known.price_per_kwh, known.currency, known.grams_per_kwh = None, "", None
    known.price_per_kwh = known.price_per_kwh if price is None else price
    known.grams_per_kwh = known.grams_per_kwh if grams is None else grams
    known.currency = known.currency if currency is None else currency.upper()
    if known.price_per_kwh is not None:  # a price stays in its currency when the locale changes
        known.currency = tariff(known).currency
    if not problems and known.price_per_kwh is not None and not known.currency:
        problems.append(Problem(tr("The system doesn't say which country this machine is in. Give the currency, too."),
                                field="--currency"))
    if problems:
        raise UserError(tr("The price wasn't set."), tr("Some values can't be used."), tr("Correct them."), problems)
    known.save()


def drawn(use: EnergyUse | None, as_json: bool) -> dict[str, Any]:
    """What a run drew, for its outcome: in figures, or in words. None if it isn't known."""
    from slmstudio.core.run.energy import energy_costs
    from slmstudio.core.run.energy.energy_costs import tariff

    if use is None:
        return {"energy": None} if as_json else {}
    here = tariff()
    if as_json:
        return {"energy": {**use.to_dict(), **_worth(use.joules, here)}}
    return {"energy": energy_costs.energy(use), "cost": energy_costs.cost(use.joules, here),
            "CO2": energy_costs.co2(use.joules, here)}


def expected(forecast: Forecast | None) -> dict[str, Any] | None:
    """What a plan is likely to draw, in figures."""
    from slmstudio.core.run.energy.energy_costs import tariff

    if forecast is None:
        return None
    worth = {} if forecast.joules is None else _worth(forecast.joules, tariff())
    return {**forecast.to_dict(), **worth}


def _worth(joules: float, tariff: Tariff) -> dict[str, Any]:
    return {"cost": tariff.cost(joules), "currency": tariff.currency or None, "co2_grams": tariff.co2(joules)}


def _tariff(tariff: Tariff) -> dict[str, Any]:
    return {"price_per_kwh": tariff.price, "currency": tariff.currency or None,
            "price_source": tariff.price_source or None, "grams_per_kwh": tariff.grams,
            "grams_source": tariff.grams_source}


def _show(use: EnergyUse | None, tariff: Tariff) -> None:
    from slmstudio.core.run.energy import energy_costs
    from slmstudio.core.units import format_duration, format_energy

    if use is None:
        say(tr("It isn't known how much energy this run used."))
        return
    print_table(tr("Energy"), [(part.label, format_energy(part.joules), part.basis) for part in use.parts],
                (tr("Part"), tr("Energy"), tr("How it's known")))
    say("\n" + tr("Total: {energy}, measured over {time}.", energy=energy_costs.energy(use),
                  time=format_duration(use.seconds)))
    say(tr("Cost: {cost}", cost=energy_costs.cost(use.joules, tariff)))
    say(f"CO2: {energy_costs.co2(use.joules, tariff)}")


def _show_tariff(tariff: Tariff) -> None:
    from slmstudio.core.run.energy.energy_costs import format_price

    price = tr("not known") if tariff.price is None else format_price(tariff.price, tariff.currency)
    print_table(tr("A kilowatt-hour"), [(tr("Price"), price, tariff.price_source),
                                    ("CO2", tr("{grams:,.0f} g", grams=tariff.grams), tariff.grams_source)])
