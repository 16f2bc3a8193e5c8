"""How long things take, from what this machine measured: a table of cases, the file of timings, and what is rough."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from support.machines import machine

from slmstudio.core import files
from slmstudio.core.model import catalogue
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run import measured, time_estimate
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.memory import outlook
from slmstudio.core.run.time_estimate import ALIKE, MEASURED, ROUGH, SCALED, TimeEstimate, Timing, operations, training

HERE = machine(None, ram_gb=32)
ROWS, LENGTH = 100, 200.0


def facts(title: str) -> ModelFacts:
    found = catalogue.find(title)
    model = found and found.facts(Path("x"))
    assert model
    return model


SMALL, LARGE = facts("SmolLM2 135M"), facts("Qwen2.5 0.5B")
RUN = RunConfig("n", "m", "gone.jsonl", epochs=1.0, micro_batch_size=2, gradient_accumulation_steps=2, eval_steps=10,
                eval_fraction=0.1, precision="fp32", max_length=512, sample_max_tokens=10)


def known(model: ModelFacts = SMALL, config: RunConfig = RUN, seed: int = 7, **figures: float) -> measured.Measurement:
    """A run on this machine, on other rows than `RUN` has unless `seed` says so."""
    given = {"tokens_per_second": 100.0, "seconds_per_step": 8.0, "seconds_per_evaluation": 4.0,
             "seconds_besides": 20.0, **figures}
    return outlook.measure(model, dataclasses.replace(config, seed=seed), HERE, "run", 512, 10**9, row_tokens=LENGTH,
                           evaluated=10, **given)


def likely(model: ModelFacts = SMALL, config: RunConfig = RUN, before: tuple = (), rows: int = ROWS,
           length: float = LENGTH, evaluated: int = 10) -> tuple[float, str]:
    found = training(model, config, HERE, rows, rows * length, evaluated, before)
    return round(found.likely, 3), found.source


def test_the_same_run_takes_its_steps_its_evaluations_and_what_it_took_besides():
    # 25 steps of 8 s, evaluations before, at 10, 20 and 25, two of other strengths, and 20 s
    assert likely(before=(known(seed=RUN.seed),)) == (25 * 8 + 6 * 4 + 20, MEASURED)


def test_other_rows_with_the_same_settings_take_time_by_their_tokens():
    assert likely(before=(known(),)) == (20_000 / 100 + 6 * 4 + 20, ALIKE)
    assert likely(before=(known(),), rows=2 * ROWS, evaluated=0) == (40_000 / 100 + 20, ALIKE)
    triple = likely(before=(known(),), evaluated=10 + 28)  # 10 tokens of answers are as much as 4 rows
    assert triple == (20_000 / 100 + 6 * 12 + 20, ALIKE)
    old = dataclasses.replace(known(), operations=None, evaluation_operations=None, seconds_besides=None)
    assert likely(before=(old,), evaluated=0) == (20_000 / 100 + 15 + round(SMALL.disk_bytes / 200e6, 3), ALIKE)


def test_another_model_takes_time_by_the_operations_of_a_token():
    times = operations(LARGE, RUN, LENGTH)[0] / operations(SMALL, RUN, LENGTH)[0]
    assert 3 < times < 4
    seconds, source = likely(LARGE, before=(known(),), evaluated=0)
    assert source == SCALED and seconds == pytest.approx(20_000 / 100 * times + 20)


def test_of_many_runs_the_median_of_those_with_the_most_similar_cost_counts():
    near = [known(seed=seed, tokens_per_second=speed) for seed, speed in enumerate((100, 90, 110, 500, 105), 10)]
    far = [known(LARGE, seed=seed, tokens_per_second=1e6) for seed in range(9)]
    wider = dataclasses.replace(RUN, lora_rank=64)
    assert likely(config=wider, before=(*far, *near), evaluated=0)[0] == pytest.approx(20_000 / 105 + 20, rel=0.01)


@pytest.mark.parametrize("other", [
    {"machine": "another"}, {"operations": None}, {"tokens_per_second": None}])
def test_what_says_nothing_about_this_machine_leaves_it_rough(other):
    before = dataclasses.replace(known(LARGE), **other)
    assert likely(before=(before,))[1] == ROUGH
    assert likely(before=())[1] == ROUGH


def test_a_run_in_the_same_number_format_tells_more_than_others():
    half = dataclasses.replace(RUN, precision="bf16")
    found = likely(config=dataclasses.replace(half, lora_rank=64), evaluated=0, before=(
        known(config=half, tokens_per_second=200.0), known(seed=8), known(seed=9)))
    assert found == (20_000 / 200 + 20, SCALED)


@pytest.mark.parametrize(("changed", "least", "most"), [
    ({"method": "full"}, 1.4, 1.5), ({"method": "qlora"}, 1.4, 1.5), ({"gradient_checkpointing": True}, 1.4, 1.6),
    ({"objective": "dpo"}, 1.4, 1.6), ({"method": "scratch", "scratch_size": "10M"}, 0.05, 0.6)])
def test_what_a_token_costs_depends_on_what_learns(changed, least, most):
    plain, other = (operations(SMALL, dataclasses.replace(RUN, **each), LENGTH)[0] for each in ({}, changed))
    assert least < other / plain < most


def test_long_rows_cost_more_by_their_attention():
    short, long = (operations(SMALL, RUN, length)[0] for length in (100, 4100))
    assert long - short == 3 * 2 * SMALL.layers * SMALL.heads * SMALL.head_dim * 4000


def test_a_pair_is_read_twice():
    dpo = dataclasses.replace(RUN, objective="dpo")
    assert likely(config=dpo, before=(known(config=dpo),), evaluated=0)[0] == 2 * 20_000 / 100 + 20


def test_one_after_the_other_rests_on_what_the_longer_does():
    both = TimeEstimate.around(60, MEASURED).plus(TimeEstimate.around(10, SCALED))
    assert both.source == MEASURED and both.low < 70 < both.high


# -- answering, exporting, downloading ---------------------------------------------------------------------------------


def timing(kind: str, units: float, seconds: float, **about) -> Timing:
    key = measured.device_key("cpu", HERE) if kind != time_estimate.DOWNLOADING else ""
    return Timing.now(kind, units, seconds, machine=key, **about)


def test_answers_take_what_such_answers_took_with_loading():
    key, cost = measured.model_key(SMALL), SMALL.parameters
    before = [timing(time_estimate.TUNED, 1_000, 50.0, model=key, cost=cost, before=10.0)]
    found = time_estimate.answering(SMALL, HERE, 20, 100.0, True, before)
    assert (found.source, found.likely) == (ALIKE, pytest.approx(10 + 100))
    assert time_estimate.answering(SMALL, HERE, 20, 100.0, False, before).source == SCALED
    larger = time_estimate.answering(LARGE, HERE, 20, 100.0, True, before)
    assert larger.likely == pytest.approx(10 + 100 * LARGE.parameters / cost)
    assert time_estimate.answering(SMALL, HERE, 20, 100.0, True, []).source == ROUGH


def test_exports_and_downloads_take_what_they_took():
    types = ["Q4_K_M", "F16"]
    before = [timing(time_estimate.EXPORTING, 1, 80.0, model=time_estimate.export_key(SMALL, types),
                     cost=time_estimate.export_cost(SMALL, types)),
              *(timing(time_estimate.DOWNLOADING, 1e8, seconds) for seconds in (10.0, 20.0, 12.0))]
    assert time_estimate.exporting(SMALL, HERE, types[::-1], before) == TimeEstimate.around(80.0, ALIKE)
    assert time_estimate.exporting(SMALL, HERE, ["F16"], before).likely == pytest.approx(
        80.0 * time_estimate.export_cost(SMALL) / time_estimate.export_cost(SMALL, types))
    assert time_estimate.exporting(SMALL, HERE, ["ADAPTER"], before).likely < 2
    assert time_estimate.downloading(1e9, before).likely == pytest.approx(120.0)
    for found in (time_estimate.exporting(SMALL, HERE, (), []), time_estimate.downloading(1e9, [])):
        assert found.source == ROUGH and found.likely > 0


def test_timings_are_kept_the_oldest_go_and_damage_is_set_aside(studio_home, monkeypatch):
    monkeypatch.setattr(time_estimate, "MOST", 2)
    for seconds in (1.0, 2.0, 3.0):
        time_estimate.record(timing(time_estimate.DOWNLOADING, 10, seconds))
    time_estimate.record(timing(time_estimate.EXPORTING, 1, 5.0))
    time_estimate.record(timing(time_estimate.EXPORTING, 0, 5.0))
    assert [each.seconds for each in time_estimate.load()] == [2.0, 3.0, 5.0]
    file = measured.file_of(time_estimate.KIND)
    state = files.read_json(file)
    file.write_text(files.dump_pretty({**state, "timings": [*state["timings"], {"kind": 3}, {**state["timings"][0],
                                                                                             "cost": 0}]}))
    assert len(time_estimate.load()) == 3
    file.write_text("{")
    assert time_estimate.load() == []
    time_estimate.record(timing(time_estimate.EXPORTING, 1, 5.0))
    assert len(time_estimate.load()) == 1 and len(list(file.parent.glob("*damaged*"))) == 1
