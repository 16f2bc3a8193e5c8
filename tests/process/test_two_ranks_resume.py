"""A run continues on another number of ranks than before, and obeys on all of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from support import wait
from support.forked_ranks import Zygote
from support.two_rank_runs import events, furthest, make, said_by

from slmstudio.core import files, jobs
from slmstudio.core.run import folder

pytestmark = pytest.mark.full


def cut_after(run: Path, step: int) -> None:
    """As the run was when its checkpoint of this step was saved."""
    for checkpoint in (run / folder.CHECKPOINTS).iterdir():
        if checkpoint.name > f"step-{step:06d}":
            shutil.rmtree(checkpoint)
    for name in (jobs.OUTCOME, folder.ADAPTER, folder.MODEL):
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def train_in_legs(zygote: Zygote, run: Path, legs: list[tuple[int, int | None]]) -> None:
    """Train on so many ranks up to a step, then on as many as the next leg says."""
    for count, until in legs:
        assert zygote.run(run, count) == [0] * count, said_by(run, count)
        if until is not None:
            cut_after(run, until)


def weights_of(run: Path) -> dict[str, Any]:
    return load_file(next(run.glob("adapter/*.safetensors"), None) or next(run.glob("model/*.safetensors")))


@pytest.mark.parametrize(("changes", "legs"), [
    ({"lora_dropout": 0.1, "gradient_accumulation_steps": 4}, [(1, 2), (2, 4), (1, None)]),
    ({"method": "full", "learning_rate": 1e-3}, [(2, 2), (1, 4), (3, None)]),
    ({"method": "full", "learning_rate": 1e-3, "parallelism": "fsdp"}, [(1, 2), (2, 4), (1, None)]),
    ({"parallelism": "fsdp"}, [(2, 2), (1, 4), (2, None)]),
    ({"objective": "kto"}, [(2, 2), (1, 4), (2, None)]),
], ids=str)
def test_a_run_continues_on_another_number_of_ranks(zygote, tiny_model, tmp_path, changes, legs):
    whole, cut = (make(tiny_model, tmp_path, **changes, save_steps=1, processes=2) for _ in range(2))
    assert zygote.run(whole, 1) == [0]
    train_in_legs(zygote, cut, legs)
    assert [event["global_step"] for event in events(cut, "resumed_from")] == [until for _, until in legs if until]
    assert furthest(cut, whole) <= 1e-6


@pytest.mark.parametrize("changes", [{"lora_dropout": 0.1}, {"parallelism": "fsdp"}], ids=str)
def test_the_same_number_of_ranks_continues_to_the_last_bit(zygote, tiny_model, tmp_path, changes):
    whole, cut = (make(tiny_model, tmp_path, **changes, save_steps=1, processes=2) for _ in range(2))
    assert zygote.run(whole, 2) == [0, 0]
    train_in_legs(zygote, cut, [(2, 3), (2, 5), (2, None)])
    assert furthest(cut, whole) == 0.0
    found, wanted = weights_of(cut), weights_of(whole)
    assert found.keys() == wanted.keys() and all(found[name].equal(wanted[name]) for name in wanted)


def test_a_machine_without_the_runs_folder_gets_what_it_needs(zygote, tiny_model, tmp_path):
    """As on a second machine: it has the model and the request, and neither the rows nor the checkpoint."""
    whole, cut = (make(tiny_model, tmp_path, save_steps=1, nodes=2) for _ in range(2))
    assert zygote.run(whole, 2) == [0, 0]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    request = files.read_json(cut / jobs.RUN)
    (elsewhere / jobs.RUN).write_text(json.dumps({**request, "train_file": "/not/here.jsonl"}), encoding="utf-8")
    assert zygote.run(cut, 2, others=elsewhere) == [0, 0], said_by(elsewhere, 2)
    cut_after(cut, 3)
    assert zygote.run(cut, 2, others=elsewhere) == [0, 0], said_by(elsewhere, 2)
    assert furthest(cut, whole) == 0.0
    assert sorted(path.name for path in elsewhere.iterdir()) == sorted(["rank1.log", jobs.RUN])


@pytest.mark.parametrize("parallelism", ["ddp", "fsdp"])
def test_every_rank_obeys_at_the_same_step(zygote, tiny_model, tmp_path, parallelism):
    """One that acted a step earlier or later than the others would hang."""
    run = make(tiny_model, tmp_path, processes=2, parallelism=parallelism, max_steps=100_000, eval_steps=10**6,
               sample_prompts=["How are you?"])
    job = jobs.Job(run)

    def told(kind: str) -> list[dict[str, Any]]:
        return events(run, kind)

    zygote.start(run, 2)
    wait.until(lambda: told("step"), "a step")
    for command, kind in (("pause", "paused"), ("checkpoint", "checkpoint_saved"), ("sample", "sample"),
                          ("guard", "guard_changed"), ("resume", "resumed")):
        before = len(told(kind))
        job.send(command, **({"heat_guard": "pause"} if command == "guard" else {}))
        wait.until(lambda kind=kind, before=before: len(told(kind)) > before, kind)
    at = told("paused")[0]["global_step"]
    assert told("resumed")[0]["global_step"] == told("checkpoint_saved")[0]["global_step"] == at
    wait.until(lambda: told("step")[-1]["global_step"] > at, "another step")
    job.send("change", learning_rate=1e-4, max_steps=told("step")[-1]["global_step"] + 5_000)
    wait.until(lambda: told("changed"), "the change")
    job.send("free")
    assert zygote.wait() == [0, 0], said_by(run, 2)
    assert job.outcome().state == "paused"
    step = told("step")[-1]["global_step"]
    assert told("checkpoint_saved")[-1]["global_step"] == step
    zygote.start(run, 2)
    wait.until(lambda: told("step")[-1]["global_step"] > step, "a step after it was started again")
    assert told("step")[-1]["learning_rate"] < 1e-4
    job.send("stop")
    assert zygote.wait() == [0, 0], said_by(run, 2)
    assert job.outcome().state == "stopped" and (run / folder.ADAPTER / "adapter_model.safetensors").is_file()
