"""How strongly the result applies its adapter: the lowest loss on held-out rows along the line to the base model."""

from __future__ import annotations

import math

import pytest
from safetensors.torch import load_file
from support import small_runs
from support.small_runs import events

from slmstudio.core.run import checkpoints, folder
from slmstudio.worker.training import control, strength, train


@pytest.mark.parametrize(("lowest", "tried", "chosen"), [
    (1.0, [1.0, 0.7, 1.3], 1.0),
    (0.9, [1.0, 0.7, 1.3], 1.0),
    (0.55, [1.0, 0.7, 0.5, 0.35], 0.5),
    (0.0, [1.0, 0.7, 0.5, 0.35, 0.25, 0.18], 0.18),
    (1.3, [1.0, 0.7, 1.3], 1.3),
])
def test_it_looks_no_further_than_the_loss_falls(lowest, tried, chosen):
    losses = strength.search(lambda at: (at - lowest) ** 2, (1.0 - lowest) ** 2)
    assert sorted(losses) == sorted(tried) and strength.best_of(losses) == chosen


def test_losses_that_are_no_numbers_choose_nothing():
    losses = strength.search(lambda at: math.nan, 1.0)
    assert strength.best_of(losses) == strength.FULL and strength.best_of({}) == strength.FULL


@pytest.fixture
def went_too_far(tmp_path, tiny_model):
    """A run whose held-out rows say otherwise than what it learns, in fp32: on every processor it goes too far."""
    learned = small_runs.write(tmp_path / "rows.jsonl",
                               [{"instruction": name, "output": "नमस्ते दुनिया"} for name in "abcdefgh"])
    held_out = small_runs.write(tmp_path / "held_out.jsonl",
                                [{"instruction": name, "output": "Hello there, how are you?"} for name in "klmnop"])
    return small_runs.maker(tmp_path, tiny_model, learned)(
        eval_file=str(held_out), precision="fp32", learning_rate=0.02, eval_steps=1000, max_steps=12)


def test_an_adapter_that_went_too_far_is_applied_more_weakly(went_too_far):
    job = went_too_far
    result = train.run(job)
    _, full = (event["eval_loss"] for event in events(job, "eval"))
    told, = events(job, "best_used")
    assert told["strength"] < 1 and result["eval_loss_after"] == told["eval_loss"] < full
    kept = next(each.path for each in checkpoints.all_checkpoints(job.folder / folder.CHECKPOINTS)
                if each.global_step == result["used_step"])
    trained, used = (load_file(place / "adapter_model.safetensors") for place in (kept, job.folder / "adapter"))
    assert all((used[name] == weight * (told["strength"] if "lora_B" in name else 1)).all()
               for name, weight in trained.items())


def test_of_many_rows_some_choose_and_all_are_measured(went_too_far, monkeypatch):
    monkeypatch.setattr(control, "MOST_TRIED_ON", 1)
    job = went_too_far
    result = train.run(job)
    told, = events(job, "best_used")
    losses = dict(told["strengths"])
    assert losses.keys() == {1.0, told["strength"]} and losses[1.0] == events(job, "eval")[-1]["eval_loss"]
    assert result["eval_loss_after"] == min(losses.values())


@pytest.mark.parametrize("changes", [{"use_dora": True}, {"use_best_checkpoint": False}], ids=str)
def test_it_is_not_chosen_where_that_means_nothing_or_is_not_wanted(tmp_path, tiny_model, rows_file, changes):
    job = small_runs.maker(tmp_path, tiny_model, rows_file)(learning_rate=0.2, eval_steps=1000, max_steps=3, **changes)
    train.run(job)
    assert not any("strength" in event for event in events(job, "best_used"))
