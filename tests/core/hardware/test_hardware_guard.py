import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmstudio.core.hardware.guard import ASSUMED_SLOWDOWN_C, HeatWatch


def watch_of(slowdown):
    watch = HeatWatch()
    watch.update(None, slowdown)
    return watch


def said(watch, temperatures):
    return [watch.update(t) for t in temperatures]


def test_one_warning_until_it_has_cooled():
    watch = watch_of(90)
    assert said(watch, [70, 84, 85, 86, 88, 84, 83, 82, 84, 85]) == [
        None, None, "warn", None, None, None, None, "clear", None, "warn"]


def test_a_missing_temperature_changes_nothing():
    watch = watch_of(90)
    assert said(watch, [None, 86, None, 82]) == [None, "warn", None, "clear"]


def test_a_card_that_does_not_say_warns_at_83():
    assert ASSUMED_SLOWDOWN_C == 88
    assert said(HeatWatch(), [82, 83]) == [None, "warn"]


def test_the_newest_slowdown_temperature_counts():
    watch = HeatWatch()
    assert watch.update(84, 95) is None
    assert watch.update(86, 90) == "warn"
    assert watch.update(86) is None
    assert watch.update(86, 95) == "clear"


@pytest.mark.parametrize(("slowdown", "sentence"), [
    (90, "The GPU is at 86 °C; it slows itself down at 90 °C. Training continues, perhaps more slowly. Cool it: clear "
         "the vents, speed up the fans, lower the power limit, or pause the run."),
    (None, "The GPU is at 86 °C; it doesn't report its limit, but most cards slow down between 88 and 93 °C. Training "
           "continues, perhaps more slowly. Cool it: clear the vents, speed up the fans, lower the power limit, or "
           "pause the run."),
])
def test_the_warning_says_what_why_and_what_to_do(slowdown, sentence):
    assert watch_of(slowdown).sentence(86) == sentence


@given(st.lists(st.one_of(st.none(), st.integers(20, 110))), st.one_of(st.none(), st.integers(70, 105)))
def test_warnings_and_all_clears_take_turns(temperatures, slowdown):
    watch = watch_of(slowdown)
    changes = [change for change in said(watch, temperatures) if change]
    assert changes == ["warn", "clear"] * (len(changes) // 2) + ["warn"] * (len(changes) % 2)
    assert watch.warning == (len(changes) % 2 == 1)
