"""When to pause, and for how long: over simulated hours on simulated cards."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.simulated_card import SimulatedCard
from support.tiers import examples

from slmstudio.core.hardware.heat_guard import COOLED_C, GIVE_UP_SECONDS, UNREAD_SECONDS, Guard, Rest, Settings
from slmstudio.core.hardware.heat_limits import Hours
from slmstudio.core.hardware.linux_sensors import Battery
from slmstudio.core.hardware.nvml import GpuReading
from slmstudio.core.hardware.readings import CpuReading, MachineReading

NOON = datetime(2026, 11, 27, 12)


def card(celsius: int | None, slowdown: int | None = 95, index: int = 0, **more) -> GpuReading:
    return GpuReading(index, "Card", celsius, slowdown, **more)


def gpu(celsius: int | None, slowdown: int | None = 95) -> MachineReading:
    return MachineReading((card(celsius, slowdown),))


def looks(guard: Guard, readings: list[MachineReading | None], begin: float = 0.0) -> list[str | None]:
    """What the guard says to one reading a second."""
    said = [guard.look(begin + second, reading, NOON) for second, reading in enumerate(readings)]
    return [rest and rest.why for rest in said]


def test_a_limit_must_be_passed_for_some_seconds():
    assert looks(Guard(Settings()), [gpu(90)] * 4) == [None, None, None, "heat"]
    assert looks(Guard(Settings()), [gpu(t) for t in (90, 90, 88, 90, 90, 88, 90)]) == [None] * 7


def test_readings_that_swing_at_the_limit_count_as_passing_it():
    assert looks(Guard(Settings()), [gpu(t) for t in (90, 89, 90, 89)]) == [None, None, None, "heat"]


def test_after_a_long_step_one_reading_is_enough():
    guard = Guard(Settings())
    assert guard.look(0.0, gpu(60), NOON) is None
    assert guard.look(20.0, gpu(91), NOON).why == "heat"


@pytest.mark.parametrize(("reading", "settings_", "on_cpu", "limit"), [
    (gpu(50), Settings(), False, 90),
    (gpu(50, None), Settings(), False, 83),
    (gpu(50), Settings(limit_c=70), False, 70),
    (gpu(50), Settings(mode="hold"), False, 92),
    (gpu(50), Settings(mode="hold", limit_c=70), False, 75),
    (MachineReading(cpu=CpuReading(50.0)), Settings(), False, 90),
    (MachineReading(cpu=CpuReading(50.0, 105.0)), Settings(), False, 100),
    (MachineReading(cpu=CpuReading(50.0, 105.0)), Settings(limit_c=80), False, 80),
    (MachineReading((card(85, 88),), CpuReading(60.0)), Settings(), True, 90),
    (MachineReading((card(85),), CpuReading(60.0, 105.0)), Settings(limit_c=80), True, 80),
    (MachineReading((card(60),), CpuReading(80.0)), Settings(limit_c=70), False, 70),
    (MachineReading((card(60), card(70, 85, index=1))), Settings(), False, 80),
    (MachineReading((card(60, memory_temperature_c=88, memory_limit_c=95),)), Settings(limit_c=80), False, 90),
    (MachineReading((card(60, memory_temperature_c=110),)), Settings(), False, 90),
    (MachineReading((card(60, lost=True), card(50, index=1))), Settings(), False, 90),
])
def test_the_limit_is_that_of_the_part_nearest_to_it(reading, settings_, on_cpu, limit):
    guard = Guard(settings_, on_cpu)
    guard.look(0.0, reading, NOON)
    assert guard.heat.limit_c == limit


def test_what_is_said():
    guard = Guard(Settings())
    rest = [guard.look(float(second), gpu(91), NOON) for second in range(4)][-1]
    assert rest.message == ("The GPU is at 91 °C; the limit is 90 °C. Training rests until it has cooled to 80 °C, for "
                            "at least 1 min.")
    hot = MachineReading((card(60), card(60, index=1, memory_temperature_c=99, memory_limit_c=95)))
    guard = Guard(Settings())
    rest = [guard.look(float(second), hot, NOON) for second in range(4)][-1]
    assert rest.why == "memory_heat" and rest.message.startswith("The memory of GPU 1 is at 99 °C; the limit is 90 °C.")


def test_a_run_on_the_processor_does_not_rest_for_a_card_that_is_busy_with_something_else():
    game = MachineReading((card(95),), CpuReading(60.0))
    assert looks(Guard(Settings(), on_cpu=True), [game] * 10) == [None] * 10
    assert looks(Guard(Settings(), on_cpu=False), [game] * 10)[-1] == "heat"
    guard = Guard(Settings(limit_c=70), on_cpu=True)
    assert looks(guard, [MachineReading((card(75),), CpuReading(72.0))] * 4)[-1] == "heat"
    assert guard.heat.what == "cpu"


def test_a_pause_lasts_its_shortest_time_and_until_it_has_cooled():
    guard = Guard(Settings(rest_seconds=60))
    looks(guard, [gpu(91)] * 4)
    assert guard.look(62.0, gpu(40), NOON) is not None
    assert guard.look(63.0, gpu(40), NOON) is None
    looks(guard, [gpu(91)] * 4, 70.0)
    assert guard.look(300.0, gpu(90 - COOLED_C + 1), NOON) is not None
    assert guard.look(301.0, gpu(90 - COOLED_C), NOON) is None


def test_in_a_hot_room_below_the_limit_is_enough_after_a_while():
    guard = Guard(Settings(limit_c=50))
    looks(guard, [gpu(51)] * 4)
    assert guard.look(GIVE_UP_SECONDS, gpu(49), NOON) is not None
    assert guard.look(GIVE_UP_SECONDS + 3, gpu(50), NOON) is not None
    assert guard.look(GIVE_UP_SECONDS + 4, gpu(49), NOON) is None


def test_without_readings_nothing_is_done():
    for reading in (None, MachineReading(), gpu(None), MachineReading((card(99, lost=True),))):
        guard = Guard(Settings(pause_on_battery=True))
        assert looks(guard, [reading] * 10) == [None] * 10 and guard.heat is None
        assert guard.rest_after_step(1.0) == 0.0


@pytest.mark.parametrize("silent", [None, gpu(None), MachineReading((card(91, lost=True),), CpuReading(50.0))])
def test_a_pause_for_heat_outlasts_silent_sensors_for_a_while(silent):
    guard = Guard(Settings(rest_seconds=60))
    looks(guard, [gpu(91)] * 4)
    for second in (62.0, 63.0, 62.0 + UNREAD_SECONDS - 1):
        assert guard.look(second, silent, NOON).why == "heat" and not guard.gave_up
    assert guard.look(800.0, gpu(91), NOON) is not None
    assert guard.look(801.0, silent, NOON) is not None
    assert guard.look(801.0 + UNREAD_SECONDS, silent, NOON) is None and guard.gave_up
    assert guard.look(802.0 + UNREAD_SECONDS, silent, NOON) is None and not guard.gave_up


def test_a_pause_for_the_battery_outlasts_silent_sensors_for_a_while():
    on, off, unknown = (MachineReading(battery=Battery(71.4, plugged)) for plugged in (True, False, None))
    guard = Guard(Settings(pause_on_battery=True))
    assert looks(guard, [off, None, MachineReading(), unknown, on]) == ["battery"] * 4 + [None]
    assert not guard.gave_up
    looks(guard, [off, None], 10.0)
    assert guard.look(10.0 + UNREAD_SECONDS, None, NOON).why == "battery"
    assert guard.look(11.0 + UNREAD_SECONDS, None, NOON) is None and guard.gave_up


def test_switched_off_heat_is_passed_over():
    assert looks(Guard(Settings(mode="off")), [gpu(120)] * 10) == [None] * 10


def test_on_battery_it_rests_until_it_is_plugged_in():
    guard = Guard(Settings(mode="off", pause_on_battery=True, rest_seconds=10))
    on, off, unknown = (MachineReading(battery=Battery(71.4, plugged)) for plugged in (True, False, None))
    assert looks(guard, [on, unknown, off, on, off]) == [None, None, "battery", None, "battery"]
    rest = guard.look(11.0, off, NOON)
    assert rest.message == "The machine is running on battery (71%). Training rests until it's plugged in."
    assert guard.look(12.0, on, NOON) is None  # the shortest pause is one for heat
    assert looks(Guard(Settings()), [off] * 5) == [None] * 5


def test_it_works_in_its_hours():
    guard = Guard(Settings(hours=Hours.parse("22:00-06:00"), rest_seconds=86_400))

    def at(seconds: float, hour: int, minute: int = 0) -> Rest | None:
        return guard.look(seconds, gpu(40), datetime(2026, 11, 27, hour, minute))

    assert at(0, 5, 59) is None
    assert at(60, 6).message == "Training rests until 22:00; it may run from 22:00 to 06:00."
    assert at(57_600, 21, 59).why == "hours"
    assert at(57_660, 22) is None


def test_the_reason_may_change_while_it_rests():
    guard = Guard(Settings(pause_on_battery=True))
    looks(guard, [gpu(91)] * 4)
    both = MachineReading((card(91),), battery=Battery(50, False))
    assert guard.look(5.0, both, NOON).why == "battery"
    plugged = MachineReading((card(91),), battery=Battery(50, True))
    assert guard.look(70.0, plugged, NOON).why == "heat"
    assert guard.look(71.0, gpu(60), NOON) is None


def test_a_change_holds_at_the_next_look():
    guard = Guard(Settings())
    looks(guard, [gpu(91)] * 4)
    guard.change(Settings(limit_c=95))
    assert guard.look(5.0, gpu(91), NOON) is None
    guard.change(Settings(limit_c=80))
    assert looks(guard, [gpu(81)] * 4, 6.0)[-1] == "heat"


def pauses(guard: Guard, machine: SimulatedCard, step: float, seconds: float) -> tuple[list[float], float]:
    """When pauses began, and the highest temperature after the first."""
    began, peak, resting = [], 0.0, False
    while machine.time < seconds:
        rest = guard.look(machine.time, machine.read(), NOON)
        if rest is not None and not resting:
            began.append(machine.time)
        resting = rest is not None
        machine.spend(0.5 if resting else step, 0.0 if resting else 1.0)
        peak = max(peak, machine.temperature if began else 0.0)
    return began, peak


@settings(max_examples=examples(40), deadline=None)
@given(seconds=st.floats(3, 300), rise=st.floats(20, 90), step=st.floats(0.2, 20), delay=st.floats(0, 5),
       noise=st.floats(0, 3), rest=st.sampled_from([1, 10, 60, 300]), seed=st.integers(0, 99))
def test_it_never_flaps(seconds, rise, step, delay, noise, rest, seed):
    machine = SimulatedCard(seconds, rise, delay=delay, noise=noise, seed=seed)
    began, _ = pauses(Guard(Settings(limit_c=70, rest_seconds=rest)), machine, step, 2000.0)
    apart = [later - earlier for earlier, later in pairwise(began)]
    assert min(apart, default=rest) >= rest - 1e-6
    if rise < 25 and noise < 1:
        assert began == []
    if rise > 45:
        assert began


def test_a_pausing_card_stays_near_its_limit():
    for seconds in (60, 120, 300):
        began, peak = pauses(Guard(Settings(limit_c=75)), SimulatedCard(seconds, 60, delay=2), 1.0, 7200.0)
        assert len(began) > 5 and peak < 75 + 60 * 6 / seconds
