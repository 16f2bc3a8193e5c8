import doctest
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmstudio.core import units
from slmstudio.core.units import format_bytes, format_count, format_duration

GB = 1024**3


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(units) == doctest.TestResults(failed=0, attempted=11)


@pytest.mark.parametrize(("size", "text"), [
    (0, "0 bytes"), (1, "1 byte"), (1023, "1023 bytes"), (1023.6, "1 KB"), (1024, "1 KB"), (1536, "1.5 KB"),
    (1024**2 - 1, "1 MB"), (9.97 * 1024**2, "10 MB"), (97.6 * 1024**2, "98 MB"), (1023.97 * 1024**2, "1 GB"),
    (9.1 * GB, "9.1 GB"), (12288 * 1024**2, "12 GB"), (24564 * 1024**2, "24 GB"), (11.24 * GB, "11.2 GB"),
    (100.4 * GB, "100 GB"), (1.84e12, "1.7 TB"), (-2.9 * GB, "−2.9 GB"),
])
def test_bytes(size, text):
    assert format_bytes(size) == text


@pytest.mark.parametrize(("seconds", "text"), [
    (0, "0 s"), (0.04, "0 s"), (0.42, "0.4 s"), (0.96, "1 s"), (12.4, "12 s"), (59.6, "1 min"), (60, "1 min"),
    (95, "1 min 35 s"), (599.7, "10 min"), (601, "10 min"), (3480, "58 min"), (3571, "1 h"), (6540, "1 h 49 min"),
    (86_399, "1 d"), (100_000, "1 d 4 h"), (-3, "0 s"), (math.inf, "unknown"), (math.nan, "unknown"),
])
def test_durations(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [
    (0, "0"), (7473, "7,473"), (9999.4, "9,999"), (9999.6, "10 K"), (151_936, "152 K"), (999_999, "1 M"),
    (134_515_008, "135 M"), (1_540_000_000, "1.54 B"), (8_030_000_000, "8.03 B"), (1.5e12, "1.5 T"), (-1234, "−1,234"),
])
def test_counts(count, text):
    assert format_count(count) == text


@given(st.floats(0, 1e15), st.floats(0, 1e15))
def test_a_larger_size_never_reads_smaller(one, other):
    def read(text):
        number, unit = text.split(" ")
        return float(number) * 1024 ** ("bytes", "KB", "MB", "GB", "TB").index(unit.replace("byte", "bytes")
                                                                              .replace("bytess", "bytes"))

    small, large = sorted((one, other))
    assert read(format_bytes(small)) <= read(format_bytes(large))


@given(st.floats(0, 1e9))
def test_a_duration_is_close_to_what_it_says(seconds):
    seconds_of = {"d": 86_400, "h": 3600, "min": 60, "s": 1}
    said = sum(float(n) * seconds_of[unit] for n, unit in re.findall(r"([\d.]+) (d|h|min|s)", format_duration(seconds)))
    assert said == pytest.approx(seconds, rel=0.05, abs=0.51)


@given(st.floats(0, 1e14))
def test_a_count_is_close_to_what_it_says(count):
    number, _, unit = format_count(count).partition(" ")
    said = float(number.replace(",", "")) * {"": 1, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}[unit]
    assert said == pytest.approx(count, rel=0.006, abs=0.51)
