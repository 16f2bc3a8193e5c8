"""What happened is told in words; heat and energy only where something measured them."""

from __future__ import annotations

import re

import pytest
from support.report_run import ReportRun

from slmstudio.core import jobs
from slmstudio.core.report.gather import Line, fitting, gather


@pytest.fixture
def run(tmp_path):
    made = ReportRun(tmp_path)
    made.start()
    return made


def test_pause_sleep_and_changes_by_hand(run):
    run.learn(1, 2)
    run.tell("paused", global_step=2)
    run.tell("resumed", global_step=2)
    run.tell("suspended", seconds=3600.5)
    run.tell("changed", global_step=2, learning_rate=0.0001, total_steps=90)
    run.tell("sleep_prevented", on=True)
    run.tell("sleep_prevented", on=False, reason="no inhibitor")
    run.tell("somebody_elses_event", text="x")
    timeline = gather(run.folder).timeline
    assert [line.tone for line in timeline.lines][2:] == ["", "", "warn", "warn", "warn"] and timeline.pauses == 1
    assert all(line.text[0] == line.text[0].upper() for line in timeline.lines)


def test_a_crash_between_two_starts_is_told_and_a_start_of_ones_own_is_not(run):
    run.learn(1, 2)
    run.tell("job_started")
    run.tell("resumed_from", global_step=0)
    run.tell("adjusted", reason="out_of_memory", changes={"micro_batch_size": 2}, was={"micro_batch_size": 4})
    run.tell("job_started")
    run.tell(jobs.MEMORY_KILL)
    run.tell("job_started")
    facts = gather(run.folder)
    assert facts.timeline.crashes == 1
    assert [line.tone for line in facts.timeline.lines][2:] == ["bad", "", "", "warn", "", "bad", ""]
    assert facts.timeline.lines[2].text.startswith("The previous worker ended unexpectedly")


def test_what_a_resumed_attempt_did_again_counts_once(run):
    run.learn(1, 25)
    run.tell("job_started")
    run.learn(18, 22)
    facts = gather(run.folder)
    assert [event["global_step"] for event in facts.steps] == list(range(1, 23))
    assert [event["global_step"] for event in facts.history.evaluations] == [20]
    assert facts.steps[-1]["time"] > facts.steps[0]["time"]


def test_a_long_timeline_loses_its_everyday_lines_first():
    lines = [Line(0, 0, f"checkpoint {n}", everyday=True) for n in range(500)] + [Line(0, 0, "warned", "warn")]
    shown, note = fitting(lines)
    assert [line.text for line in shown] == ["warned"] and note.startswith("500 evaluations, checkpoints and rests")
    shown, note = fitting([Line(0, 0, f"warned {n}") for n in range(1000)], most=100)
    assert len(shown) == 100 and shown[-1].text == "warned 999" and "first and last 50" in note
    assert fitting(lines[:10]) == (lines[:10], "")


class TestHeat:
    def test_the_rests_of_the_heat_guard(self, run, page):
        run.tell("sensors", gpus=[{"name": "RTX 3060", "temperature_c": 91}], process_memory=1024**3, cpu_percent=90.0)
        run.tell("guard_rest", global_step=3, why="heat", temperature_c=91, limit_c=90, gpu=0,
                 message="The GPU is at 91 °C; the limit is 90 °C. Training rests.")
        run.tell("guard_resume", global_step=3, why="heat", seconds=840.0, temperature_c=71,
                 message="The rest is over after 14 min. The GPU is at 71 °C.")
        text = page(run.folder).text
        assert "Rested 14 min in 1 pause. Peak: 91 °C." in text
        assert "The GPU is at 91 °C; the limit is 90 °C. Training rests" in text and "after 14 min" in text

    def test_each_card_has_its_lines_and_the_hottest_is_the_peak(self, run, page):
        for first, second in ((60, 84), (64, 80)):
            run.tell("sensors", gpus=[
                {"index": 0, "name": "RTX 3060", "temperature_c": first, "slowdown_c": 93},
                {"index": 2, "name": "RTX 3090", "temperature_c": second, "fan_percent": 50}],
                cpu={"temperature_c": 71, "limit_c": 95})
        text = page(run.folder).text
        assert "Peak: 84 °C" in text
        assert "GPU temperature, card 0 60 °C 62 °C 64 °C 93 °C 2" in text
        assert "GPU temperature, card 2 80 °C 82 °C 84 °C" in text and "GPU fan, card 2 50%" in text
        assert "Processor temperature 71 °C 71 °C 71 °C 95 °C 2" in text

    def test_nothing_is_invented(self, run, page):
        run.tell("sensors_unavailable", reason="No NVIDIA driver was found on this machine.")
        run.tell("sensors", gpus=[], process_memory=1024**3, cpu_percent=90.0)
        text = page(run.folder).text
        assert ("There are no readings from an NVIDIA GPU. No NVIDIA driver was found on this machine. "
                "So the GPU's temperature and energy aren't known.") in text
        assert not re.search(r"\d (Wh|°C)\b", text)
        assert "Main memory of the worker 1 GB 1 GB 1 GB" in text

    def test_what_held_the_clock_down_is_told(self, run, page):
        run.sense(3, slowed_by=["heat"])
        assert "Something slowed down the GPU's clock: heat (3 readings)." in page(run.folder).text
