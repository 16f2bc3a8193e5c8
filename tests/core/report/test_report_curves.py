"""Curves keep what matters when they are thinned, and their axes have round numbers."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmstudio.core.report.curves import POINTS, Curve, Plot, draw, thinned, ticks

numbers = st.floats(-1e6, 1e6) | st.just(math.nan)


@given(st.lists(numbers, min_size=1, max_size=3000))
def test_thinning_keeps_both_ends_the_extremes_and_the_gaps(values):
    points = thinned(range(len(values)), values)
    assert len(points) <= max(POINTS, len(values) if len(values) <= POINTS else POINTS // 2 * 3 + 2)
    assert points[0][0] == 0 and points[-1][0] == len(values) - 1
    assert [x for x, _ in points] == sorted({x for x, _ in points})
    finite = [value for value in values if math.isfinite(value)]
    kept = [y for _, y in points if math.isfinite(y)]
    if finite:
        assert min(kept) == min(finite) and max(kept) == max(finite)
    assert any(math.isnan(y) for _, y in points) == (len(finite) < len(values))


def test_a_single_spike_among_many_points_is_seen():
    values = [1.0] * 100_000
    values[54_321] = 9.0
    points = thinned(range(len(values)), values)
    assert len(points) <= POINTS + 2 and (54_321, 9.0) in points


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_ticks_are_few_round_and_inside(low, span):
    high = low + span
    found = ticks(low, high)
    room = 1e-6 * max(span, abs(low), abs(high))
    assert all(low - room <= value <= high + room for value in found)
    if high > low:
        assert len(found) <= 8


def test_ticks_of_common_ranges():
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10] and ticks(0.9, 3.1) == pytest.approx([1, 1.5, 2, 2.5, 3])
    assert ticks(3, 3) == [3]


def svg(*curves: Curve, **options) -> ElementTree.Element:
    plot = Plot("Loss, nats per token", "step", curves, lambda value: f"{value:.3g}", **options)
    return ElementTree.fromstring(draw(plot, "p1"))


def test_the_picture_has_title_description_axes_limits_and_mark():
    root = svg(Curve("Train loss", "train", [1, 2, 3], [3.0, 2.0, 1.0]),
               Curve("Held out", "eval", [1, 3], [2.5, 1.5], dots=True),
               limits=(("slows down at", 4.0),), mark=("kept: step 2", 2.0), wide=True)
    assert root.get("role") == "img" and root.get("aria-labelledby") == "p1-t p1-d"
    assert root.find("title").text == "Loss, nats per token"
    assert root.find("desc").text == ("Train loss: 3 points, from 3 to 1; lowest 1, highest 3. "
                                      "Held out: 2 points, from 2.5 to 1.5; lowest 1.5, highest 2.5. slows down at: 4.")
    said = [text.text for text in root.iter("text")]
    assert {"step", "slows down at 4", "kept: step 2", "1", "2", "3"} <= set(said)
    assert len(root.findall(".//circle")) == 2


def test_gaps_break_the_line_and_a_lone_point_is_a_dot():
    root = svg(Curve("Loss", "train", [1, 2, 3, 4, 5], [1.0, 2.0, math.nan, 3.0, math.nan]))
    path = root.find("g[@class='c-train']/path").get("d")
    assert path.count("M") == 2 and path.count("L") == 1 and "nan" not in path
    assert len(root.findall(".//circle")) == 1


def test_places_rise_with_x_and_fall_with_y():
    root = svg(Curve("Loss", "train", [0, 10, 20], [1.0, 3.0, 2.0]))
    places = [tuple(map(float, pair)) for pair in
              re.findall(r"([\d.]+) ([\d.]+)", root.find("g[@class='c-train']/path").get("d"))]
    xs, ys = zip(*places, strict=True)
    assert list(xs) == sorted(xs) and ys[1] < ys[2] < ys[0]


@pytest.mark.parametrize("values", [[], [math.nan], [5.0], [0.0, 0.0], [1e-300, 1e300]])
def test_odd_curves_do_not_break_it(values):
    text = draw(Plot("x", "step", (Curve("x", "train", range(len(values)), values),), str, from_zero=True), "p")
    assert (text == "") == (not any(map(math.isfinite, values)))
    assert "inf" not in re.sub(r"<(title|desc|text).*?</\1>", "", text) and 'd="nan' not in text
