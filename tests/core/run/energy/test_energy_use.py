"""What a run draws agrees with the power curve that made it, within 1%; what it will draw is from what runs drew here,
else from the card's limit and the processor's cores."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections.abc import Callable, Iterator

import pytest
from scipy.integrate import quad

from slmstudio.core.hardware.machine import Gpu, Machine
from slmstudio.core.model import facts
from slmstudio.core.run import measured, time_estimate
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.energy import energy_use as module
from slmstudio.core.run.energy.energy_use import (
    CARDS,
    ESTIMATE,
    MACHINE,
    MEMORY,
    PROCESSOR,
    SAME,
    SUPPLY,
    SUPPLY_EFFICIENCY,
    EnergyMeter,
    memory_watts,
    processor_watts,
)
from slmstudio.core.run.memory import outlook

GB = 1024**3
Curve = Callable[[float], float]
CURVES: dict[str, Curve] = {
    "constant": lambda t: 165.0,
    "ramp": lambda t: 30.0 + t / 2,
    "sine": lambda t: 150.0 + 80.0 * math.sin(t / 3),
    "spikes": lambda t: 90.0 + 220.0 * math.exp(-((t % 20 - 10) ** 2) / 8),
    "steps and evaluations": lambda t: 220.0 if t % 60 < 50 else 70.0,
}


def true(curve: Curve, begin: float, end: float) -> float:
    """Joules below the curve."""
    pieces = [begin, *range(math.ceil(begin), math.floor(end) + 1), end]
    return sum(quad(curve, a, b)[0] for a, b in itertools.pairwise(pieces))


def moments(begin: float, end: float, jitter: float = 0.0, period: float = 1.0) -> Iterator[float]:
    """When readings come: about once a second, never quite on time."""
    chance, time = random.Random(7), begin
    while time < end:
        yield time
        time += period + chance.uniform(-jitter, 3 * jitter)
    yield end


def sensors(time: float, *cards: dict, **fields) -> dict:
    return {"type": "sensors", "time": 1000.0 + time, "gpus": [{"index": i, **card} for i, card in enumerate(cards)],
            **fields}


def metered(*events: dict) -> EnergyMeter:
    meter = EnergyMeter()
    for event in events:
        meter.add(event)
    return meter


def cards(meter: EnergyMeter) -> float:
    assert meter.use is not None
    found = meter.use.of(CARDS)
    assert found is not None
    return found


def how(meter: EnergyMeter) -> list[str]:
    assert meter.use is not None
    return [part.how for part in meter.use.parts if part.name == CARDS]


@pytest.mark.parametrize("jitter", [0.0, 0.3])
@pytest.mark.parametrize("name", CURVES)
def test_power_over_time_is_the_area_below_the_curve(name, jitter):
    curve = CURVES[name]
    meter = metered(*(sensors(t, {"power_w": curve(t)}) for t in moments(0, 600, jitter)))
    assert cards(meter) == pytest.approx(true(curve, 0, 600), rel=0.01) and how(meter) == ["power"]
    assert meter.seconds == pytest.approx(600)


@pytest.mark.parametrize("name", CURVES)
def test_the_cards_own_counter_is_exact_however_seldom_it_is_read(name):
    curve = CURVES[name]
    meter = metered(*(sensors(t, {"power_w": curve(t), "energy_j": 5e6 + true(curve, 0, t)})
                      for t in moments(0, 300, 0.3, period=4.0)))
    assert cards(meter) == pytest.approx(true(curve, 0, 300), rel=1e-6) and how(meter) == ["counter"]


@pytest.mark.parametrize("counter", [lambda t: 7000.0, lambda t: 165.0 * t / 1000, lambda t: 165.0 * t * 60])
def test_a_counter_that_stands_still_or_counts_something_else_is_not_believed(counter):
    meter = metered(*(sensors(t, {"power_w": 165.0, "energy_j": counter(t)}) for t in range(101)))
    assert cards(meter) == pytest.approx(16_500) and how(meter) == ["power"]


def test_a_counter_that_starts_again_loses_nothing_where_power_is_told():
    def counter(t: int) -> float:
        return 1e6 + 200.0 * t if t < 50 else 200.0 * (t - 50)

    meter = metered(*(sensors(t, {"power_w": 200.0, "energy_j": counter(t)}) for t in range(101)))
    assert cards(meter) == pytest.approx(20_000) and how(meter) == ["counter"]
    alone = metered(*(sensors(t, {"energy_j": counter(t)}) for t in range(101)))
    assert cards(alone) == pytest.approx(20_000 - 200)  # the second in which it began again


def test_a_counter_that_jumps_tells_nothing_of_that_moment():
    meter = metered(*(sensors(t, {"power_w": 100.0, "energy_j": 100.0 * t + (9e8 if t >= 30 else 0)})
                      for t in range(61)))
    assert cards(meter) == pytest.approx(6000)


def test_two_cards_are_summed_each_as_it_can_be():
    first, second = CURVES["sine"], CURVES["ramp"]
    events = [sensors(t, {"uuid": "GPU-b", "power_w": first(t)},
                      {"uuid": "GPU-a", "power_w": second(t), "energy_j": true(second, 0, t)}) for t in range(301)]
    for event in events[150:]:
        event["gpus"].reverse()  # told apart by their UUID, not by their place
    meter = metered(*events)
    assert cards(meter) == pytest.approx(true(first, 0, 300) + true(second, 0, 300), rel=0.01)
    assert sorted(how(meter)) == ["counter", "power"]


def test_nothing_is_counted_between_attempts_in_gaps_and_while_the_machine_slept():
    def awake(begin: int, end: int) -> list[dict]:
        return [sensors(t, {"power_w": 100.0}) for t in range(begin, end + 1)]

    start = {"type": "job_started", "time": 0}
    assert cards(metered(start, *awake(0, 60), start, *awake(64, 124))) == pytest.approx(12_000)
    assert cards(metered(*awake(0, 60), *awake(7200, 7260))) == pytest.approx(12_000)
    slept = {"type": "suspended", "time": 1070.0, "seconds": 8.0}
    meter = metered(*awake(0, 60), slept, *awake(69, 129))
    assert cards(meter) == pytest.approx(12_000) and meter.seconds == pytest.approx(120)


def test_a_counter_bridges_a_gap_but_no_sleep_and_no_second_attempt():
    def read(*times: int) -> list[dict]:
        return [sensors(t, {"power_w": 100.0, "energy_j": 100.0 * t}) for t in times]

    assert cards(metered(*read(0, 1, 2, 62, 63))) == pytest.approx(6300)
    for between in ({"type": "job_started", "time": 0}, {"type": "suspended", "time": 1030, "seconds": 59}):
        assert cards(metered(*read(0, 1, 2), between, *read(62, 63))) == pytest.approx(300)


def test_a_gap_that_a_counter_bridges_is_not_in_the_mean_power():
    meter = metered(*(sensors(t, {"power_w": 200.0, "energy_j": 200.0 * t}) for t in (*range(101), *range(3700, 3801))))
    assert cards(meter) == pytest.approx(200 * 3800) and meter.use is not None
    assert meter.use.seconds == pytest.approx(200) and meter.use.watts == pytest.approx(200 / SUPPLY_EFFICIENCY)


def test_a_clock_that_was_set_back_costs_one_interval():
    times = [*range(50), *range(20, 71)]
    meter = metered(*(sensors(t, {"power_w": 100.0}) for t in times))
    assert cards(meter) == pytest.approx(4900 + 5000)


THIS_MACHINE = {"type": "machine", "cores": 8, "ram_total": 32 * GB}


def test_the_processors_counter_wraps_and_is_measured():
    curve, wrap = CURVES["sine"], 262_143.328850
    events = [sensors(t, cpu={"energy_j": (wrap - 5000 + true(curve, 0, t)) % wrap, "energy_wraps_j": wrap,
                              "percent": 99.0}) for t in moments(0, 300, 0.3)]
    meter = metered(THIS_MACHINE, *events)
    assert meter.use is not None
    assert meter.use.of(PROCESSOR) == pytest.approx(true(curve, 0, 300), rel=0.01)
    assert meter.use.measured == pytest.approx(meter.use.of(PROCESSOR))
    parts = {part.name: part for part in meter.use.parts}
    assert parts[PROCESSOR].how == "rapl" and CARDS not in parts


def test_without_a_counter_the_processor_is_estimated_from_its_load_and_the_rest_is_said_to_be():
    meter = metered(THIS_MACHINE, *(sensors(t, {"power_w": 100.0}, cpu={"percent": 50.0}) for t in range(101)))
    use = meter.use
    assert use is not None
    assert use.of(PROCESSOR) == pytest.approx(100 * 8 * 12.0 * 0.75)
    assert use.of(MEMORY) == pytest.approx(100 * 32 * 0.3725)
    assert use.measured == pytest.approx(10_000)
    inside = 10_000 + 7200 + 1192
    assert use.of(SUPPLY) == pytest.approx(inside / SUPPLY_EFFICIENCY - inside)
    assert use.joules == pytest.approx(inside / SUPPLY_EFFICIENCY) and use.watts == pytest.approx(use.joules / 100)


def test_older_events_tell_the_workers_own_load_and_a_battery_means_a_laptop():
    events = [{"type": "sensors", "time": float(t), "cpu_percent": 400.0} for t in range(101)]
    use = metered(THIS_MACHINE, *events).use
    assert use is not None and use.of(PROCESSOR) == pytest.approx(100 * processor_watts(8, 0.5)) and use.measured == 0
    laptop = metered(THIS_MACHINE, *({**event, "battery": {"percent": 80.0, "plugged": True}} for event in events)).use
    assert laptop is not None and laptop.of(PROCESSOR) == pytest.approx(100 * 8 * 4.0 * 0.75)


def test_a_counter_that_may_be_read_only_later_shares_the_processor_between_both_ways():
    events = [sensors(t, cpu={"percent": 100.0, **({"energy_j": 70.0 * t} if t >= 50 else {})}) for t in range(101)]
    use = metered(THIS_MACHINE, *events).use
    assert use is not None
    assert {part.how: part.joules for part in use.parts if part.name == PROCESSOR} == {
        "load": pytest.approx(50 * processor_watts(8, 1.0)), "rapl": pytest.approx(50 * 70.0)}


def test_what_makes_no_sense_is_passed_over():
    assert metered().use is None and metered({"type": "sensors", "time": "now", "gpus": "none"}).use is None
    meter = metered(THIS_MACHINE, *(sensors(t, {"power_w": "a lot", "energy_j": None}) for t in range(5)),
                    {"type": "sensors", "time": 1003.0, "gpus": [None, 3, {"power_w": [1]}], "cpu": 7, "battery": 1})
    assert meter.use is None


@pytest.mark.parametrize(("load", "share"), [(0, 0.12), (0.05, 0.22), (0.1, 0.32), (0.3, 0.535), (1, 1.02), (7, 1.02)])
def test_a_processor_draws_by_its_load(load, share):
    assert processor_watts(10, load) == pytest.approx(120 * share)
    assert memory_watts(16 * GB) == pytest.approx(5.96)


CARD = Gpu(0, "NVIDIA GeForce RTX 3060", 12 * GB, 11 * GB, (8, 6), power_limit_w=170.0)
CPU_ONLY = Machine("Linux", "a processor", 4, 8, 16 * GB, 12 * GB, (), True, False)
WITH_CARD = dataclasses.replace(CPU_ONLY, gpus=(CARD,))
MEMORY_WATTS = 16 * 0.3725


@pytest.fixture
def look(studio_home, tiny_model, rows_file, monkeypatch):
    """`look(machine, drew={…})`: what is known of a run, after runs that drew so many watts."""
    monkeypatch.setattr(module, "read_battery", lambda: None)
    about = facts.read_model(tiny_model)

    def make(machine: Machine = CPU_ONLY, drew: tuple[tuple[dict, float], ...] = (), figures: dict | None = None,
             **fields):
        config = RunConfig(name="n", model="m", train_file=str(rows_file), **fields)
        for changed, watts in drew:
            measured.record(outlook.measure(about, dataclasses.replace(config, **changed), machine, "run", 100, 10**9,
                                             watts=watts, **(figures or {"seconds_per_step": 2.0})))
        return outlook.look(about, config, machine, 160, 16_000)

    return make


def test_on_the_processor_it_is_its_cores_and_the_memory(look):
    found = look().energy
    assert found.basis == ESTIMATE and found.seconds is None and found.joules is None
    assert found.watts == pytest.approx((4 * 12 * 1.02 + MEMORY_WATTS) / 0.85)
    assert found.low < 0.6 * found.watts and found.high > 1.4 * found.watts
    assert look(threads=2).energy.watts == pytest.approx((4 * 12 * 0.75 + MEMORY_WATTS) / 0.85)


def test_on_a_card_it_is_a_share_of_its_limit_and_one_core(look):
    found = look(WITH_CARD).energy
    rest = 4 * 12 * (0.32 + 0.43 * 0.15 / 0.4) + MEMORY_WATTS
    assert found.watts == pytest.approx((0.75 * 170 + rest) / 0.85)
    assert (found.low, found.high) == pytest.approx(((0.45 * 170 + rest) / 0.85, (170 + rest) / 0.85))
    assert look(WITH_CARD, device="cpu").energy.watts == pytest.approx(look().energy.watts)


def test_a_card_is_counted_for_each_process(look, monkeypatch):
    both = dataclasses.replace(WITH_CARD, gpus=(CARD, dataclasses.replace(CARD, index=1, power_limit_w=220.0)))
    one, two = look(WITH_CARD).energy, look(both, processes=2).energy
    assert two.watts - one.watts == pytest.approx(0.75 * 220 / 0.85)
    assert two.high - one.high == pytest.approx(220 / 0.85)
    assert look(both).energy.watts == pytest.approx(one.watts)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert look(both, processes=2).energy.watts == pytest.approx(one.watts)


def test_a_card_that_tells_no_limit_is_not_guessed(look):
    assert look(dataclasses.replace(CPU_ONLY, gpus=(dataclasses.replace(CARD, power_limit_w=None),))).energy is None


def test_what_the_same_settings_drew_here_wins(look):
    found = look(WITH_CARD, drew=(({}, 210.0), ({"method": "full"}, 90.0)))
    assert found.energy.basis == SAME and found.energy.watts == 210.0
    assert (found.energy.low, found.energy.high) == pytest.approx((189.0, 231.0))
    assert found.energy.joules == pytest.approx(210.0 * found.time.likely)


def test_other_runs_on_this_machine_are_better_than_an_estimate(look):
    found = look(drew=(({"lora_rank": 8}, 80.0), ({"lora_rank": 32}, 60.0), ({"max_length": 64}, 200.0)))
    assert found.energy.basis == MACHINE and found.energy.watts == 80.0
    assert (found.energy.low, found.energy.high) == pytest.approx((56.0, 200.0))
    assert look(WITH_CARD).energy.basis == ESTIMATE  # those were on the processor


def test_a_run_on_other_rows_tells_how_long_it_may_take(look):
    before = {"train_file": "/gone/rows.jsonl"}
    found = look(drew=((before, 50.0),), figures={"tokens_per_second": 40.0, "seconds_besides": 0.0}, eval_fraction=0.0,
                 epochs=1.0)
    assert found.time.source == time_estimate.ALIKE, "these rows were not measured"
    assert found.energy.seconds == pytest.approx(16_000 / 40) and found.energy.basis == SAME
    assert found.energy.joules == pytest.approx(50.0 * 400)
