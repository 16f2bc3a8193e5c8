"""Real training on a tiny model, in this process: the right weights change, and files appear."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from support import small_runs
from support.small_runs import events
from support.tiers import first_fast

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.run import adjust, checkpoints, folder
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.runtime import ranks
from slmstudio.worker.runtime.context import Cancelled, JobContext
from slmstudio.worker.training import loading, methods, preflight, train
from slmstudio.worker.training.control import TrainingControl


@pytest.fixture
def make_job(tmp_path, tiny_model, rows_file):
    return small_runs.maker(tmp_path, tiny_model, rows_file, gradient_accumulation_steps=2,
                            learning_rate=1e-2, sample_max_tokens=4)


def test_lora_learns_and_leaves_the_base_alone(make_job, tiny_model):
    before = (tiny_model / "model.safetensors").read_bytes()
    job = make_job()
    result = train.run(job)

    assert result["state"] == "finished" and result["steps"] == 4
    assert result["manifest_sha256"] == files.sha256_of(Path(result["adapter"]) / "manifest.json")
    assert result["eval_loss_after"] < result["eval_loss_before"]
    adapter = load_file(Path(result["adapter"]) / "adapter_model.safetensors")
    changed = [name for name, weight in adapter.items() if "lora_B" in name and weight.abs().sum() > 0]
    assert len(changed) == 2 * 7  # every linear layer of both blocks, not the head
    assert not any("lm_head" in name for name in adapter)
    assert (tiny_model / "model.safetensors").read_bytes() == before


def test_full_fine_tuning_changes_every_weight(make_job, tiny_model):
    result = train.run(make_job(method="full", learning_rate=1e-3))
    old, new = load_file(tiny_model / "model.safetensors"), load_file(Path(result["model"]) / "model.safetensors")
    assert old.keys() == new.keys()
    assert all(not torch.equal(old[name].float(), new[name].float()) for name in old)
    assert (Path(result["model"]) / "tokenizer.json").is_file()


def test_evaluation_rows_that_are_all_too_long_do_not_end_the_run(make_job, tmp_path):
    file = tmp_path / "long.jsonl"
    file.write_text(json.dumps({"instruction": "How long is a passport valid? " * 60, "output": "Ten years."}) + "\n")
    job = make_job(eval_file=str(file), sample_max_tokens=0)
    result = train.run(job)
    assert (result["state"], result["steps"], result["eval_loss_after"]) == ("finished", 4, None)
    assert [event["message"] for event in events(job, "warning")][-1].startswith(
        "No evaluation row is left at a sequence length of 128 tokens")


def test_events_tell_the_whole_run(make_job):
    job = make_job()
    train.run(job)
    steps = events(job, "step")
    assert [event["global_step"] for event in steps] == [1, 2, 3, 4]
    assert all(event["tokens"] > 0 and event["tokens_per_second"] > 0 and event["grad_norm"] > 0 for event in steps)
    assert [event["global_step"] for event in events(job, "eval")] == [0, 2, 4]
    assert events(job, "plan")[0]["total_steps"] == 4
    assert [event["reason"] for event in events(job, "checkpoint_saved")] == ["interval", "end"]
    assert not list(job.folder.rglob("training_args.bin")), "a pickle, which nobody reads"


def test_loss_and_steps_equal_a_plain_loop(make_job, tiny_model):
    """Four steps of AdamW over the same batches, written out by hand, give the same losses."""
    job = make_job(
        method="full",
        learning_rate=1e-3,
        lr_scheduler="constant",
        warmup_fraction=0.0,
        weight_decay=0.0,
        group_by_length=False,
    )
    train.run(job)
    config = RunConfig.from_dict(job.request)
    model = methods.load_base(config, config.attention)
    tokenizer = methods.load_tokenizer(tiny_model)
    from slmstudio.core.model.chat_template import ChatTemplate
    from slmstudio.worker.training.batches import BatchOrder
    from slmstudio.worker.training.training_rows import read_rows

    rows = read_rows(config, job).train
    data = loading.encode(rows, None, tokenizer, ChatTemplate.from_folder(tiny_model), config, job, "tokenizing")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0, eps=1e-8)
    sampler = BatchOrder([len(ids) for ids in data["input_ids"]], 2, 2, config.seed, False)
    order, wanted, epoch = [], [], 0
    while len(order) < 16:
        sampler.set_epoch(epoch)
        epoch_rows = list(sampler)
        order += epoch_rows
        epoch += 1
    per_epoch = len(data)
    position = 0
    for _ in range(4):
        take = min(4, per_epoch - position % per_epoch)
        batch, position = order[position : position + take], position + take
        total, count = 0.0, 0
        for row in batch:
            ids, labels = torch.tensor([data[row]["input_ids"]]), torch.tensor([data[row]["labels"]])
            logits = model(input_ids=ids).logits[0, :-1]
            total = total + torch.nn.functional.cross_entropy(logits, labels[0, 1:], ignore_index=-100, reduction="sum")
            count += int((labels[0, 1:] != -100).sum())
        loss = total / count
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        wanted.append(loss.item())
    assert [event["train_loss"] for event in events(job, "step")] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize(
    "changes",
    first_fast([
        {"lora_dropout": 0.1},
        {"method": "full", "learning_rate": 1e-3},
        {},
        {"group_by_length": False, "gradient_accumulation_steps": 1},
    ], 2),
)
def test_resume_is_exact(make_job, changes):
    """A run cut after step 3, mid-epoch, ends with the losses and the weights of one never interrupted."""
    whole = make_job(max_steps=7, save_steps=3, keep_checkpoints=9, **changes)
    whole_result = train.run(whole)

    cut = make_job(max_steps=7, save_steps=3, keep_checkpoints=9, **changes)
    train.run(cut)
    kept = {"step-000003"}
    for checkpoint in checkpoints.all_checkpoints(cut.folder / folder.CHECKPOINTS):
        if checkpoint.path.name not in kept:
            shutil.rmtree(checkpoint.path)
    (cut.folder / jobs.EVENTS).unlink()
    again = JobContext(cut.folder, cut.request)
    result = train.run(again)

    losses = {e["global_step"]: e["train_loss"] for e in events(whole, "step")}
    resumed = {e["global_step"]: e["train_loss"] for e in events(again, "step")}
    assert resumed == {step: loss for step, loss in losses.items() if step > 3}
    name = "adapter" if "adapter" in result else "model"
    weights = "adapter_model.safetensors" if name == "adapter" else "model.safetensors"
    old, new = load_file(Path(whole_result[name]) / weights), load_file(Path(result[name]) / weights)
    assert all(torch.equal(old[key], new[key]) for key in old)


def test_a_damaged_checkpoint_is_named_and_the_one_before_used(make_job):
    job = make_job(max_steps=4, save_steps=1, keep_checkpoints=3)
    train.run(job)
    found = checkpoints.all_checkpoints(job.folder / folder.CHECKPOINTS)
    weights = found[-1].path / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    assert train.find_checkpoint(job) == found[-2]
    assert found[-1].path.name in events(job, "warning")[-1]["message"]


def test_a_run_whose_checkpoints_are_lost_is_not_started_over(make_job):
    job = make_job(max_steps=2, save_steps=1)
    train.run(job)
    shutil.rmtree(job.folder / folder.CHECKPOINTS)
    with pytest.raises(UserError, match="checkpoints are gone or damaged"):
        train.run(JobContext(job.folder, job.request))


def test_a_run_that_had_saved_nothing_says_that_it_starts_over(make_job):
    job = make_job(max_steps=1)
    job.emit("step", global_step=3, train_loss=2.5)
    train.run(job)
    assert [event["code"] for event in events(job, "warning")] == ["starts_over"]


def test_commands_are_obeyed_between_steps(make_job):
    job = make_job(max_steps=2, save_steps=50)
    sender = jobs.Job(job.folder)
    for command in ("pause", "checkpoint", "resume"):
        sender.send(command)
    train.run(job)
    told = ("paused", "resumed", "checkpoint_saved")
    happened = [(e["type"], e["global_step"]) for e in jobs.Job(job.folder).events() if e["type"] in told]
    assert happened == [("paused", 1), ("checkpoint_saved", 1), ("resumed", 1), ("checkpoint_saved", 2)]


def test_stop_before_the_first_step_cancels(make_job):
    job = make_job()
    jobs.Job(job.folder).send("stop")
    with pytest.raises(Cancelled):
        train.run(job)


def test_bad_values_are_refused_before_anything_is_loaded(make_job):
    with pytest.raises(UserError) as caught:
        train.run(make_job(max_steps=1, learning_rate=5.0, lora_rank=0))
    assert {problem.field for problem in caught.value.problems} == {"learning_rate", "lora_rank"}


def test_rows_too_long_are_cut_and_said(make_job, rows_file):
    row = {"instruction": "Repeat.", "output": "word " * 400}
    with open(rows_file, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    job = make_job(max_steps=1)
    train.run(job)
    told = next(event for event in events(job, "warning") if event["code"] == "rows_cut")
    assert told["cut"] == 1 and told["rows"] > 1


def test_test_rows_that_are_learned_are_said(make_job, rows_file):
    job = make_job(max_steps=1, eval_file=str(rows_file))
    train.run(job)
    assert "8 of 8" in next(e["message"] for e in events(job, "warning") if e["code"] == "test_rows_learned")


def test_a_gpu_that_is_not_there_is_refused(make_job):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match="no NVIDIA GPU"):
        train.run(make_job(device="cuda"))


def test_the_processes_are_compared_with_what_the_run_has_become(make_job, monkeypatch):
    """A run of one machine that is launched on two has that beside its run.json."""
    job = make_job()
    adjust.consent(job.folder, {"nodes": 2})

    def check(job: JobContext, config: RunConfig) -> None:
        raise UserError(f"{config.nodes} machines")

    monkeypatch.setattr(preflight, "check", check)
    with pytest.raises(UserError, match="2 machines"):
        train.run(job)


def test_every_process_says_to_its_sensors_that_a_pause_is_one(monkeypatch):
    said = []
    control = TrainingControl.__new__(TrainingControl)
    control.sensors = SimpleNamespace(step_made=lambda: said.append("step made"))
    orders = iter([("_wait", (0.0,)), ("_wait", (0.0,)), None])
    monkeypatch.setattr(ranks, "broadcast", lambda value: next(orders))
    control._follow()
    assert said == ["step made"] * 2
