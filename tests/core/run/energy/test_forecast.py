"""What a run will draw: from what runs drew here, else from the card's limit and the processor's cores."""

from __future__ import annotations

import dataclasses

import pytest

from slmstudio.core.hardware.machine import Gpu, Machine
from slmstudio.core.model import facts
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.energy import energy_use as module
from slmstudio.core.run.energy.energy_use import ESTIMATE, MACHINE, SAME
from slmstudio.core.run.memory import measured, outlook

GB = 1024**3
CARD = Gpu(0, "NVIDIA GeForce RTX 3060", 12 * GB, 11 * GB, (8, 6), power_limit_w=170.0)
CPU_ONLY = Machine("Linux", "a processor", 4, 8, 16 * GB, 12 * GB, (), True, False)
WITH_CARD = dataclasses.replace(CPU_ONLY, gpus=(CARD,))
MEMORY = 16 * 0.3725


@pytest.fixture
def look(studio_home, tiny_model, rows_file, monkeypatch):
    """`look(machine, drew={…})`: what is known of a run, after runs that drew so many watts."""
    monkeypatch.setattr(module, "read_battery", lambda: None)
    about = facts.read_model(tiny_model)

    def make(machine: Machine = CPU_ONLY, drew: tuple[tuple[dict, float], ...] = (), **fields):
        config = RunConfig(name="n", model="m", train_file=str(rows_file), **fields)
        for changed, watts in drew:
            measured.record(measured.measure(about, dataclasses.replace(config, **changed), machine, "run", 100, 10**9,
                                             watts=watts, seconds_per_step=2.0))
        return outlook.look(about, config, machine, 160)

    return make


def test_on_the_processor_it_is_its_cores_and_the_memory(look):
    found = look().energy
    assert found.basis == ESTIMATE and found.seconds is None and found.joules is None
    assert found.watts == pytest.approx((4 * 12 * 1.02 + MEMORY) / 0.85)
    assert found.low < 0.6 * found.watts and found.high > 1.4 * found.watts
    assert look(threads=2).energy.watts == pytest.approx((4 * 12 * 0.75 + MEMORY) / 0.85)


def test_on_a_card_it_is_a_share_of_its_limit_and_one_core(look):
    found = look(WITH_CARD).energy
    rest = 4 * 12 * (0.32 + 0.43 * 0.15 / 0.4) + MEMORY
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
    assert found.energy.joules == pytest.approx(210.0 * found.seconds)


def test_other_runs_on_this_machine_are_better_than_an_estimate(look):
    found = look(drew=(({"lora_rank": 8}, 80.0), ({"lora_rank": 32}, 60.0), ({"max_length": 64}, 200.0)))
    assert found.energy.basis == MACHINE and found.energy.watts == 80.0
    assert (found.energy.low, found.energy.high) == pytest.approx((56.0, 200.0))
    assert look(WITH_CARD).energy.basis == ESTIMATE  # those were on the processor


def test_a_run_on_other_rows_tells_how_long_it_may_take(look):
    before = {"train_file": "/gone/rows.jsonl", "gradient_accumulation_steps": 4}
    found = look(drew=((before, 50.0),), gradient_accumulation_steps=8, max_steps=100)
    assert found.seconds is None, "these rows were not measured"
    assert found.energy.seconds == pytest.approx(100 * 2.0 * 8 / 4) and found.energy.basis == SAME
    assert found.energy.joules == pytest.approx(50.0 * 400)
