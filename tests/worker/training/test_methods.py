"""Each method and objective on a tiny model: exactly what must change does, and the loss falls."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support import small_runs
from support.small_runs import events
from support.tiers import first_fast

from slmstudio.core.data import reader
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.model import facts
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.planning import plan_inputs, planner
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training import control, loading, methods, train, trainer

LINEAR = 7
"""Linear layers in one of the tiny model's two decoder layers."""


QUESTIONS = [(f"{asked} {place}", good, bad) for place, (asked, good, bad) in enumerate([
    ("Where do I report a broken street light?", "Call the ward office.", "No idea."),
    ("जन्म प्रमाण पत्र कितने दिन में मिलता है?", "सात दिन में।", "पता नहीं।"),
    ("How long is a passport valid?", "Ten years for adults.", "For ever."),
    ("Who issues a ration card?", "The food department.", "Nobody.")] * 3)]


@pytest.fixture
def planned(tmp_path, tiny_model, processor):
    """A run as the plan proposes it, for a processor with bf16 arithmetic or without, but for what is set."""

    def make(objective: str, bf16: bool, settings: dict, rows: int | None = None) -> JobContext:
        processor(bf16)
        file = small_runs.write(tmp_path / f"{objective}.jsonl", small_runs.rows_of(objective, QUESTIONS)[:rows])
        config = planner.configure(plan_inputs.PlanInputs(
            reader.read_dataset(file), facts.read_model(tiny_model), read_machine(), overrides=settings))
        job = folder.create(config, tmp_path / "runs")
        return JobContext(job.folder, job.request())

    return make


@pytest.fixture
def make_job(planned):
    """A small run; device and number format are left to the plan."""

    def make(objective="sft", bf16=False, **changes) -> JobContext:
        small = {"lora_rank": 4} if changes.get("method") != "full" else {}
        return planned(objective, bf16, {
            "objective": objective, "max_steps": 6, "micro_batch_size": 2, "gradient_accumulation_steps": 1,
            "max_length": 128, "learning_rate": 5e-3, "eval_fraction": 0.25, "eval_steps": 3, "save_steps": 3,
            "threads": 1, "sample_max_tokens": 4, **small, **changes})

    return make


def adapter_of(result) -> dict[str, torch.Tensor]:
    return load_file(Path(result["adapter"]) / "adapter_model.safetensors")


@pytest.mark.parametrize("objective", first_fast(["sft", "dpo"]))
def test_full_fine_tuning_in_bf16_is_trained_as_the_plan_proposes_it(planned, objective):
    """Nothing is set but the method; tests/e2e/test_every_method.py has all methods, and processors without bf16."""
    job = planned(objective, True, {"method": "full"}, rows=6)
    assert [job.request[name] for name in ("objective", "device", "precision")] == [objective, "auto", "bf16"]
    result = train.run(job)
    assert result["state"] == "finished" and result["steps"] == result["total_steps"] > 1
    assert result["eval_loss_after"] < result["eval_loss_before"]


@pytest.mark.parametrize("changes", first_fast([
    {}, {"use_dora": True, "use_rslora": True}, {"method": "qlora"}, {"use_rslora": True}, {"use_dora": True},
    {"method": "qlora", "use_dora": True}, {"bf16": True}, {"lora_dropout": 0.1}], 3), ids=str)
def test_adapters_learn_and_the_base_stays(make_job, tiny_model, changes):
    before = (tiny_model / "model.safetensors").read_bytes()
    result = train.run(make_job(**changes))
    assert result["state"] == "finished" and result["eval_loss_after"] < result["eval_loss_before"]
    adapter = adapter_of(result)
    learned = [name for name, weight in adapter.items() if "lora_B" in name and weight.abs().sum() > 0]
    assert len(learned) == 2 * LINEAR and not any("lm_head" in name for name in adapter)
    assert all(weight.dtype == torch.float32 for weight in adapter.values())
    assert any("magnitude" in name for name in adapter) == bool(changes.get("use_dora"))
    settings = json.loads((Path(result["adapter"]) / "adapter_config.json").read_text())
    assert settings["use_rslora"] == bool(changes.get("use_rslora"))
    assert (tiny_model / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(("objective", "changes"), first_fast([
    ("sft", {"gradient_checkpointing": True}), ("dpo", {}), ("orpo", {}), ("kto", {}), ("sft", {"method": "qlora"}),
    ("sft", {"method": "full", "packing": False}), ("text", {})]), ids=str)
def test_nothing_is_asked_of_the_libraries_that_they_call_deprecated(make_job, objective, changes):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train.run(make_job(objective, max_steps=1, **changes))
    # PEFT and TRL still ask transformers for these themselves.
    their_own = ("is_gradient_checkpointing", "gradient_checkpointing_enable", "gradient_checkpointing_disable")
    said = {str(each.message) for each in caught if issubclass(each.category, FutureWarning)}
    assert not [text for text in said if not text.lstrip("`").startswith(their_own)]


def test_qlora_holds_the_base_in_four_bits(make_job):
    import bitsandbytes

    job = make_job(method="qlora")
    model, adapter = methods.build(RunConfig.from_dict(job.request))
    linear = [module for module in model.modules() if isinstance(module, bitsandbytes.nn.Linear4bit)]
    assert len(linear) == 2 * LINEAR and adapter is not None
    assert all(module.weight.quant_type == "nf4" and module.weight.compress_statistics for module in linear)


def test_evaluating_and_sampling_change_nothing_of_what_qlora_learns(make_job, monkeypatch):
    """bitsandbytes repacks weights on the CPU when it evaluates; the gradient must not be lost by it."""
    watched, silent = (make_job(method="qlora", bf16=True, eval_steps=1, sample_max_tokens=8) for _ in range(2))
    train.run(watched)
    monkeypatch.setattr(control.TrainingControl, "_evaluate", lambda self: None)
    train.run(silent)
    steps = [[(event["train_loss"], event["grad_norm"]) for event in events(job, "step")] for job in (watched, silent)]
    assert steps[0] == steps[1]


@pytest.mark.parametrize("method", first_fast(["lora", "full"]))
def test_text_is_learned_whole(make_job, method):
    job = make_job("text", method=method, learning_rate=5e-3 if method == "lora" else 1e-3)
    result = train.run(job)
    assert result["eval_loss_after"] < result["eval_loss_before"]


def test_a_long_text_is_learned_in_pieces_with_nothing_lost(make_job, tiny_model):
    from slmstudio.core.data.reader import Record
    from slmstudio.core.model.chat_template import ChatTemplate

    job = make_job("text", max_length=16)
    tokenizer = methods.load_tokenizer(tiny_model)
    text = "Where do I report a broken street light? " * 9
    data = loading.encode([Record(messages=(), line=7, text=text)], None, tokenizer,
                              ChatTemplate.from_folder(tiny_model), RunConfig.from_dict(job.request), job, "tokenizing")
    together = [token for ids in data["input_ids"] for token in ids]
    assert tokenizer.decode(together[:-1]) == text and together[-1] == tokenizer.eos_token_id
    assert all(len(ids) <= 16 for ids in data["input_ids"]) and set(data["row"]) == {7}
    assert data["labels"] == data["input_ids"]


@pytest.mark.parametrize(("objective", "method"), first_fast([
    ("dpo", "qlora"), ("orpo", "full"), ("kto", "lora"), ("dpo", "lora"), ("dpo", "full"), ("orpo", "lora"),
    ("orpo", "qlora"), ("kto", "qlora"), ("kto", "full")], 3))
def test_preferences_are_learned(make_job, objective, method):
    job = make_job(objective, method=method, learning_rate=5e-3 if method != "full" else 1e-3, max_steps=8,
                   micro_batch_size=3)
    result = train.run(job)
    assert result["state"] == "finished" and result["eval_loss_after"] < result["eval_loss_before"]
    steps = events(job, "step")
    assert len(steps) == 8 and all(step["tokens"] > 0 for step in steps)
    if objective != "kto":
        assert events(job, "eval")[-1]["reward_accuracy"] >= 0.5


@pytest.mark.parametrize("objective", first_fast(["dpo", "kto"]))
def test_preference_losses_equal_trls_own(make_job, monkeypatch, objective):
    ours, stock = (make_job(objective, micro_batch_size=3, max_steps=4) for _ in range(2))
    train.run(ours)
    monkeypatch.setattr(loading, "be_fast_on_the_cpu", lambda on_cpu: None)
    monkeypatch.setattr(trainer.trl_utils, "_ChunkedLogProbFunction", trainer._STOCK)
    monkeypatch.setattr(trainer.trl_utils, "_use_triton", trainer._STOCK_USE_TRITON)
    train.run(stock)
    losses = [[event["train_loss"] for event in events(job, "step")] for job in (ours, stock)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_dpo_learns_the_tokens_that_the_chat_sends(make_job, tiny_model):
    from slmstudio.core.data import reader
    from slmstudio.core.model.chat_template import ChatTemplate

    job = make_job("dpo")
    config = RunConfig.from_dict(job.request)
    rows = reader.read_dataset(Path(config.train_file)).records[:1]
    tokenizer, template = methods.load_tokenizer(tiny_model), ChatTemplate.from_folder(tiny_model)
    row = loading.encode(rows, None, tokenizer, template, config, job, "tokenizing")[0]
    prompt = template.render([rows[0].messages[0]], add_generation_prompt=True)
    assert tokenizer.decode(row["prompt_ids"]) == prompt
    assert tokenizer.decode(row["chosen_ids"]) == "Call the ward office.<|im_end|>"
    assert tokenizer.decode(row["rejected_ids"]) == "No idea.<|im_end|>"


def test_rows_of_another_kind_are_refused(make_job):
    job = make_job("sft", packing=False)
    job.request["objective"] = "dpo"
    with pytest.raises(UserError, match="can't be used with DPO"):
        train.run(job)


def test_from_scratch_makes_a_new_model_of_the_same_architecture(make_job, tiny_model):
    result = train.run(make_job("text", method="scratch", scratch_size="10M", learning_rate=1e-3))
    new = json.loads((Path(result["model"]) / "config.json").read_text())
    old = json.loads((tiny_model / "config.json").read_text())
    assert new["architectures"] == old["architectures"] and new["vocab_size"] == old["vocab_size"]
    assert new["num_hidden_layers"] > old["num_hidden_layers"]
    weights = load_file(Path(result["model"]) / "model.safetensors")
    assert 9e6 < sum(weight.numel() for weight in weights.values()) < 11e6
    assert result["eval_loss_after"] < result["eval_loss_before"]


@pytest.mark.parametrize("method", first_fast(["lora", "full"]))
def test_a_run_goes_on_from_an_earlier_one(make_job, method):
    rate = 5e-3 if method == "lora" else 1e-3
    first_job = make_job(method=method, learning_rate=rate)
    first = train.run(first_job)
    second_job = make_job(method=method, learning_rate=rate, start_from=str(first_job.folder))
    second = train.run(second_job)
    assert second["eval_loss_before"] == pytest.approx(first["eval_loss_after"], rel=1e-4)
    assert second["eval_loss_after"] < first["eval_loss_after"]


def test_going_on_from_another_kind_of_run_is_refused(make_job):
    first = make_job()
    train.run(first)
    with pytest.raises(UserError, match="no model to continue from"):
        train.run(make_job(method="full", start_from=str(first.folder)))


def test_neftune_changes_the_course_and_nothing_at_the_end(make_job):
    plain, noisy = make_job(), make_job(neftune_noise_alpha=5.0)
    train.run(plain)
    train.run(noisy)
    losses = [[event["train_loss"] for event in events(job, "step")] for job in (plain, noisy)]
    assert losses[0] != losses[1]
    before = [events(job, "eval")[0]["eval_loss"] for job in (plain, noisy)]
    assert before[0] == before[1]  # evaluation has no noise


@pytest.mark.parametrize("optimizer", first_fast(["adamw_8bit", "adamw_torch_fused", "adafactor", "sgd"]))
def test_optimizers(make_job, optimizer):
    result = train.run(make_job(optimizer=optimizer, learning_rate=0.5 if optimizer == "sgd" else 5e-3))
    assert result["eval_loss_after"] < result["eval_loss_before"]


def test_what_needs_a_gpu_is_refused_all_at_once():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError) as error:
        methods.check(RunConfig(name="n", model="m", train_file="t", device="cuda", precision="fp16"))
    assert {problem.field for problem in error.value.problems} == {"device", "precision"}
