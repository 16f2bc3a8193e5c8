"""Holding a temperature by resting between steps: on simulated cards of many kinds, for up to an hour each.

A step isn't interrupted, so what can be held is the temperature at the ends of steps. Only cards and steps are tried
with which that is possible: the longest rest must be long enough, and steps of different lengths alone must not move
the temperature by more than three quarters of a degree.
"""

from __future__ import annotations

import math
import random
from datetime import datetime
from itertools import product

import pytest
from support.simulated_card import SimulatedCard
from support.tiers import first_fast

from slmstudio.core.hardware.heat_guard import LONGEST_SECONDS, MOST, DutyCycle, Guard, Settings

NOON = datetime(2026, 11, 27, 12)
VARIES = 0.2
"""Steps are up to this share longer or shorter."""


def hold(card: SimulatedCard, target: float, step: float, until: float) -> tuple[list[tuple[float, float]], float, int]:
    """Work and rest; (time, degrees above the target) at the end of each step, the share worked, and the pauses."""
    guard, lengths, found, worked, pauses = Guard(Settings("hold", target)), random.Random(1), [], 0.0, 0
    while card.time < until:
        seconds = step * lengths.uniform(1 - VARIES, 1 + VARIES)
        card.spend(seconds, 1.0)
        worked += seconds
        found.append((card.time, card.temperature - target))
        resting = guard.look(card.time, card.read(), NOON)
        pauses += resting is not None
        while resting:
            card.spend(0.5, 0.0)
            resting = guard.look(card.time, card.read(), NOON)
        rest = guard.rest_after_step(seconds)
        while rest > 0:
            card.spend(min(rest, 0.5), 0.0)
            rest -= 0.5
            guard.look(card.time, card.read(), NOON)
    return found, worked / card.time, pauses


def possible(seconds: float, rise: float, share: float, step: float) -> bool:
    """Whether steps of that length can be held at `share` of the rise."""
    rest = min(LONGEST_SECONDS, MOST / (1 - MOST) * step)
    warms, cools = math.exp(-step / seconds), math.exp(-rest / seconds)
    lowest = rise * (1 - warms) / (1 - warms * cools)
    return lowest < share * rise - 2 and VARIES * step * rise * (1 - share) / seconds <= 0.75


CARDS = [case for case in product((60, 20, 30, 120, 300), (50, 25, 80), (2.0, 0.0), (1.0, 0.2, 5.0, 20.0), (0.5, 0.8))
         if possible(case[0], case[1], case[4], case[3])]


def check(seconds: float, rise: float, delay: float, step: float, share: float) -> None:
    settled = 1800.0 if seconds >= 300 else 1000.0
    card = SimulatedCard(seconds, rise, delay=delay, slowdown=None)
    found, worked, pauses = hold(card, card.ambient + share * rise, step, settled + 600.0)
    worst = max((above for time, above in found if time > settled), key=abs)
    assert abs(worst) <= 2.0, f"{worst:+.1f} °C"
    assert share - 0.15 < worked < 1 and pauses <= 3


def test_there_are_many_cards():
    assert len(CARDS) > 150


@pytest.mark.parametrize(("seconds", "rise", "delay", "step", "share"), first_fast(CARDS, 10))
def test_it_holds_the_target_within_two_degrees(seconds, rise, delay, step, share):
    check(seconds, rise, delay, step, share)


@pytest.mark.parametrize("step", [0.2, 1.0, 3.0])
def test_a_chip_on_its_heat_sink(step):
    """The chip's own ten degrees come and go within two seconds; no rest between steps holds those."""
    card = SimulatedCard(90, 40, chip_rise=10, delay=1.0)
    found, _, _ = hold(card, 70, step, 2700.0)
    late = [above for time, above in found if time > 1200]
    assert abs(sum(late) / len(late)) <= 2.0 and max(late) <= 5.0


def test_a_cool_card_is_never_held_back():
    card = SimulatedCard(60, 30)
    _, worked, pauses = hold(card, 75, 1.0, 1800.0)
    assert worked > 0.999 and pauses == 0


def test_a_card_that_no_rest_cools_gets_the_longest_rests_and_no_more():
    duty = DutyCycle()
    for _ in range(1000):
        assert duty.update(40.0, 10.0) <= MOST
    assert duty.rest_after(1.0) == pytest.approx(9.0) and duty.rest_after(100.0) == LONGEST_SECONDS
    for _ in range(60):  # nothing was wound up: it gives way within minutes
        duty.update(-5.0, 10.0)
    assert duty.share == 0.0


def test_what_a_pause_taught_is_not_unlearnt_while_the_card_warms_up_again():
    duty = DutyCycle()
    duty.paused()
    for _ in range(30):
        assert duty.update(-1.0, 1.0) == pytest.approx(0.15 - 0.04 / (1 + 1 / 7))
    assert duty.update(0.0, 1.0) == pytest.approx(0.15)
    duty.update(-1.0, 10.0)
    assert duty.update(0.0, 1.0) < 0.15  # it has been there once


def test_a_hot_day_is_noticed():
    card = SimulatedCard(60, 50)
    before, *_ = hold(card, 70, 1.0, 1500.0)
    guard_sees = SimulatedCard(60, 50, ambient=45)
    after, worked, _ = hold(guard_sees, 70, 1.0, 1500.0)
    for found in (before, after):
        assert max(abs(above) for time, above in found if time > 900) <= 2.0
    assert worked < 0.65
