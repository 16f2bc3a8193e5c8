"""A lower power limit, with the command that a person types."""

from __future__ import annotations

import pytest

from slmstudio.core.hardware import heat_limits
from slmstudio.core.hardware.nvml import GpuReading

CARD = GpuReading(1, "NVIDIA GeForce RTX 3090", power_limit_w=350.0)


@pytest.mark.parametrize(("system", "in_wsl", "command", "where"), [
    ("linux", False, "sudo nvidia-smi -i 1 -pl 280", "in a terminal"),
    ("linux", True, "nvidia-smi -i 1 -pl 280", "in Windows, in a terminal opened as administrator"),
    ("win32", False, "nvidia-smi -i 1 -pl 280", "in a terminal opened as administrator")])
def test_the_command(system, in_wsl, command, where):
    found = heat_limits.suggest(CARD, 100.0, system, in_wsl)
    assert (found.index, found.watts, found.command, found.where) == (1, 280, command, where)
    assert found.message == (
        "A lower power limit keeps NVIDIA GeForce RTX 3090 cooler and costs little speed: 280 W instead of 350 W. "
        f"{where[0].upper()}{where[1:]}, type: {command} (it lasts until the next restart; some laptops refuse it).")


@pytest.mark.parametrize(("limit", "least", "watts"), [
    (350.0, None, 280), (350.0, 300.0, 300), (170.0, 100.0, 136), (100.0, 100.0, None), (None, 100.0, None),
    (80.5, 80.0, None)])
def test_never_below_what_the_card_takes(limit, least, watts):
    found = heat_limits.suggest(GpuReading(0, "Card", power_limit_w=limit), least, "linux", False)
    assert (found and found.watts) == watts


def test_a_lost_card_gets_no_advice():
    assert heat_limits.suggest(GpuReading(0, "Card", power_limit_w=350.0, lost=True), None) is None


def test_the_card_of_this_machine(fake_nvml):
    fake_nvml.set(least_power_limit=150_000)
    card = GpuReading(0, "RTX 3060", power_limit_w=170.0)
    assert heat_limits.suggest_now(card).watts == 150
    fake_nvml.set(least_power_limit="NOT_SUPPORTED")
    assert heat_limits.suggest_now(card).watts == 136
    fake_nvml.remove_driver()
    assert heat_limits.suggest_now(card) is None
    assert fake_nvml.users() == 0


@pytest.mark.parametrize(("pauses", "slowed", "worth"), [(0, 0.0, False), (2, 59.0, False), (3, 0.0, True),
                                                         (0, 60.0, True)])
def test_when_it_is_worth_a_word(pauses, slowed, worth):
    assert heat_limits.is_worth_it(pauses, slowed) is worth
