"""Energy in the terminal: a run's own, the price that is set, and what a plan will take."""

from __future__ import annotations

import time

import pytest
from support.report_run import finished

from slmstudio.cli import commands
from slmstudio.cli.progress import Follower
from slmstudio.core import files, jobs, paths, settings
from slmstudio.core.run.energy import energy_costs

KWH = 3.6e6


@pytest.fixture(autouse=True)
def india(studio_home, monkeypatch):
    monkeypatch.setattr(energy_costs, "country_here", lambda: "IN")


def test_a_price_is_remembered_and_forgotten(told):
    assert told("energy")["tariff"]["price_per_kwh"] == 7.12
    assert told("energy", "--price", 0.3, "--currency", "eur", "--grams", 21)["tariff"] == {
        "price_per_kwh": 0.3, "currency": "EUR", "price_source": "your own figure", "grams_per_kwh": 21.0,
        "grams_source": "your own figure"}
    assert settings.load()[0].currency == "EUR"
    assert told("energy", "--default")["tariff"]["currency"] == "INR"
    assert settings.load()[0] == settings.Settings()


def test_damaged_settings_are_set_aside_for_a_new_price(told):
    file = paths.settings_file()
    file.parent.mkdir(parents=True)
    file.write_text("{half")
    assert told("energy", "--price", 9)["tariff"]["price_per_kwh"] == 9
    assert settings.load() == (settings.Settings(price_per_kwh=9, currency="INR"), None)
    assert [each.read_text() for each in file.parent.glob("*.damaged-*")] == ["{half"]


def test_a_price_stays_in_its_currency(told, monkeypatch):
    assert told("energy", "--price", 9)["tariff"]["currency"] == "INR"
    monkeypatch.setattr(energy_costs, "country_here", lambda: "DE")
    found = told("energy")["tariff"]
    assert (found["price_per_kwh"], found["currency"], found["grams_per_kwh"]) == (9, "INR", 381.0)


def test_everything_that_is_wrong_is_told_at_once(cli, monkeypatch):
    monkeypatch.setattr(energy_costs, "country_here", lambda: "")
    said = cli("energy", "--price", "-2", "--grams", "nan", "--currency", "rupee", status=2).err
    for words in ("-2 isn't allowed; it must be 0", "nan isn't allowed", "rupee isn't a three-letter"):
        assert words in said
    assert "Give the currency, too." in cli("energy", "--price", "8", status=2).err
    assert settings.load()[0] == settings.Settings()


def test_a_run_by_part(cli, told, tmp_path):
    run = finished(tmp_path).folder
    found = told("energy", run)["energy"]
    assert found["kwh"] == pytest.approx(sum(part["kwh"] for part in found["parts"]))
    assert found["measured_kwh"] == pytest.approx(600 / KWH) and found["seconds"] == pytest.approx(4)
    assert found["cost"] == pytest.approx(7.12 * found["kwh"]) and found["currency"] == "INR"
    assert found["co2_grams"] == pytest.approx(727 * found["kwh"])
    said = " ".join(cli("energy", run).out.split())
    assert "Total: 0.25 Wh (0.17 Wh measured, the rest estimated), measured over 4 s" in said
    assert "Cost: ₹0.0018 at ₹7.12 per kWh" in said and "CO2: 0.18 g at 727 g" in said


def test_the_list_of_runs_has_it(cli, told, tmp_path):
    finished(tmp_path)
    listed, = told("runs", "--folder", tmp_path)["runs"]
    assert listed["energy"]["measured_kwh"] == pytest.approx(600 / KWH)
    assert "0.25 Wh" in cli("runs", "--folder", tmp_path).out


def test_without_a_price_it_says_how_to_set_it(cli, tmp_path, monkeypatch):
    monkeypatch.setattr(energy_costs, "country_here", lambda: "")
    said = cli("energy", finished(tmp_path).folder).out
    assert "Cost: not known" in said and "energy --price PRICE --currency CURRENCY" in said


def test_a_plan_tells_energy_and_cost_before_a_run(told, tmp_path, tiny_model, rows_file, capsys):
    arguments = ["plan", "--model", str(tiny_model), "--data", str(rows_file), "--out", str(tmp_path / "run.json")]
    found = told(*arguments)["energy"]
    assert found["watts"] > 0 and found["basis"] == "estimate" and found["seconds"] is None
    assert commands.main(arguments) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Uses about " in said and "₹" in said and "How long it takes hasn't been measured yet." in said


@pytest.mark.full
def test_a_real_run_draws_what_its_cards_were_told_to(told, new_run, fake_nvml):
    """A worker reads two fake cards through the real pynvml while they follow a power curve by the clock: one tells its
    power alone, the other counts its energy too."""
    job = new_run(max_steps=100_000, eval_steps=10**6, save_steps=10**6)
    fake_nvml.set(count=2)
    fake_nvml.set(0, energy="NOT_SUPPORTED", uuid="GPU-a")
    fake_nvml.set(1, uuid="GPU-b")
    length, begin = 0.05, time.time()

    def moment(t: float) -> dict[str, int | str]:  # watts rise by 2 a second on one card, and by 1 on the other
        return {"0.power": int(1000 * (50 + 2 * t)), "1.power": int(1000 * (90 + t)),
                "1.energy": int(1000 * (1e6 + 90 * t + t * t / 2))}

    fake_nvml.play([moment(number * length) for number in range(4000)], seconds=length)
    job.start()
    count = 0
    for event in job.follow():
        count += event["type"] == "sensors"
        if count >= 5 and event["type"] == "step":
            job.send("stop")
            break
    assert job.wait().state == "stopped"
    times = [event["time"] - begin for event in job.events() if event["type"] == "sensors"]
    first, last = times[0], times[-1]
    area = 140 * (last - first) + 1.5 * (last**2 - first**2)
    found = told("energy", job.folder)["energy"]
    cards = {part["how"]: part["kwh"] * KWH for part in found["parts"] if part["part"] == "cards"}
    assert cards.keys() == {"power", "counter"}
    assert sum(cards.values()) == pytest.approx(area, rel=0.01)
    assert found["seconds"] == pytest.approx(last - first)
    assert {part["part"] for part in found["parts"]} == {"cards", "processor", "memory", "power supply"}
    assert found["measured_kwh"] * KWH >= sum(cards.values()) * 0.999999


def test_the_line_of_a_run_tells_what_it_drew_so_far(tmp_path):
    with Follower() as follower:
        follower._awaited = tmp_path / "process.json"
        files.write_atomically(follower._awaited, '{"pid": 0}')
        for event in jobs.Job(finished(tmp_path).folder).events():
            follower.on_event("train", event)
        assert "Wh" not in follower._progress.tasks[0].fields["detail"]  # the steps are of an earlier life
        follower.on_event("train", {"type": "job_started", "time": 2.0**40, "pid": 0})
        follower.on_event("train", {"type": "step", "time": 2.0**40, "global_step": 61, "train_loss": 1.5,
                                    "tokens_per_second": 3400.0})
        assert follower._progress.tasks[0].fields["detail"] == "loss 1.500 · 3400 tokens/s · 0.25 Wh"
