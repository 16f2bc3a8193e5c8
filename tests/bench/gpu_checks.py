"""The ten checks of gpu.py: what decides whether training on a card is right at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpu_runs import ROOT, Failed, Here, model_of, train

TOLERANCE = 2e-2
"""Relative: two kernels of attention in bf16 against fp32, row by row."""
LOSSES = 2e-2
"""Nats: a loss on the card against the processor's, both in fp32 on the first steps."""


def locked_tensor(here: Here) -> dict[str, Any]:
    """The doctor's findings, and a tensor computed by a process that locked itself as a training worker does."""
    code = ("import sys; from slmstudio.core.lock import worker_lock; state = worker_lock.install('libraries', {});"
            "import torch; x = torch.ones(512, 512, device=sys.argv[1]);"
            "print(state.enforced, float((x @ x).sum()), file=sys.stdout)")
    done = subprocess.run([sys.executable, "-P", "-c", code, here.device], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    if done.returncode:
        raise Failed(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"status {done.returncode}")
    enforced, total = done.stdout.split()
    refused = [text for text in done.stderr.splitlines() if "refused" in text and "tried at the start" not in text]
    if float(total) != 512.0**3 or refused:
        raise Failed(refused[0] if refused else f"the product is {total}")
    doctor = subprocess.run([sys.executable, "-P", "-m", "slmstudio", "doctor", "--json"], capture_output=True,
                            text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    found = json.loads(doctor.stdout.splitlines()[-1])
    bad = [each["code"] for each in found["lines"] if each["state"] not in ("fine", "warning")]
    return {"locked": enforced, "refused": 0, "doctor": " ".join([found["state"], *bad])}


def attention(here: Here) -> dict[str, Any]:
    """Packed rows in one call against each row by itself, by size of head and window: values, and on a card gradients
    (FlexAttention has none on the processor)."""
    from slmstudio.core.hardware.guidance import FLEX, VARLEN
    from slmstudio.worker.kernels import gpu_attention

    worst, none = {}, []
    for way in (VARLEN, FLEX) if here.on_card else (FLEX,):
        for size in (64, 96, 128, 256):
            for window in (10**6, 24):
                try:
                    error = _attention_error(gpu_attention, way, size, window, here.device)
                except Exception as failure:  # of whatever kind: a kernel that the card can't take
                    none.append(f"{way} {size} {window}: {type(failure).__name__}")
                    continue
                worst[way] = max(worst.get(way, 0.0), error)
    wrong = [f"{way} is off by {error:.3f}" for way, error in worst.items() if error > TOLERANCE]
    if wrong or not worst:
        raise Failed("; ".join(wrong + none))
    return {**{way: f"{error:.1e}" for way, error in worst.items()}, "can't": "; ".join(none) or "nothing"}


def _attention_error(gpu_attention: Any, way: str, size: int, window: int, device: str) -> float:
    """The largest relative difference of values and gradients."""
    import torch

    rows, dtype = [70, 33, 9], torch.bfloat16 if device == "cuda" else torch.float32
    torch.manual_seed(0)
    inputs = [torch.randn(1, heads, sum(rows), size, device=device) for heads in (4, 2, 2)]
    ours = [x.to(dtype).requires_grad_(device == "cuda") for x in inputs]
    exact = [x.to(dtype).detach().float().requires_grad_(device == "cuda") for x in inputs]
    out = gpu_attention.attend(*ours, rows, size**-0.5, window, way)
    parts = []
    for q, k, v in zip(*(x.split(rows, dim=2) for x in exact), strict=True):
        distance = torch.arange(q.shape[2], device=device)[:, None] - torch.arange(q.shape[2], device=device)[None]
        parts.append(torch.nn.functional.scaled_dot_product_attention(
            q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1), scale=size**-0.5,
            attn_mask=(distance >= 0) & (distance < window)))
    wanted = torch.cat(parts, dim=2).transpose(1, 2)
    pairs = [(out, wanted)]
    if out.requires_grad:
        gradient = torch.randn_like(wanted)
        out.backward(gradient.to(out.dtype))
        wanted.backward(gradient)
        pairs += zip((x.grad for x in ours), (x.grad for x in exact), strict=True)
    return max(((a.float() - b).norm() / b.norm()).item() for a, b in pairs)


def packed_losses(here: Here) -> dict[str, Any]:
    """LoRA on packed rows: eight losses on the card against those of the processor."""
    steps = 8 if here.on_card else 2
    options = {"packing": True, "method": "lora", "precision": "fp32", "lora_rank": 8}
    found = train(here, model_of(here), steps, **options)
    if not here.on_card:
        return {"losses": " ".join(f"{loss:.3f}" for loss in found.losses)}
    wanted = train(replace(here, device="cpu"), model_of(here), steps, length=512, **options)
    error = max(abs(a - b) for a, b in zip(found.losses, wanted.losses, strict=True))
    if error > LOSSES:
        raise Failed(f"losses differ by {error:.3f}: {found.losses} and {wanted.losses}")
    return {"largest difference": f"{error:.1e}", "attention": found.of_type("plan")[0].get("attention")}


def qlora(here: Here) -> dict[str, Any]:
    """QLoRA on packed rows: the adapter in fp32, the peak within the estimate."""
    import safetensors.torch

    from slmstudio.core.model import facts
    from slmstudio.core.run.config import RunConfig
    from slmstudio.core.run.memory.formula import estimate

    model = model_of(here)
    found = train(here, model, 8 if here.on_card else 2, method="qlora", packing=True, lora_rank=8)
    weights = safetensors.torch.load_file(found.folder / "adapter" / "adapter_model.safetensors")
    kinds = {str(weight.dtype) for weight in weights.values()}
    if kinds != {"torch.float32"}:
        raise Failed(f"the adapter is saved as {kinds}")
    if not here.on_card:
        return {"adapter": "fp32"}
    config = RunConfig.from_dict(json.loads((found.folder / "run.json").read_text("utf-8")))
    about, peak = estimate(facts.read_model(model), config, "cuda"), found.peak_bytes
    if peak is None or peak > about.high:
        raise Failed(f"peak {peak}, estimated {about.low} to {about.high}")
    return {"adapter": "fp32", "peak GB": round(peak / 2**30, 2), "estimated GB": round(about.high / 2**30, 2)}


def half_precision(here: Here) -> dict[str, Any]:
    """fp16: the loss scale stays above 1, losses are numbers and fall."""
    here.need_card()
    found = train(here, model_of(here), 20, precision="fp16", method="lora", lora_rank=8)
    losses = found.losses
    if any(loss is None for loss in losses) or losses[-1] >= losses[0]:
        raise Failed(f"losses: {losses}")
    scales = [event["loss_scale"] for event in found.of_type("step") if event.get("loss_scale")]
    if scales and min(scales) <= 1:
        raise Failed(f"the loss scale fell to {min(scales)}")
    return {"loss": f"{losses[0]:.2f} to {losses[-1]:.2f}", "smallest scale": min(scales, default="not told")}


def grouped_queries(here: Here) -> dict[str, Any]:
    """The memory of attention where queries share keys: it must grow with the rows, not with their square."""
    import torch

    here.need_card()
    from slmstudio.worker.kernels import packed

    dtype = torch.float16 if torch.cuda.get_device_capability() < (8, 0) else torch.bfloat16
    peaks = {}
    for tokens in (1024, 4096):
        torch.cuda.reset_peak_memory_stats()
        q, k, v = (torch.randn(1, heads, tokens, 128, dtype=dtype, device="cuda", requires_grad=True)
                   for heads in (16, 2, 2))
        module = torch.nn.Module()
        module.is_causal = True  # type: ignore[assignment]
        packed._attention(module, q, k, v, None, row_lengths=packed.RowLengths([tokens]))[0].sum().backward()
        peaks[tokens] = torch.cuda.max_memory_allocated()
        del q, k, v
    if peaks[4096] > 8 * peaks[1024]:
        raise Failed(f"four times the tokens take {peaks[4096] / peaks[1024]:.1f} times the memory")
    return {"1024 tokens MB": peaks[1024] >> 20, "4096 tokens MB": peaks[4096] >> 20}


def one_of_two_cards(here: Here) -> dict[str, Any]:
    """One process where there are two cards: it uses one of them, and a step has as many tokens as with one."""
    here.need_card(2)
    found = train(here, model_of(here), 4, method="lora")
    tokens = {event["tokens"] for event in found.of_type("step")}
    if max(tokens) > 2 * 512:
        raise Failed(f"a step has {max(tokens)} tokens instead of {2 * 512}")
    return {"tokens a step": max(tokens), "device": found.of_type("plan")[0]["device"]}


def two_processes(here: Here) -> dict[str, Any]:
    """Two processes that train together: NCCL on two cards, gloo on the processor."""
    if here.on_card:
        here.need_card(2)
    os.environ["NCCL_DEBUG"] = "WARN"
    found = train(here, model_of(here), 4 if here.on_card else 2, method="lora", processes=2,
                  gradient_accumulation_steps=2)
    log = "\n".join(path.read_text("utf-8", "replace") for path in found.folder.glob("*.log"))
    warned = [text for text in log.splitlines() if "NCCL WARN" in text]
    return {"steps": len(found.losses), "NCCL's warnings": warned[0][:120] if warned else "none"}


def out_of_memory(here: Here) -> dict[str, Any]:
    """A micro-batch that is far too large: memory is given back, and the run continues with less by itself."""
    here.need_card()
    import torch

    free = torch.cuda.mem_get_info()[0]
    found = train(here, model_of(here, "qwen2.5-1.5b"), 2, length=4096, micro_batch_size=256, method="lora",
                  gradient_checkpointing=False)
    adjusted = found.of_type("adjusted")
    if not adjusted or len(found.losses) != 2:
        raise Failed(f"{len(adjusted)} changes, {len(found.losses)} steps")
    left = torch.cuda.mem_get_info()[0]
    if left < free - 2**28:
        raise Failed(f"{(free - left) >> 20} MB weren't given back")
    return {"changes": len(adjusted), "micro-batch at the end": adjusted[-1]["changes"].get("micro_batch_size")}


def profile(here: Here) -> dict[str, Any]:
    """Two steps under PyTorch's profiler: synchronisations a step, and the share of the head with its loss; then the
    peak with activations in main memory and without."""
    here.need_card()
    figures = _profiled(model_of(here, "qwen2.5-1.5b"), here.place)
    peaks = {offload: train(here, model_of(here, "qwen2.5-1.5b"), 3, length=1024, method="lora",
                            activation_offload=offload).peak_bytes for offload in (False, True)}
    return {**figures, **{f"peak GB, {'with' if offload else 'without'} offload": round((peak or 0) / 2**30, 2)
                          for offload, peak in peaks.items()}}


def _profiled(model: Path, place: Path) -> dict[str, Any]:
    """Two optimizer updates after the first, in this process."""
    from profiled_steps import profiled
    from support import memory_cases

    from slmstudio.core.run.config import RunConfig

    config = replace(RunConfig(name="profile", model=str(model), train_file="t"), device="cuda", eval_fraction=0.0,
                     max_length=1024, max_steps=4, save_steps=10**6, sample_max_tokens=0, micro_batch_size=2,
                     gradient_accumulation_steps=2, precision="bf16", method="lora")
    rows = memory_cases.write_rows(place / "profiled.jsonl", 4 * config.effective_batch_size, 1024)
    events = profiled(replace(config, train_file=str(rows)), place / "profiled").key_averages()
    waits = sum(event.count for event in events if event.key in ("cudaStreamSynchronize", "cudaDeviceSynchronize"))
    total = sum(event.self_device_time_total for event in events)
    head = sum(event.device_time_total for event in events if event.key.startswith("_HeadLoss"))
    return {"synchronisations a micro-batch": round(waits / 4, 1), "head and loss": f"{head / max(total, 1):.0%}"}
