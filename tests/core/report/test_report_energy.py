"""Energy by part, its price and its CO2, each with how it is known."""

from __future__ import annotations

import pytest
from support.report_run import finished

from slmstudio.core import files, jobs
from slmstudio.core.report.compare import compare
from slmstudio.core.run.energy import energy_costs as tariff_module
from slmstudio.core.settings import Settings


@pytest.fixture
def india(studio_home, monkeypatch):
    monkeypatch.setattr(tariff_module, "country_here", lambda: "IN")


def sensed_otherwise(run, change):
    """The run with each card's readings changed."""
    events = list(files.LineReader(run.folder / jobs.EVENTS).read())
    for event in events:
        if event["type"] == "sensors":
            change(event["gpus"][0], event["time"])
    (run.folder / jobs.EVENTS).write_bytes(b"".join(map(files.dump_line, events)))


def test_energy_by_part_with_cost_and_co2(tmp_path, page, india):
    shown = page(finished(tmp_path).folder).text
    assert ("Energy: 0.25 Wh (0.17 Wh measured, the rest estimated) (915 J), measured over 4 s. "
            "Cost: ₹0.0018 at ₹7.12 per kWh (average cost of supply of India's public utilities 2024-25, Power Finance "
            "Corporation). CO₂: 0.18 g at 727 g per kWh (India's grid 2023-24, Central Electricity Authority, CO2 "
            "Baseline Database 20.0).") in shown
    for line in ("Cards 0.17 Wh the cards' power, added up over time", "Power supply 0.038 Wh estimated",
                 "Processor 0.043 Wh estimated from the load and the number of cores", "Memory 0.0066 Wh estimated"):
        assert line in shown, line
    assert "Energy 0.25 Wh ₹0.0018; 66% measured, the rest estimated" in shown
    assert "The screen, disks, fans and mainboard aren't included." in shown


def test_without_a_price_it_says_where_to_set_it(tmp_path, page, studio_home, monkeypatch):
    monkeypatch.setattr(tariff_module, "country_here", lambda: "")
    shown = page(finished(tmp_path).folder).text
    assert "Cost: not known: Settings has no electricity price." in shown
    assert "481 g per kWh (world average 2023, Ember)" in shown
    assert "Energy 0.25 Wh 66% measured, the rest estimated" in shown


def test_ones_own_figures_are_said_to_be_ones_own(tmp_path, page, studio_home):
    Settings(price_per_kwh=0.31, currency="EUR", grams_per_kwh=20.0).save()
    shown = page(finished(tmp_path).folder).text
    assert "at €0.31 per kWh (your own figure)" in shown and "at 20 g per kWh (your own figure)" in shown


def test_the_cards_own_counter_is_named(run, page, studio_home):
    sensed_otherwise(run, lambda gpu, time: gpu.update(energy_j=1000 + 150 * time))
    assert "Cards 0.17 Wh measured by the cards' own counters" in page(run.folder).text


def test_a_card_without_power_is_said_to_be_missing(run, page, studio_home):
    run.start()
    run.sense(5, power_w=None)
    assert "The card doesn't report its power" not in page(run.folder).text
    sensed_otherwise(run, lambda gpu, time: gpu.pop("power_w"))
    shown = page(run.folder).text
    assert "The card doesn't report its power, so its energy isn't known and isn't in these figures." in shown
    assert "Energy: about" in shown and "(estimated)" in shown


def test_runs_are_compared_by_energy(tmp_path, studio_home):
    folders = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        folders.append(finished(tmp_path / name).folder)
    assert ("Energy", "0.25 Wh", "0.25 Wh") in compare(folders).rows()
