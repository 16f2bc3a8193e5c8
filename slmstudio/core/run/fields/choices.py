"""The words that the choices of a run are kept as, each with what people read."""

from __future__ import annotations

from typing import Any

from slmstudio.core.i18n import noop
from slmstudio.core.model.named_templates import NAMED
from slmstudio.core.run.fields.kinds import Choice

PREFERENCES = ("dpo", "orpo", "kto")
"""Objectives that learn which of several answers is better."""
CUDA_OPTIMIZERS = ("paged_adamw_8bit", "paged_adamw_32bit")
"""Their pages move between GPU and main memory, so they need both."""
SHARED_OPTIMIZERS = ("adamw_torch", "adamw_torch_fused", "sgd")
"""Those whose state has the shape of the weights, so that cards can share it."""
OBJECTIVES = Choice({"sft": noop("Answers (SFT)"), "text": noop("Plain text"), "dpo": noop("Preferences (DPO)"),
                     "orpo": noop("Preferences (ORPO)"), "kto": noop("Good and bad (KTO)")})
METHODS = Choice({"lora": "LoRA", "qlora": noop("QLoRA (4-bit)"), "full": noop("Full fine-tuning"),
                   "scratch": noop("From scratch")})
CUT, LEAVE_OUT = "cut", "leave_out"
OVERLONG = Choice({CUT: noop("cut at the end"), LEAVE_OUT: noop("left out")})
PRECISIONS = Choice({"fp32": "fp32", "bf16": "bf16", "fp16": "fp16"})
OPTIMIZERS = Choice({name: name for name in (
    "adamw_torch", "adamw_torch_fused", "adamw_8bit", *CUDA_OPTIMIZERS, "adafactor", "sgd")})
TEMPLATES = Choice({"": noop("The model's own"), **{name: about.label for name, about in NAMED.items()}})
GUARDS = Choice({"pause": noop("Pause when too hot"), "hold": noop("Hold a temperature"), "off": noop("Only warn")})
VARIANTS: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora"},
    "qlora": {"method": "qlora"},
    "dora": {"method": "lora", "use_dora": True},
    "rslora": {"method": "lora", "use_rslora": True},
    "full": {"method": "full"},
    "scratch": {"method": "scratch"},
}
"""The methods that a user chooses from, and what each is in our fields."""
METHOD_WORDS: dict[str, dict[str, Any]] = {
    "dora": VARIANTS["dora"],
    "rslora": VARIANTS["rslora"],
    "qdora": {"method": "qlora", "use_dora": True},
    "pretrain": {"method": "full", "objective": "text"},
    "continued_pretraining": {"method": "full", "objective": "text"},
    **{name: {"objective": name} for name in PREFERENCES},
}
"""What people call a method, accepted by `--set method=...`."""
PARALLELISM_WORDS = {"faster": "ddp", "bigger": "fsdp"}
"""What people say for it, accepted by `--set parallelism=...`."""
