"""A card that is held back is told once, when it lasts, and again only after it was free."""

import pytest

from slmstudio.core.hardware.guard import SECONDS, SlowdownWatch
from slmstudio.core.hardware.nvml import GpuReading


def play(*causes: tuple[str, ...] | None, every: float = 1.0) -> list[tuple[int, str]]:
    """The number of the reading, and the warning's code, of each warning."""
    watch, told = SlowdownWatch(), []
    for number, slowed_by in enumerate(causes):
        reading = GpuReading(0, "RTX 4090", temperature_c=88, slowed_by=slowed_by)
        told += [(number, code) for code, _ in watch.update(reading, number * every)]
    return told


HEAT, FREE = ("heat",), ()
LONG = int(SECONDS)


def test_it_is_told_when_it_lasts_and_once():
    assert play(FREE, *[HEAT] * 300) == [(1 + LONG, "gpu_slowed_by_heat")]
    assert play(*[HEAT] * LONG, *[FREE] * 50) == []


def test_coming_and_going_is_not_told_again_and_again():
    assert play(*[HEAT] * (LONG + 1), *[FREE, HEAT] * 100) == [(LONG, "gpu_slowed_by_heat")]
    assert play(*[HEAT, FREE] * 100) == []


def test_after_it_was_free_it_is_told_again():
    assert play(*[HEAT] * (LONG + 1), *[FREE] * (LONG + 1), *[HEAT] * (LONG + 1)) == [
        (LONG, "gpu_slowed_by_heat"), (3 * LONG + 2, "gpu_slowed_by_heat")]


def test_readings_that_say_nothing_change_nothing():
    assert play(*[HEAT, None] * LONG) == [(LONG, "gpu_slowed_by_heat")]


@pytest.mark.parametrize(("causes", "codes"), [
    (("power supply", "hardware protection"), ["gpu_slowed_by_power"]),
    (("heat", "hardware protection"), ["gpu_slowed_by_heat"]),
    (("hardware protection",), ["gpu_slowed_by_protection"]),
    (("heat", "power supply"), ["gpu_slowed_by_heat", "gpu_slowed_by_power"]),
    (("power limit",), [])])
def test_each_cause_has_its_words(causes, codes):
    assert [code for _, code in play(*[causes] * (LONG + 1))] == codes


def test_the_sentence_says_how_hot_it_is():
    watch = SlowdownWatch()
    for now in (0.0, SECONDS):
        warnings = watch.update(GpuReading(0, "RTX", temperature_c=91, slowed_by=HEAT), now)
    assert warnings == [("gpu_slowed_by_heat", (
        "The GPU is too hot and has slowed itself down. Training continues, but more slowly. Cool it: clear the vents, "
        "clean the fans, speed them up, or lower the power limit. It's at 91 °C."))]
