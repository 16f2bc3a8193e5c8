"""What is proposed for which data, model and machine, and that a person is told why."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from slmstudio.core.data import reader
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import Gpu, Machine
from slmstudio.core.model import facts
from slmstudio.core.run import planner
from slmstudio.core.run.config import RunConfig, field_help

GB = 2**30
CPU = Machine("Linux", "a processor", 4, 8, 16 * GB, 12 * GB, (), True, False, "No driver.")
SMALL_GPU = dataclasses.replace(CPU, gpus=(Gpu(0, "RTX 3060", 8 * GB, 7 * GB, (8, 6)),))
OLD_GPU = dataclasses.replace(CPU, gpus=(Gpu(0, "GTX 1080", 8 * GB, 7 * GB, (6, 1)),))
ROWS = {
    "sft": [{"instruction": f"What is {i}?", "output": "A number."} for i in range(40)],
    "dpo": [{"prompt": f"What is {i}?", "chosen": "A number.", "rejected": "No."} for i in range(40)],
    "kto": [{"prompt": f"What is {i}?", "completion": "A number.", "label": bool(i % 2)} for i in range(40)],
    "text": [{"text": f"The number {i} is a number."} for i in range(40)],
}


@pytest.fixture
def plan(tmp_path, tiny_model):
    def make(kind="sft", machine=CPU, billions=None, **overrides) -> RunConfig:
        file = tmp_path / f"{kind}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in ROWS[kind]))
        model = facts.read_model(tiny_model)
        if billions is not None:  # a Llama of that size, as far as the plan is concerned
            model = dataclasses.replace(
                model, parameters=int(billions * 1e9), hidden_size=4096, intermediate_size=14336, layers=32, heads=32,
                kv_heads=8, head_dim=128, vocabulary_size=128_256, context_length=8192)
        return planner.plan(planner.PlanRequest(reader.read_dataset(file), model, machine, None, overrides))

    return make


@pytest.mark.parametrize("kind", ROWS)
def test_the_objective_follows_from_the_rows(plan, kind):
    config = plan(kind)
    assert config.objective == kind and config.method == "lora"
    assert config.packing == (kind in ("sft", "text"))


def test_every_field_has_a_reason(plan):
    config = plan()
    assert {name for name in field_help() if not config.reasons.get(name)} == set()
    assert not config.problems()


def test_lora_where_it_fits_and_qlora_where_only_that_does(plan):
    assert plan(machine=SMALL_GPU).method == "lora"
    large = plan(machine=SMALL_GPU, billions=8)
    assert large.method == "qlora" and "LoRA would need about" in large.reasons["method"]
    assert plan(machine=SMALL_GPU, billions=8, method="lora").method == "lora"


def test_the_device_decides_number_format_and_attention(plan):
    assert plan(machine=SMALL_GPU).precision == "bf16" and plan(machine=OLD_GPU).precision == "fp16"
    assert plan(machine=dataclasses.replace(CPU, cpu_bf16=False)).precision == "fp32"
    assert plan(machine=OLD_GPU).attention == "sdpa"
    assert not plan().use_liger_kernel


def test_all_weights_of_a_large_model_get_an_optimizer_in_eight_bits(plan):
    assert plan(machine=SMALL_GPU, billions=1, method="full").optimizer == "paged_adamw_8bit"
    assert plan(method="full").optimizer == "adamw_torch"


def test_preferences_take_smaller_steps_and_kto_needs_two_rows(plan):
    assert plan("dpo").learning_rate == pytest.approx(plan("sft").learning_rate / 10)
    assert plan("kto", machine=SMALL_GPU, billions=8).micro_batch_size >= 2


@pytest.mark.parametrize(("word", "method", "fields"), [
    ("dora", "lora", {"use_dora": True}), ("rslora", "lora", {"use_rslora": True}), ("qlora", "qlora", {}),
    ("full", "full", {}), ("scratch", "scratch", {}), ("pretrain", "full", {"objective": "text"})])
def test_methods_by_the_words_people_use(plan, word, method, fields):
    config = plan(**planner.overrides({"method": word}))
    assert config.method == method and all(getattr(config, name) == value for name, value in fields.items())


def test_rank_stabilised_lora_keeps_the_usual_scale(plan):
    config = plan(use_rslora=True)
    assert config.lora_alpha / config.lora_rank**0.5 == pytest.approx(2.0)


def test_what_does_not_fit_is_refused_all_at_once(plan):
    with pytest.raises(UserError) as error:
        plan(objective="dpo", device="cuda", lora_rank=0, use_dora=True, method="full")
    assert {problem.field for problem in error.value.problems} == {"objective", "device", "lora_rank", "use_dora"}


def test_patience_and_intervals(plan):
    config = plan(epochs=5.0)
    assert config.early_stopping_patience == 3 and config.use_best_checkpoint
    steps = 5 * -(-36 // config.effective_batch_size)
    assert steps // config.eval_steps >= 8 and config.save_steps <= config.eval_steps


def test_a_new_model_counts_its_own_size(plan):
    config = plan("text", method="scratch", scratch_size="10M", machine=SMALL_GPU)
    assert config.learning_rate == 1e-3 and Path(config.model).is_dir()
