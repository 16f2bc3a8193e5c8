"""What makes a run faster or smaller and doesn't start here: the run continues without it, and a warning says why.

This is the one place for it. What a run can't do without, as the card that it was told to use, is refused in
`methods.check` instead; what contradicts itself, in `core/run/config.py`.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from slmstudio.core.hardware import guidance
from slmstudio.core.hardware.guidance import FLEX, PER_ROW, VARLEN, Installed, PackedAttention
from slmstudio.core.i18n import join_sentences, noop, tr
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.kernels import gpu_attention, head_loss
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training import methods

NO_GPU = noop("There is no NVIDIA GPU here.")


@dataclass(frozen=True)
class Option:
    """
    Attributes:
        code: of the warning.
        wanted: whether a configuration asks for it.
        why_not: what is in the way of it here, in a sentence; None if it starts.
        instead: fields that take its place.
        sentence: of the warning; the reason follows it.
    """

    code: str
    wanted: Callable[[RunConfig], bool]
    why_not: Callable[[RunConfig], str | None]
    instead: dict[str, Any]
    sentence: str


def missing(config: RunConfig) -> dict[str, str]:
    """What is in the way of options here, by their codes."""
    return {option.code: reason for option in OPTIONS if option.wanted(config) and (reason := option.why_not(config))}


def settle(job: JobContext, config: RunConfig, everyone: Sequence[dict[str, str]]) -> RunConfig:
    """The configuration with what starts on every rank: or their weights would drift apart. Kernels are told, too.

    Args:
        everyone: what is `missing`, of each rank.
    """
    for option in OPTIONS:
        if reason := next((each[option.code] for each in everyone if option.code in each), None):
            config = replace(config, **option.instead)
            job.warn(option.code, join_sentences(tr(option.sentence), reason))
    head_loss.use_liger(config.use_liger_kernel)
    return config


def capability(config: RunConfig) -> guidance.Capability:
    """The compute capability of the card that the run uses; None for the processor."""
    return torch.cuda.get_device_capability() if methods.on_gpu(config) else None


def keep_rows_apart(job: JobContext, config: RunConfig) -> PackedAttention | None:
    """Choose how packed rows are kept apart, and say what had to be passed over; None if nothing is packed."""
    gpu_attention.use(PER_ROW)
    if not config.packing or config.attention != "sdpa":
        return None
    way = guidance.packed_attention(capability(config), config.precision, Installed.here())
    if way.name == PER_ROW:
        return way
    heads = methods.heads_of(Path(config.model))
    for name in (VARLEN, FLEX) if way.name == VARLEN else (FLEX,):
        reason = gpu_attention.why_not(name, methods.DTYPES[config.precision], heads)
        if reason is None:
            gpu_attention.use(name)
            return way if name == way.name else PackedAttention(name, tr("The next best one that works here."))
        job.warn(f"{name}_attention_off",
                 tr("{attention} doesn't work here, so a different attention keeps packed rows apart. The library "
                    "says: {error}.", attention=tr(WAYS[name]), error=reason))
    return PackedAttention(PER_ROW, tr("Nothing else works here, so each row is computed by itself."))


WAYS = {VARLEN: noop("PyTorch's variable-length attention"), FLEX: noop("FlexAttention")}


# -- what may be in the way ------------------------------------------------------------------------------------


def _flash(config: RunConfig) -> str | None:
    if not methods.on_gpu(config):
        return tr(NO_GPU)
    if torch.cuda.get_device_capability() < guidance.AMPERE:
        return tr("This card is older than Ampere.")
    return None if importlib.util.find_spec("flash_attn") else tr("The package flash-attn isn't installed.")


def _liger(config: RunConfig) -> str | None:
    found = capability(config)
    if found is None:
        return tr(NO_GPU)
    possible, reason = guidance.liger(found, Installed.here())
    if not possible:
        return reason
    return _does_not_load("liger_kernel.transformers")


def _offload(config: RunConfig) -> str | None:
    return None if methods.on_gpu(config) else tr(
        "There is no NVIDIA GPU here, so activations are in main memory anyway.")


def _compile(config: RunConfig) -> str | None:
    """A small layer is compiled, forward and backward: a compiler that is missing shows now. On the processor minutes
    passed before the first step of a tiny model, because its kernels are loops over rows."""
    if not methods.on_gpu(config):
        return tr("For the processor, compiling takes minutes.")
    try:
        layer = torch.nn.Linear(8, 8, device="cuda")
        torch.compile(layer)(torch.randn(2, 8, device="cuda")).sum().backward()
    except Exception as error:  # of whatever kind: each platform lacks something else
        return tr("The compiler says: {error}.", error=_first_line(error))
    return None


def _does_not_load(module: str) -> str | None:
    try:
        importlib.import_module(module)
    except Exception as error:  # a library built for another machine raises whatever it likes
        return tr("{library} can't be loaded ({error}).", library=module.partition(".")[0], error=_first_line(error))
    return None


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].rstrip('.') if lines else '…'}"


OPTIONS = (
    Option("flash_attention_off", lambda config: config.attention == "flash_attention_2", _flash,
           {"attention": "sdpa"},
           noop("FlashAttention isn't used; PyTorch's own attention replaces it.")),
    Option("liger_off", lambda config: config.use_liger_kernel, _liger, {"use_liger_kernel": False},
           noop("Liger's kernels aren't used; PyTorch's own replace them.")),
    Option("paged_optimizer_off", lambda config: config.optimizer.startswith("paged_"),
           lambda config: None if methods.on_gpu(config) else tr(NO_GPU), {"optimizer": "adamw_8bit"},
           noop("The optimizer's state isn't paged; AdamW in 8 bits is used instead.")),
    Option("eight_bit_optimizer_off", lambda config: config.optimizer.endswith("bit"),
           lambda config: _does_not_load("bitsandbytes"), {"optimizer": "adamw_torch"},
           noop("The optimizer keeps its state in 32 bits.")),
    Option("offload_off", lambda config: config.activation_offload, _offload, {"activation_offload": False},
           noop("Activations aren't moved to main memory.")),
    Option("compile_off", lambda config: config.torch_compile, _compile, {"torch_compile": False},
           noop("The model trains without being compiled.")),
)


# -- compiling -------------------------------------------------------------------------------------------------


def compile_layers(trainer: Any, job: JobContext) -> None:
    """Compile the decoder's layers, which are alike, so that one compilation serves them all (regional compilation),
    and tell what the first steps took longer. What can't be compiled after all runs as it is."""
    torch._dynamo.config.suppress_errors = True
    for layer in methods.layers(trainer.model):
        layer.compile(dynamic=True)  # in its place: names of weights stay
    trainer.add_callback(ColdStart(job))


class ColdStart(TrainerCallback):  # type: ignore[misc]
    """Tells how much longer the first step took than the third, which nothing should be compiled in any more, and warns
    where layers are compiled again later: each time costs seconds, and after some times PyTorch stops compiling."""

    STEPS = 3

    def __init__(self, job: JobContext):
        self._job, self._began, self._graphs = job, 0.0, 0
        self._seconds: list[float] = []

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self._began = time.monotonic()

    def on_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        if len(self._seconds) == self.STEPS:
            if self._graphs and compiled_graphs() > self._graphs:
                self._job.warn("compiled_again", tr("The model's layers had to be compiled again, which makes steps "
                                                    "slower. If that happens often, switch compiling off "
                                                    "(torch_compile)."))
                self._graphs = 0
            return
        self._seconds.append(time.monotonic() - self._began)
        if len(self._seconds) == self.STEPS:
            first, *_, usual = self._seconds
            self._graphs = compiled_graphs()
            self._job.emit("compiled", seconds=round(max(0.0, first - usual), 2), step_seconds=round(usual, 4),
                           graphs=self._graphs)


def compiled_graphs() -> int:
    """How many graphs PyTorch has compiled in this process."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])
