"""What a run does when things go wrong inside it: no memory, no number, a worse eval loss, a change of plan."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from support import crafted_models, small_runs
from support import tiny_model as tiny_model_support
from support.small_runs import events
from support.tiers import first_fast

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.run import adjust, checkpoints, folder
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.runtime.context import JobContext, StartAnew
from slmstudio.worker.training import methods, out_of_memory, train
from slmstudio.worker.training.trainer import StudioTrainer


@pytest.fixture
def make_job(tmp_path, tiny_model, rows_file):
    return small_runs.maker(tmp_path, tiny_model, rows_file, max_steps=6, micro_batch_size=4)


def weights_of(result) -> dict[str, torch.Tensor]:
    return load_file(Path(result["adapter"]) / "adapter_model.safetensors")


def no_memory_above(monkeypatch, rows: int, at_step: int = 0) -> None:
    """From `at_step` on, more than `rows` rows at once raise what PyTorch raises when main memory is out."""
    honest = StudioTrainer.compute_loss

    def compute_loss(self, model, inputs, *args, **kwargs):
        if self.state.global_step >= at_step and inputs["input_ids"].shape[0] > rows:
            torch.empty(1 << 60, dtype=torch.uint8)  # a real want of memory
        return honest(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(StudioTrainer, "compute_loss", compute_loss)


def run_through(job) -> tuple[dict, int]:
    """Train as the worker's main does; each fresh start is counted."""
    starts = 1
    while True:
        try:
            return train.run(JobContext(job.folder, jobs.Job(job.folder).request())), starts
        except StartAnew:
            starts += 1


def test_out_of_memory_halves_the_micro_batch_and_keeps_the_effective_batch(make_job, monkeypatch):
    plain = train.run(make_job(micro_batch_size=1, gradient_accumulation_steps=4))
    job = make_job()
    no_memory_above(monkeypatch, rows=1, at_step=3)
    result, starts = run_through(job)
    assert result["state"] == "finished" and starts == 3
    told = events(job, "adjusted")
    assert [event["changes"] for event in told] == [
        {"micro_batch_size": 2, "gradient_accumulation_steps": 2},
        {"micro_batch_size": 1, "gradient_accumulation_steps": 4}]
    assert events(job, "resumed_from")[0]["global_step"] == 2
    # The same rows in each update, whatever the micro-batch: the losses are those of a run that always had 1.
    final = {event["global_step"]: event["train_loss"] for event in events(job, "step")}
    assert result["train_loss_last"] == pytest.approx(plain["train_loss_last"], rel=1e-3)
    assert sorted(final) == [1, 2, 3, 4, 5, 6]


@pytest.mark.full
def test_the_last_levers_are_checkpointing_and_then_consent(make_job, monkeypatch):
    job = make_job(max_length=256)
    no_memory_above(monkeypatch, rows=0)
    result, starts = run_through(job)
    assert starts == 4 and events(job, "adjusted")[-1]["changes"] == {"gradient_checkpointing": True}
    assert result["state"] == "failed" and result["consent"] == {"max_length": 128}
    assert "you decide" in result["error"]["why"]
    monkeypatch.undo()
    adjust.consent(job.folder, result["consent"])
    done, _ = run_through(job)
    assert done["state"] == "finished"
    assert adjust.apply(RunConfig.from_dict(job.request), job.folder).max_length == 128


def test_consent_is_checked(make_job):
    job = make_job()
    with pytest.raises(UserError) as error:
        adjust.consent(job.folder, {"max_length": 3, "nonsense": 1})
    assert {problem.field for problem in error.value.problems} == {"nonsense"}
    with pytest.raises(UserError) as error:
        adjust.consent(job.folder, {"max_length": 3})
    assert "between 8" in str(error.value)


def test_a_kill_for_want_of_memory_pulls_the_lever_at_the_next_start(make_job):
    job = make_job()
    job.emit(jobs.MEMORY_KILL)
    result, starts = run_through(job)
    assert starts == 2 and result["state"] == "finished"
    assert events(job, "adjusted")[0]["changes"]["micro_batch_size"] == 2


def test_no_lever_is_pulled_where_the_model_cannot_be_loaded(make_job, monkeypatch):
    def too_large(*given, **options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    job = make_job()
    with monkeypatch.context() as patched:
        patched.setattr(methods.base_weights, "load", too_large)
        result = train.run(job)
    assert (result["state"], result["error"]["what"]) == ("failed", "Memory ran out while the model was loaded.")
    job.emit(jobs.MEMORY_KILL)  # as if the system had ended it at that point
    assert not out_of_memory.killed_for_memory(job)
    assert not events(job, "adjusted")


def test_events_without_their_figures_are_passed_over(make_job):
    job = make_job()
    for event in ({"type": "eval", "global_step": 0, "eval_loss": 3.0}, {"type": "step", "global_step": 1},
                  {"type": "step", "global_step": 2, "train_loss": 2.5}, {"type": "step", "global_step": "3"},
                  {"type": "step"}, {"type": "eval", "global_step": 2}, {"type": "eval", "eval_loss": 1.0}, {}):
        files.append_line(job.folder / jobs.EVENTS, {"protocol": jobs.PROTOCOL, **event})
    assert train.losses(job) == {"train_loss_first": None, "train_loss_last": 2.5, "eval_loss_before": 3.0,
                                  "eval_loss_after": None}
    assert train._evaluations(job) == [(0, 3.0, 0.0)]


def test_other_errors_are_no_want_of_memory():
    assert not out_of_memory.ran_out(RuntimeError("shapes do not fit"))
    assert out_of_memory.ran_out(MemoryError())
    assert out_of_memory.ran_out(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))


def poison(monkeypatch, line: int, value: float) -> None:
    """The loss of one row is no number."""
    from slmstudio.worker.training import trainer

    honest_step, honest_sum, honest_rows = StudioTrainer.training_step, trainer.summed_loss, trainer.per_row_losses
    rows_of = {}

    def training_step(self, model, inputs, *args, **kwargs):
        rows_of["now"] = inputs["rows"].tolist()
        return honest_step(self, model, inputs, *args, **kwargs)

    def summed(causal_lm, inputs):
        loss, count = honest_sum(causal_lm, inputs)
        return (loss * value if causal_lm.training and line in rows_of["now"] else loss), count

    def per_row(causal_lm, inputs):
        losses = honest_rows(causal_lm, inputs)
        return [value if row == line else loss for row, loss in zip(inputs["rows"].tolist(), losses, strict=True)]

    monkeypatch.setattr(StudioTrainer, "training_step", training_step)
    monkeypatch.setattr(trainer, "summed_loss", summed)
    monkeypatch.setattr(trainer, "per_row_losses", per_row)


@pytest.mark.parametrize("value", first_fast([float("nan"), float("inf")]))
def test_no_number_stops_before_the_step_and_names_the_row(make_job, monkeypatch, value):
    job = make_job(save_steps=1, micro_batch_size=2, eval_fraction=0.0)
    poison(monkeypatch, line=3, value=value)
    with pytest.raises(UserError) as error:
        train.run(job)
    assert "isn't a number" in error.value.what and "the weights are unchanged" in error.value.why
    assert [problem.line for problem in error.value.problems] == [3]
    for checkpoint in checkpoints.all_checkpoints(job.folder / folder.CHECKPOINTS):
        weights = load_file(checkpoint.path / "adapter_model.safetensors")
        assert all(torch.isfinite(weight).all() for weight in weights.values())


def test_a_gradient_that_is_no_number_names_the_batch(make_job, monkeypatch):
    job = make_job(micro_batch_size=2, eval_fraction=0.0)
    honest = StudioTrainer.training_step

    def training_step(self, model, *args, **kwargs):
        loss = honest(self, model, *args, **kwargs)
        if self.state.global_step == 1:
            next(p for p in model.parameters() if p.grad is not None).grad.fill_(float("nan"))
        return loss

    monkeypatch.setattr(StudioTrainer, "training_step", training_step)
    with pytest.raises(UserError, match="gradient of step 2") as error:
        train.run(job)
    assert len(error.value.problems) == 2 and len(events(job, "step")) == 1


def test_early_stopping_uses_the_best_checkpoint(make_job):
    job = make_job(max_steps=60, learning_rate=0.03, eval_steps=1, save_steps=50, early_stopping_patience=3,
                   lr_scheduler="constant", warmup_fraction=0.0)
    result = train.run(job)
    evals = {event["global_step"]: event["eval_loss"] for event in events(job, "eval")}
    best = min(evals, key=evals.get)
    assert result["stopped_early"] and result["steps"] < 60 and result["best_step"] == best
    assert events(job, "early_stop")[0]["best_step"] == best
    assert events(job, "overfitting")[0]["global_step"] == best
    assert best > 0, evals
    told, = events(job, "best_used")
    losses = dict(told["strengths"])
    assert losses[1.0] == evals[result["steps"]] and result["used_step"] == best
    assert result["eval_loss_after"] == told["eval_loss"] == evals[best] <= min(losses.values())
    kept = next(c for c in checkpoints.all_checkpoints(job.folder / folder.CHECKPOINTS) if c.global_step == best)
    saved, used = load_file(kept.path / "adapter_model.safetensors"), weights_of(result)
    assert told["strength"] == 1 and all(torch.equal(saved[name], used[name]) for name in saved)
    assert checkpoints.damage(Path(result["adapter"])) is None


def test_a_change_holds_from_its_step_on_and_a_resumed_run_makes_it_again(make_job):
    """Change after step 2, cut after step 3, resume from step 2: as if nothing had happened."""

    def changing(job) -> JobContext:
        honest = job.commands
        sent = []

        def commands():
            if not sent and any(e["type"] == "step" and e["global_step"] == 2 for e in jobs.Job(job.folder).events()):
                sent.append(1)
                return [{"command": "change", "learning_rate": 1e-3, "max_steps": 8}]
            return honest()

        job.commands = commands
        return job

    whole = changing(make_job())
    whole_result = train.run(whole)
    assert whole_result["steps"] == 8
    changed = events(whole, "changed")
    assert changed[0]["global_step"] == 2 and changed[0]["total_steps"] == 8
    rates = [event["learning_rate"] for event in events(whole, "step")]
    assert max(rates[2:]) <= 1e-3 < rates[1]

    cut = changing(make_job())

    class Cut(Exception):
        pass

    honest = cut.emit

    def emit(type, **fields):
        honest(type, **fields)
        if type == "step" and fields["global_step"] == 3:
            raise Cut

    cut.emit = emit
    with pytest.raises(Cut):
        train.run(cut)
    resumed = train.run(JobContext(cut.folder, cut.request))
    assert resumed["steps"] == 8
    losses = [{e["global_step"]: e["train_loss"] for e in events(job, "step")} for job in (whole, cut)]
    assert losses[0] == losses[1]
    one, two = weights_of(whole_result), weights_of(resumed)
    assert all(torch.equal(one[name], two[name]) for name in one)


REFUSED = ({"max_steps": 1}, {"learning_rate": 7}, {"learning_rate": "fast"}, {"learning_rate": {}},
           {"max_steps": "many"}, {"max_steps": 10**400}, {"epochs": []}, {"epochs": math.inf}, {"epochs": math.nan})
SENSELESS = (b'[1]\n\xff\x00\n{"command": "halt", "time": "noon"}\n{"command": ["stop"], "time": 9e9}\n'
             b'{"time": 9e9}\n{"command": null, "time": 9e9}\n' + b"[" * 100_000 + b"\n")


def test_a_change_that_cannot_be_is_refused_and_no_odd_command_ends_the_worker(make_job):
    job = make_job()
    honest, sent = job.commands, []

    def commands():
        if not sent and events(job, "step"):
            sent.append(1)
            with open(job.folder / jobs.COMMANDS, "ab") as file:
                file.write(SENSELESS)
                for change in REFUSED:
                    line = {"protocol": 1, "time": time.time(), "command": "change", **change}
                    file.write(json.dumps(line).encode() + b"\n")
        return honest()

    job.commands = commands
    assert train.run(job)["steps"] == 6
    assert sent and [event["code"] for event in events(job, "warning")] == ["change_refused"] * len(REFUSED)


def test_samples_show_it_learn(make_job):
    job = make_job(sample_prompts=["Where do I report a broken street light?"], sample_max_tokens=8)
    train.run(job)
    told = events(job, "sample")
    assert [event["global_step"] for event in told] == [0, 2, 4, 6]
    assert all(event["samples"][0]["prompt"].startswith("Where") for event in told)
    assert told[0]["samples"][0]["answer"] != told[-1]["samples"][0]["answer"]


def test_samples_are_taken_from_the_evaluation_rows_and_change_nothing(make_job):
    asked, silent = make_job(sample_max_tokens=8, lora_dropout=0.1), make_job(lora_dropout=0.1)
    train.run(asked)
    train.run(silent)
    answers = {row["output"] for row in tiny_model_support.ROWS}
    assert {sample["reference"] for sample in events(asked, "sample")[0]["samples"]} <= answers
    assert not events(silent, "sample")
    losses = [[event["train_loss"] for event in events(job, "step")] for job in (asked, silent)]
    assert losses[0] == losses[1]


def test_tensorboard_files_hold_the_same_curves(make_job):
    job = make_job(tensorboard=True)
    train.run(job)
    assert len(list((job.folder / "tensorboard").glob("events.out.*"))) == 1


def test_free_saves_and_ends_and_the_run_goes_on_later(make_job):
    job = make_job()
    honest, sent = job.commands, []

    def commands():
        if not sent and len(events(job, "step")) == 3:
            sent.append(1)
            return [{"command": "free"}]
        return honest()

    job.commands = commands
    result = train.run(job)
    assert result == {"state": "paused", "steps": 3, "total_steps": 6}
    assert [c.global_step for c in checkpoints.all_checkpoints(job.folder / folder.CHECKPOINTS)][-1] == 3
    assert not (job.folder / folder.ADAPTER).exists()
    done = train.run(JobContext(job.folder, job.request))
    plain = train.run(make_job())
    assert done["steps"] == 6 and done["train_loss_last"] == plain["train_loss_last"]


def test_adjustments_survive_as_a_file(make_job):
    job = make_job()
    adjust.record(job.folder, {"micro_batch_size": 2})
    adjust.record(job.folder, {"gradient_checkpointing": True})
    state = json.loads((job.folder / adjust.FILE).read_text())
    assert state["values"] == {"micro_batch_size": 2, "gradient_checkpointing": True}
    (job.folder / adjust.FILE).write_text("[")
    with pytest.raises(UserError, match="damaged"):
        adjust.load(job.folder)


def test_a_file_that_changed_is_said(make_job, rows_file):
    job = make_job(max_steps=1)
    with open(rows_file, "a", encoding="utf-8") as file:
        file.write('{"instruction": "One more?", "output": "Yes."}\n')
    train.run(job)
    assert [event["code"] for event in events(job, "warning")] == ["data_changed"]


def test_who_else_holds_the_cards_memory_is_named(tmp_path, fake_nvml, monkeypatch):
    mine, other, nobody = os.getpid(), os.getppid(), 2**22 + 1  # above the greatest number that Linux gives
    fake_nvml.set(processes=f"{mine}:{8 * 2**30} {other}:{2**30} {nobody}:{2**29} 1:{2**20}")
    config = RunConfig(name="trial", model="m", train_file="rows.jsonl", max_length=128)
    monkeypatch.setattr(methods, "on_gpu", lambda config: True)
    assert out_of_memory.no_lever_left(tmp_path, config).remedy == (
        f"{psutil.Process(other).name()} is using 1 GB of the GPU. Another program is using 512 MB of the GPU. "
        "Close other programs, or choose a smaller model or QLoRA.")
    assert fake_nvml.users() == 0
    monkeypatch.setattr(methods, "on_gpu", lambda config: False)
    assert out_of_memory.no_lever_left(tmp_path, config).remedy.startswith("Close other programs")


def test_rows_with_a_token_that_has_no_embedding_are_refused(make_job, tiny_model, tmp_path):
    rows = tmp_path / "pictures.jsonl"
    rows.write_text('{"instruction": "A", "output": "<picture>"}\n' * 8)
    model = tiny_model_support.with_token_beyond(tmp_path / "m", tiny_model)
    with pytest.raises(UserError, match="can't learn these rows"):
        train.run(make_job(model=str(model), train_file=str(rows)))


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt"])
def test_a_forged_checkpoint_is_refused_without_advice_to_trust_it(make_job, name, tmp_path):
    job = make_job(max_steps=2)
    train.run(job)
    place = checkpoints.all_checkpoints(job.folder / folder.CHECKPOINTS)[-1].path
    torch.save(crafted_models.Evil(tmp_path / "m"), place / name)
    checkpoints.seal(place, 2)
    with pytest.raises(UserError) as caught:
        train.run(JobContext(job.folder, {**job.request, "max_steps": 4}))
    assert "step-000002" in str(caught.value) and "weights_only" not in str(caught.value)
    assert not (tmp_path / crafted_models.CANARY).exists()


def test_what_earlier_versions_saved_of_random_numbers_is_never_opened(make_job, tmp_path):
    job = make_job(max_steps=2)
    train.run(job)
    place = checkpoints.all_checkpoints(job.folder / folder.CHECKPOINTS)[-1].path
    torch.save(crafted_models.Evil(tmp_path / "m"), place / "rng_state.pth")
    checkpoints.seal(place, 2)
    assert train.run(JobContext(job.folder, {**job.request, "max_steps": 4}))["steps"] == 4
    assert not (tmp_path / crafted_models.CANARY).exists()
