"""What a run asks of transformers, TRL, PEFT and torch on a card, as far as it can be seen without one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from support import small_runs
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from slmstudio.core.run.config import RunConfig
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training import loading, methods, out_of_memory, train


@pytest.fixture
def make_job(tmp_path, tiny_model, rows_file, studio_home):
    return small_runs.maker(tmp_path, tiny_model, rows_file, max_steps=2, max_length=64)


def loaded(job: JobContext) -> loading.Loaded:
    return loading.load(job, RunConfig.from_dict(job.request))


@pytest.mark.parametrize("objective", ["sft", "dpo"])
def test_one_process_uses_one_of_two_cards(make_job, tmp_path, monkeypatch, objective):
    """transformers counts all cards that torch sees, multiplies batches by them and wraps models in DataParallel; TRL
    refuses to begin then."""
    rows = small_runs.rows_of(objective, [(f"How many? {n}", "Few.", "Many.") for n in range(8)])
    job = make_job(objective=objective, train_file=str(small_runs.write(tmp_path / "learned.jsonl", rows)))
    honest = loading.shared_arguments
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    # As transformers decides on a card, on the processor all the same: torch.cuda.is_available() stays False.
    monkeypatch.setattr(loading, "shared_arguments", lambda *given: {**honest(*given), "use_cpu": False})
    trainer = loaded(job).trainer
    assert (trainer.args.n_gpu, trainer.args.train_batch_size, trainer.args.eval_batch_size) == (1, 2, 2)


def test_adapters_are_computed_in_the_runs_precision_on_a_card(make_job, monkeypatch):
    """Without autocast PEFT casts the input of each target to fp32, keeps it, and multiplies in fp32."""
    def formats(gpu: bool, **fields) -> tuple[bool, bool]:
        monkeypatch.setattr(methods, "on_gpu", lambda config: gpu)
        job = make_job(**fields)
        asked = loading.shared_arguments(job, RunConfig.from_dict(job.request))
        return asked["bf16"], asked["fp16"]

    for method in ("lora", "qlora", "full"):
        assert formats(True, method=method, precision="bf16") == (True, False)
        assert formats(True, method=method, precision="fp16") == (False, True)
        assert formats(True, method=method, precision="fp32") == (False, False)
        assert formats(False, method=method, precision="bf16") == (method == "full", False)


@pytest.mark.parametrize("fields", [{"method": "qlora"}, {"use_dora": True}], ids=str)
def test_autocast_gives_an_adapter_the_same_gradients_in_fp32(make_job, fields):
    """As on a card, where PEFT asks for the autocast of CUDA; on the processor, it is that of the processor."""
    trainer = loaded(make_job(precision="bf16", **fields)).trainer
    model, batch = trainer.model, trainer.data_collator([trainer.train_dataset[row] for row in range(2)])

    def gradients(autocast: bool) -> dict[str, torch.Tensor]:
        model.zero_grad()
        torch.set_autocast_enabled("cuda", autocast)
        try:
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                loss = trainer.compute_loss(model, dict(batch))
        finally:
            torch.set_autocast_enabled("cuda", False)
        loss.backward()
        return {name: each.grad.flatten() for name, each in model.named_parameters() if "lora_B" in name}

    plain, cast = gradients(False), gradients(True)
    for name, gradient in cast.items():
        assert gradient.dtype == torch.float32 and gradient.abs().sum() > 0
        assert torch.nn.functional.cosine_similarity(gradient, plain[name], dim=0) > 0.99, name


@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
def test_weights_stay_where_they_are_when_activations_go_to_main_memory(make_job, monkeypatch, method):
    moved: set[int] = set()

    class Copies(torch.autograd.graph.save_on_cpu):
        def __init__(self, pin_memory: bool = False):
            super().__init__(pin_memory)
            copy = self.pack_hook
            self.pack_hook = lambda tensor: moved.add(tensor.untyped_storage().data_ptr()) or copy(tensor)

    monkeypatch.setattr(torch.autograd.graph, "save_on_cpu", Copies)
    trainer = loaded(make_job(method=method, precision="fp32", activation_offload=True)).trainer
    batch = trainer.data_collator([trainer.train_dataset[0]])
    with trainer._offloading():
        trainer.compute_loss(trainer.model, batch).backward()
    assert len(moved) > 10, "activations are moved"
    assert not moved & {weight.untyped_storage().data_ptr() for weight in trainer.model.parameters()}


def packed_folder(base: Path, place: Path) -> Path:
    """The model as bitsandbytes' users share it: in 4 bits, computing in bf16."""
    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    shutil.copytree(base, place, ignore=shutil.ignore_patterns("*.safetensors"))
    model = AutoModelForCausalLM.from_pretrained(base, quantization_config=settings, dtype=torch.bfloat16)
    model.save_pretrained(place)
    return place


def test_a_base_that_comes_in_4_bits_computes_in_the_runs_precision_and_learns_in_fp32(make_job, tiny_model, tmp_path):
    """A plan gives it the method lora. Cards before Ampere have no bf16, and TRL casts its adapter to bf16."""
    base = packed_folder(tiny_model, tmp_path / "packed")
    model = loaded(make_job(model=str(base), method="lora", precision="fp32")).trainer.model
    layers = [module for module in model.modules() if isinstance(module, Linear4bit)]
    assert layers and {layer.compute_dtype for layer in layers} == {torch.float32}
    assert {each.dtype for each in model.parameters() if each.requires_grad} == {torch.float32}


@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
def test_weights_go_straight_to_the_card(make_job, monkeypatch, method):
    """transformers puts each tensor there as it reads it; without a device, main memory holds the whole model."""
    asked = []

    def load(folder, **options):
        asked.append(options["device_map"])
        raise InterruptedError

    monkeypatch.setattr(methods, "on_gpu", lambda config: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(methods.base_weights, "load", load)
    job = make_job(method=method)
    with pytest.raises(InterruptedError):
        methods.load_base(RunConfig.from_dict(job.request), "sdpa")
    assert asked == [{"": 1}]


@pytest.mark.parametrize(("spills", "limits"), [(True, [0.72]), (False, [])])
def test_where_the_driver_would_move_memory_pytorch_refuses_it(make_job, monkeypatch, spills, limits):
    set_to = []
    monkeypatch.setattr(methods, "on_gpu", lambda config: True)
    monkeypatch.setattr(out_of_memory, "can_spill", lambda: spills)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (6 * 2**30, 8 * 2**30))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share: set_to.append(round(share, 4)))
    train.ready(RunConfig.from_dict(make_job().request))
    assert set_to == limits
