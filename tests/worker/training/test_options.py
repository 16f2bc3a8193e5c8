"""An option that doesn't start here is left out, with a warning that gives the reason; the run learns all the same."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import torch
import transformers.integrations.liger
from support import small_runs

from slmstudio.core import jobs
from slmstudio.core.hardware.guidance import FLEX, PER_ROW, VARLEN, PackedAttention
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.kernels import gpu_attention, head_loss
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training import methods, options, train

without_a_card = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@pytest.fixture
def make_job(tmp_path, tiny_model, rows_file, studio_home):
    return small_runs.maker(tmp_path, tiny_model, rows_file, max_steps=3, max_length=64, device="auto")


@pytest.fixture(autouse=True)
def as_before():
    yield
    gpu_attention.use(PER_ROW)
    head_loss.use_liger(False)


def warned(job: JobContext) -> dict[str, str]:
    return {event["code"]: event["message"] for event in jobs.Job(job.folder).events() if event["type"] == "warning"}


def settled(job: JobContext) -> RunConfig:
    config = RunConfig.from_dict(job.request)
    return options.settle(job, config, [options.missing(config)])


@without_a_card
def test_a_run_without_a_card_learns_without_what_needs_one(make_job):
    job = make_job(attention="flash_attention_2", use_liger_kernel=True, optimizer="paged_adamw_8bit", packing=True,
                   activation_offload=True)
    result = train.run(job)
    assert result["steps"] == 3
    because = "There is no NVIDIA GPU here."
    assert warned(job) == {
        "flash_attention_off": f"FlashAttention isn't used; PyTorch's own attention replaces it. {because}",
        "liger_off": f"Liger's kernels aren't used; PyTorch's own replace them. {because}",
        "paged_optimizer_off": f"The optimizer's state isn't paged; AdamW in 8 bits is used instead. {because}",
        "offload_off": "Activations aren't moved to main memory. There is no NVIDIA GPU here, so activations are in "
                       "main memory anyway.",
    }
    [plan] = [event for event in jobs.Job(job.folder).events() if event["type"] == "plan"]
    assert (plan["attention"], plan["attention_reason"]) == (
        PER_ROW, "On the processor, each row is processed by itself.")


@pytest.mark.parametrize("wanted", [True, False])
def test_ligers_kernels_are_put_in_without_trls_deprecated_switch(make_job, monkeypatch, wanted):
    put = []
    monkeypatch.setattr(transformers.integrations.liger, "apply_liger_kernel", lambda *given: put.append(given))
    job = make_job(use_liger_kernel=wanted)
    trainer = train.load(job, RunConfig.from_dict(job.request)).trainer
    assert put == ([(trainer.model, {"fused_linear_cross_entropy": False})] if wanted else [])
    assert not trainer.args.use_liger_kernel


@pytest.mark.parametrize(("fields", "card", "code", "said"), [
    ({"attention": "flash_attention_2"}, (7, 5), "flash_attention_off", "This card is older than Ampere."),
    ({"attention": "flash_attention_2"}, (8, 6), "flash_attention_off",
     "The package flash-attn isn't installed."),
    ({"use_liger_kernel": True}, (6, 1), "liger_off", "This card is older than Volta"),
])
def test_what_a_card_or_an_installation_lacks(make_job, monkeypatch, fields, card, code, said):
    """The card is simulated: only its capability is asked for."""
    monkeypatch.setattr(methods, "on_gpu", lambda config: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *device: card)
    monkeypatch.setattr(options.Installed, "here", lambda: options.Installed((2, 13), True, True))
    job = make_job(**fields)
    settled(job)
    assert said in warned(job)[code]


@pytest.mark.parametrize(("fields", "module", "code", "left"), [
    ({"optimizer": "adamw_8bit"}, "bitsandbytes", "eight_bit_optimizer_off", {"optimizer": "adamw_torch"}),
    ({"use_liger_kernel": True}, "liger_kernel.transformers", "liger_off", {"use_liger_kernel": False}),
])
def test_a_library_that_cannot_be_loaded(make_job, monkeypatch, fields, module, code, left):
    honest = importlib.import_module

    def load(name, *arguments):
        if name == module:
            raise OSError("libcudart.so.13: cannot open shared object file.\nmore")
        return honest(name, *arguments)

    if "liger" in module:
        monkeypatch.setattr(options, "capability", lambda config: (8, 6))
        monkeypatch.setattr(options.Installed, "here", lambda: options.Installed((2, 13), True, True))
    monkeypatch.setattr(importlib, "import_module", load)
    job = make_job(**fields)
    found = settled(job)
    assert {name: getattr(found, name) for name in left} == left
    assert (f"{module.partition('.')[0]} can't be loaded (OSError: libcudart.so.13: cannot open shared object file)"
            in warned(job)[code])


def test_what_another_rank_lacks_no_rank_uses(make_job, monkeypatch):
    """Their weights would drift apart."""
    monkeypatch.setattr(importlib, "import_module", lambda name: None)
    job = make_job(optimizer="adamw_8bit")
    assert settled(job).optimizer == "adamw_8bit" and not warned(job)
    lacking = [{}, {"eight_bit_optimizer_off": "bitsandbytes can't be loaded."}]
    assert options.settle(job, RunConfig.from_dict(job.request), lacking).optimizer == "adamw_torch"
    assert warned(job) == {"eight_bit_optimizer_off":
                           "The optimizer keeps its state in 32 bits. bitsandbytes can't be loaded."}


@without_a_card
@pytest.mark.parametrize(("card", "said"), [
    (False, "For the processor, compiling takes minutes."),
    (True, "The compiler says: AssertionError: Torch not compiled with CUDA enabled.")])
def test_a_compiler_that_does_not_start(make_job, monkeypatch, card, said):
    monkeypatch.setattr(methods, "on_gpu", lambda config: card)
    job = make_job(torch_compile=True)
    assert not settled(job).torch_compile
    assert warned(job) == {"compile_off": f"The model trains without being compiled. {said}"}


def test_the_cold_start_is_told_once(make_job, monkeypatch):
    job, now = make_job(), [0.0]
    monkeypatch.setattr(options.time, "monotonic", lambda: now[0])
    watch = options.ColdStart(job)
    for seconds in (61.5, 2.0, 1.5, 9.0):
        watch.on_step_begin()
        now[0] += seconds
        watch.on_optimizer_step()
    [told] = [event for event in jobs.Job(job.folder).events() if event["type"] == "compiled"]
    assert (told["seconds"], told["step_seconds"]) == (60.0, 1.5)


@pytest.mark.parametrize(("broken", "name", "codes"), [
    ([], VARLEN, []), ([VARLEN], FLEX, ["varlen_attention_off"]),
    ([VARLEN, FLEX], PER_ROW, ["varlen_attention_off", "flex_attention_off"])])
def test_an_attention_that_does_not_start_gives_way_to_the_next(make_job, monkeypatch, broken, name, codes):
    monkeypatch.setattr(options.guidance, "packed_attention",
                        lambda *about: PackedAttention(VARLEN, "This card has it."))
    error = "RuntimeError: no kernel image is available"
    monkeypatch.setattr(gpu_attention, "why_not", lambda way, dtype, heads: error if way in broken else None)
    job = make_job(packing=True)
    way = options.keep_rows_apart(job, RunConfig.from_dict(job.request))
    assert way is not None and way.name == name == gpu_attention._way and list(warned(job)) == codes
    for sentence in warned(job).values():
        assert sentence.endswith("doesn't work here, so a different attention keeps packed rows apart. The "
                                 "library says: RuntimeError: no kernel image is available.")


def test_an_attention_is_tried_with_the_heads_and_the_window_of_the_model(make_job, monkeypatch):
    asked = []
    monkeypatch.setattr(options.guidance, "packed_attention",
                        lambda *about: PackedAttention(FLEX, "This card has it."))
    monkeypatch.setattr(gpu_attention, "why_not", lambda way, dtype, heads: asked.append(heads))
    job = make_job(packing=True)
    config = RunConfig.from_dict(job.request)
    about = json.loads((Path(config.model) / "config.json").read_text("utf-8"))
    options.keep_rows_apart(job, config)
    gpu_attention.use(PER_ROW)
    size = about.get("head_dim") or about["hidden_size"] // about["num_attention_heads"]
    assert asked == [gpu_attention.Heads(size, about["num_attention_heads"], about["num_key_value_heads"], None)]


@pytest.mark.parametrize("fields", [{"packing": False}, {"packing": True, "attention": "flash_attention_2"}])
def test_only_packed_rows_of_pytorchs_attention_need_a_way(make_job, fields):
    job = make_job(**fields)
    assert options.keep_rows_apart(job, RunConfig.from_dict(job.request)) is None and not warned(job)


def test_activations_in_main_memory_change_no_loss(make_job, monkeypatch):
    """On the processor they are copied there and back, which a run wouldn't do."""
    plain, moved = make_job(device="cpu"), make_job(activation_offload=True)
    train.run(plain)
    monkeypatch.setattr(options, "OPTIONS", ())
    used, honest = [], torch.autograd.graph.save_on_cpu
    monkeypatch.setattr(torch.autograd.graph, "save_on_cpu",
                        lambda **named: used.append(named) or honest(**named))
    train.run(moved)
    losses = [[event["train_loss"] for event in jobs.Job(job.folder).events() if event["type"] == "step"]
              for job in (plain, moved)]
    assert losses[0] == losses[1] and used
