"""The time left: it neither jumps nor flickers, and in the end it is right. The clock is a sum of numbers."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmstudio.core import units
from slmstudio.core.time_left import OUTLIER, RECENT, RISE, ProgressLeft, TimeLeft

STEPS, EVAL_EVERY = 600, 50
LARGEST_SEEN = 0.15
"""The share by which an estimate may change from one step to the next, beside the time that passes, where steps vary
as they do; `LARGEST_JUMP` holds for any steps."""
LARGEST_JUMP = (1 + (OUTLIER - 1) / RECENT) * (1 + RISE) - 1
"""The share by which what is told can rise from one step to the next, whatever the step, after the first `RECENT`."""


def play(steps: list[float], evaluations: list[float]) -> list[tuple[float, float]]:
    """What is told after each step from the second on, beside what was still to come. The run begins with an
    evaluation, and ends with one."""
    left, told = TimeLeft(least=2), []
    left.took("evaluation", evaluations[0])
    coming = sum(steps) + sum(evaluations[1:])
    for number, seconds in enumerate(steps, 1):
        left.took("step", seconds)
        coming -= seconds
        rest = len(steps) - number
        between = (len(steps) - 1) // EVAL_EVERY - (number - 1) // EVAL_EVERY + 1
        said = left.left(step=rest, evaluation=between)
        assert (said is None) == (number == 1)
        if said is not None:
            told.append((said, coming))
        if number % EVAL_EVERY == 0 and rest:
            left.took("evaluation", evaluations[number // EVAL_EVERY])
            coming -= evaluations[number // EVAL_EVERY]
    return told


def noisy(seed: int, stalls: float) -> tuple[list[float], list[float]]:
    """Steps whose lengths vary as rows do, now and then one that the machine held up; the first ones are slow."""
    random_ = random.Random(seed)
    steps = [random_.lognormvariate(0, 0.4) * (20 if random_.random() < stalls else 1) for _ in range(STEPS)]
    steps[0] = 40.0
    return steps, [random_.uniform(22, 28) for _ in range(STEPS // EVAL_EVERY + 1)]


@pytest.mark.parametrize("stalls", [0.0, 0.02])
@pytest.mark.parametrize("seed", range(20))
def test_an_estimate_does_not_jump_and_becomes_right(seed, stalls):
    told = play(*noisy(seed, stalls))
    for (before, coming), (now, coming_now) in zip(told[RECENT:], told[RECENT + 1:], strict=False):
        passed = coming - coming_now
        assert before - passed - LARGEST_SEEN * before <= now <= (1 + LARGEST_SEEN) * before
    if not stalls:
        for said, coming in told[2 * RECENT:-EVAL_EVERY]:
            assert said == pytest.approx(coming, rel=0.2)
        errors = [abs(said - coming) / coming for said, coming in told[2 * RECENT:-EVAL_EVERY]]
        assert sum(errors) / len(errors) < 0.08


@given(st.lists(st.floats(1e-3, 1e4), min_size=RECENT + 2, max_size=120), st.integers(1, 10_000))
def test_no_step_whatever_makes_it_jump_after_the_first_ones(steps, more):
    left, told = TimeLeft(least=2), []
    for number, seconds in enumerate(steps):
        left.took("step", seconds)
        told.append(left.left(step=len(steps) + more - number))
    for before, now in zip(told[RECENT:], told[RECENT + 1:], strict=False):
        assert before * 0.9 / len(steps) < now <= before * (1 + LARGEST_JUMP) * (1 + 1e-9)


def test_what_is_read_does_not_flicker():
    """Minutes only ever fall while a run does nothing unusual: never 12, 13 and 12 again."""
    for seed in range(20):
        texts = [units.format_about(said) for said, _ in play(*noisy(seed, 0.0))[2 * RECENT:]]
        seen = list(dict.fromkeys(texts))
        changes = [text for text, before in zip(texts, [None, *texts], strict=False) if text != before]
        assert len(changes) <= len(seen) + 2, changes


def test_a_machine_that_has_become_slower_is_believed():
    left = TimeLeft(least=2)
    for _ in range(100):
        left.took("step", 1.0)
    for _ in range(100):
        left.took("step", 10.0)
    assert left.left(step=50) == pytest.approx(500, rel=0.1)


def test_work_that_only_says_how_far_it_is():
    left = ProgressLeft(100.0)
    assert left.update(0, 1000, 100.0) is None
    told = [left.update(10 * n, 1000, 100.0 + 0.25 * n) for n in range(1, 101)]
    assert told[39] == pytest.approx(15.0) and told[-1] is None, "a quarter of a second for ten of a thousand"
    assert left.update(10, 500, 126.0) is None, "other work has begun"
    assert left.update(20, 500, 127.0) == pytest.approx(48.0)


@pytest.mark.parametrize(("seconds", "text"), [
    (float("inf"), "unknown"), (0, "a few seconds"), (54.9, "about 50 s"), (55, "about 1 min"), (89, "about 1 min"),
    (3599, "about 1 h"), (3 * 3600 + 1400, "about 3 h 25 min"), (23.9 * 3600, "about 1 d")])
def test_an_estimate_is_told_no_more_exactly_than_it_is(seconds, text):
    assert units.format_about(seconds) == text


def test_the_terminal_shows_the_same_figure_as_the_window():
    from slmstudio.cli.progress import Follower

    with Follower() as follower:
        follower.on_event("training", {"type": "plan", "total_steps": 600})
        step = {"type": "step", "global_step": 3, "train_loss": 1.0, "tokens_per_second": 10.0}
        shown = []
        for left in (None, 760.0):
            follower.on_event("training", {**step, "seconds_left": left})
            shown.append(follower._progress.tasks[0].fields["left"])
        follower.on_event("evaluating", {"type": "phase", "phase": "evaluating", "time": 100.0})
        for seconds in range(1, 6):
            follower.on_event("evaluating", {"type": "progress", "phase": "evaluating", "done": 10 * seconds,
                                             "total": 1000, "time": 100.0 + seconds})
        shown.append(follower._progress.tasks[0].fields["left"])
    assert shown == ["", "about 13 min left", "about 2 min left"]
