"""What is proposed for which objective, model and machine, and that a person is told why."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from support.machines import GB, machine

from slmstudio.core.data import reader
from slmstudio.core.errors import UserError
from slmstudio.core.hardware import guidance
from slmstudio.core.hardware.machine import Gpu, Machine
from slmstudio.core.model import facts
from slmstudio.core.run import measured
from slmstudio.core.run.config import FIELDS, RunConfig
from slmstudio.core.run.memory.formula import estimate
from slmstudio.core.run.planning import plan_inputs, planner, rates

CPU = Machine("Linux", "a processor", 4, 8, 16 * GB, 12 * GB, (), True, False, "No driver.")
SMALL_GPU = dataclasses.replace(CPU, gpus=(Gpu(0, "RTX 3060", 8 * GB, 7 * GB, (8, 6)),))
OLD_GPU = dataclasses.replace(CPU, gpus=(Gpu(0, "GTX 1080", 8 * GB, 7 * GB, (6, 1)),))
ROWS = {
    "sft": [{"instruction": f"What is {i}?", "output": "It is a number, and a small one. " * 2} for i in range(40)],
    "dpo": [{"prompt": f"What is {i}?", "chosen": "A number.", "rejected": "No."} for i in range(40)],
    "kto": [{"prompt": f"What is {i}?", "completion": "A number.", "label": bool(i % 2)} for i in range(40)],
    "text": [{"text": f"The number {i} is a number."} for i in range(40)],
}


@pytest.fixture
def plan(tmp_path, tiny_model):
    def make(kind="sft", machine=CPU, billions=None, architecture="LlamaForCausalLM", model_type="llama",
             **overrides) -> RunConfig:
        file = tmp_path / f"{kind}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in ROWS[kind]))
        model = dataclasses.replace(facts.read_model(tiny_model), architecture=architecture,
                                    model_type=model_type)
        if billions is not None:  # a Llama of that size, as far as the plan is concerned
            model = dataclasses.replace(
                model, parameters=int(billions * 1e9), hidden_size=4096, intermediate_size=14336, layers=32, heads=32,
                kv_heads=8, head_dim=128, vocabulary_size=128_256, context_length=8192)
        return planner.configure(plan_inputs.PlanInputs(reader.read_dataset(file), model, machine, None, overrides))

    return make


@pytest.mark.parametrize("kind", ROWS)
def test_the_objective_follows_from_the_rows(plan, kind):
    config = plan(kind)
    assert config.objective == kind and config.method == "lora"
    assert config.packing == (kind in ("sft", "text"))


def test_every_field_has_a_reason(plan):
    config = plan()
    assert {name for name in FIELDS if not config.reasons.get(name)} == set()
    assert not config.problems()


@pytest.mark.parametrize(("billions", "rank", "rate"), [(0.135, 64, 1.4e-3), (0.27, 16, 1e-3), (1.2, 16, 3e-4),
                                                       (8, 16, 2e-4)])
def test_rank_and_rate_follow_from_the_size_of_the_model(plan, billions, rank, rate):
    config = plan(billions=billions)
    assert (config.lora_rank, config.lora_alpha, config.learning_rate) == (rank, 2 * rank, rate)


@pytest.mark.parametrize(("rank", "rate"), [(16, 2.8e-3), (64, 1.4e-3), (8, 4e-3)])
def test_a_chosen_rank_has_a_rate_of_its_own(plan, rank, rate):
    assert plan(billions=0.135, lora_rank=rank).learning_rate == rate


@pytest.mark.parametrize(("answer", "least", "most"), [("A", 0.25, 0.5), ("A number." * 2, 0.5, 0.99),
                                                       ("It is a number. " * 40, 1, 1)])
def test_steps_are_smaller_where_they_learn_few_tokens(plan, monkeypatch, answer, least, most):
    monkeypatch.setitem(ROWS, "sft", [{"instruction": f"What is {i}?", "output": answer} for i in range(40)])
    usual = rates.usual_rate("lora", "sft", 135_000_000)
    config = plan(billions=0.135)
    assert least * usual <= config.learning_rate <= most * usual
    assert ("short" in config.reasons["learning_rate"]) == (most < 1)
    assert plan(billions=0.135, method="full").learning_rate == rates.usual_rate("full", "sft", 135_000_000)


def test_a_plan_says_that_its_model_cannot_become_a_gguf(plan):
    assert "GGUF" not in plan().reasons["method"]
    assert "OPTForCausalLM to GGUF" in plan(architecture="OPTForCausalLM").reasons["method"]
    assert "gpt-oss to F16 or F32 won't pass its check" in plan(model_type="gpt_oss").reasons["method"]


def test_what_cannot_be_packed_is_not_planned_or_estimated_so(plan):
    falcon = plan(model_type="falcon")
    assert not falcon.packing and falcon.group_by_length and "packed rows apart" in falcon.reasons["packing"]
    assert plan().packing


def test_what_is_packed_in_vain_is_estimated_as_padded(plan, tiny_model):
    config = dataclasses.replace(plan(), micro_batch_size=4, max_length=512, packing=True)
    model, padded = facts.read_model(tiny_model), dataclasses.replace(config, packing=False)
    of = {kind: [estimate(dataclasses.replace(model, model_type=kind), each, "cuda").high
                 for each in (config, padded)] for kind in ("falcon", "llama")}
    assert of["falcon"][0] == of["falcon"][1] and of["llama"][0] < of["llama"][1]


def test_lora_where_it_fits_and_qlora_where_only_that_does(plan):
    assert plan(machine=SMALL_GPU).method == "lora"
    large = plan(machine=SMALL_GPU, billions=8)
    assert large.method == "qlora" and "LoRA would need about" in large.reasons["method"]
    assert plan(machine=SMALL_GPU, billions=8, method="lora").method == "lora"
    assert [plan(machine=SMALL_GPU, billions=1.5, max_length=length).method for length in (512, 8192)] == [
        "lora", "qlora"], "what the rows need counts"


def test_what_may_not_fit_is_planned_all_the_same_and_says_what_would_fit(plan):
    config = plan(machine=SMALL_GPU, billions=3, method="lora", max_length=2048)
    said = config.reasons["micro_batch_size"]
    assert config.max_length == 2048 and config.micro_batch_size == 1 and config.gradient_checkpointing
    assert said.startswith("May need up to ") and "7 GB is free. It would fit with method=qlora" in said
    assert "A smaller model would fit." in plan(machine=SMALL_GPU, billions=80).reasons["micro_batch_size"]


def test_the_device_decides_number_format_and_attention(plan):
    assert plan(machine=SMALL_GPU).precision == "bf16" and plan(machine=OLD_GPU).precision == "fp16"
    assert plan(machine=dataclasses.replace(CPU, cpu_bf16=False)).precision == "fp32"
    assert plan(machine=OLD_GPU).attention == "sdpa"
    assert plan(machine=OLD_GPU, model_type="gemma3_text").precision == "fp32", "fp16 overflows"
    assert plan(machine=SMALL_GPU, model_type="gemma3_text").precision == "bf16"
    assert not plan().use_liger_kernel


@pytest.mark.parametrize(("capability", "said"), [
    ((8, 6), "support variable-length attention for packed rows"), ((7, 5), "is older than Ampere"),
    ((6, 1), "too old for FlexAttention")])
def test_the_card_decides_how_packed_rows_are_kept_apart(plan, monkeypatch, capability, said):
    monkeypatch.setattr(guidance.Installed, "here", lambda: guidance.Installed((2, 13), True, True))
    config = plan(machine=machine(12, capability=capability))
    assert config.packing and said in config.reasons["packing"]
    assert config.use_liger_kernel == (capability >= (7, 0)) and config.reasons["use_liger_kernel"]
    assert not plan().use_liger_kernel and "card" not in plan().reasons["packing"]


def test_the_plan_is_for_the_card_that_comes_first_and_names_it(plan):
    """Which is the one that the worker uses: tests/core/hardware/test_visible_cards.py."""
    large, small = Gpu(1, "RTX 3090", 24 * GB, 23 * GB, (8, 6)), Gpu(0, "GTX 1080", 8 * GB, 7 * GB, (6, 1))
    for cards, precision, said in [((large, small), "bf16", "GPU 1 (RTX 3090) is used. To use another card, set "),
                                   ((small, large), "fp16", "GPU 0 (GTX 1080) is used."),
                                   ((large,), "bf16", "RTX 3090 is used.")]:
        config = plan(machine=dataclasses.replace(CPU, gpus=cards))
        assert config.precision == precision and config.reasons["device"].startswith(said)


BUSY = dataclasses.replace(SMALL_GPU.gpus[0], index=1, memory_free=GB)


@pytest.mark.parametrize(("cards", "changes", "processes"), [
    (2, {}, 2), (8, {}, 4), (2, {"system": "Windows"}, 1), (2, {"processes": 1}, 1), (2, {"device": "cpu"}, 1),
    ((*SMALL_GPU.gpus, BUSY), {}, 1), ((*SMALL_GPU.gpus, OLD_GPU.gpus[0], *SMALL_GPU.gpus), {}, 1)])
def test_equal_cards_that_are_free_are_named_and_not_used_unasked(plan, cards, changes, processes):
    """Each would have a row of every update at least."""
    gpus = SMALL_GPU.gpus * cards if isinstance(cards, int) else cards
    here = dataclasses.replace(SMALL_GPU, gpus=gpus, system=changes.pop("system", "Linux"))
    config = plan(machine=here, **changes)
    assert config.processes == 1 and config.effective_batch_size == 4
    named = config.reasons["processes"].source.get("values", {})
    assert named.get("count", 1) == processes
    together = plan(machine=here, **{**changes, "processes": processes})
    assert together.gradient_accumulation_steps >= processes


def test_what_is_free_on_the_fullest_card_counts(plan):
    both = dataclasses.replace(SMALL_GPU, gpus=(*SMALL_GPU.gpus, BUSY))
    config = plan(machine=both, processes=2)
    assert "of 1 GB free" in config.reasons["micro_batch_size"] or "and 1 GB is free" in config.reasons[
        "micro_batch_size"]
    assert measured.free_on(config, both) == ("cuda", GB) and measured.free_on(plan(), both) == ("cuda", 7 * GB)


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
    config = plan(**plan_inputs.overrides({"method": word}))
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
