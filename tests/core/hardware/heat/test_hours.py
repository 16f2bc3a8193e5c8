"""The hours in which the machine may work."""

from __future__ import annotations

from datetime import datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmstudio.core.hardware.heat_limits import Hours

NIGHT, DAY = Hours(time(22), time(6)), Hours(time(9, 30), time(17))


@pytest.mark.parametrize(("text", "hours"), [
    ("22:00-06:00", NIGHT), ("22-6", NIGHT), (" 22:00 – 06:00 ", NIGHT), ("9:30-17:00", DAY), ("09:30-17", DAY),
    ("20:00-24:00", Hours(time(20), time(0))), ("00:00-05:30", Hours(time(0), time(5, 30)))])
def test_what_people_type(text, hours):
    assert Hours.parse(text) == hours
    assert Hours.parse(str(hours)) == hours


@pytest.mark.parametrize("text", ["", "22:00", "22:00-25:00", "22:60-06:00", "24:30-06:00", "6-6", "10pm-6am",
                                  "22:00-06:00-07:00", "0-24"])
def test_what_is_none(text):
    with pytest.raises(ValueError):
        Hours.parse(text)


def at(hour: int, minute: int = 0, day: int = 27) -> datetime:
    return datetime(2026, 11, day, hour, minute)


@pytest.mark.parametrize(("hours", "moment", "inside"), [
    (NIGHT, at(21, 59), False), (NIGHT, at(22), True), (NIGHT, at(23, 59), True), (NIGHT, at(0), True),
    (NIGHT, at(5, 59), True), (NIGHT, at(6), False), (NIGHT, at(12), False),
    (DAY, at(9, 29), False), (DAY, at(9, 30), True), (DAY, at(16, 59), True), (DAY, at(17), False)])
def test_inside_and_outside(hours, moment, inside):
    assert hours.include(moment) is inside


def test_when_they_begin():
    assert NIGHT.next_start(at(6)) == at(22) and NIGHT.next_start(at(22)) == at(22, day=28)
    assert DAY.next_start(at(17)) == at(9, 30, day=28)


@pytest.mark.parametrize(("hours", "moment", "work", "takes"), [
    (NIGHT, at(22), 3600, 3600), (NIGHT, at(22), 8 * 3600, 8 * 3600), (NIGHT, at(5), 7200, 18 * 3600),
    (NIGHT, at(12), 3600, 11 * 3600), (NIGHT, at(2), 3600, 3600), (NIGHT, at(4), 20 * 3600, 68 * 3600),
    (NIGHT, at(22), 16 * 3600, 32 * 3600), (NIGHT, at(23), 23 * 3600, 55 * 3600),
    (DAY, at(9, 30), 8 * 3600, 24.5 * 3600), (DAY, at(8), 60, 5460), (DAY, at(18), 60, 15.5 * 3600 + 60)])
def test_how_long_work_takes(hours, moment, work, takes):
    assert hours.seconds_until_done(moment, work) == takes


@given(st.times(), st.times(), st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)), st.floats(1, 10**7))
def test_the_end_lies_in_the_hours(start, end, moment, work):
    if start == end:
        return
    hours = Hours(start, end)
    assert hours.include(hours.next_start(moment)) and hours.next_start(moment) > moment
    takes = hours.seconds_until_done(moment, work)
    assert takes >= work
    assert hours.seconds_until_done(moment, work + 60) >= takes + 59.9


def test_the_clock_on_the_wall_decides_when_it_is_put_forward():
    """Where 02:00 becomes 03:00, hours from 02:30 begin at 03:00."""
    hours = Hours(time(2, 30), time(5))
    assert not hours.include(datetime(2026, 3, 29, 1, 59, 59)) and hours.include(datetime(2026, 3, 29, 3))
