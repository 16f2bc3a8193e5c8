"""How long training takes on a machine, roughly, before anything was measured there."""

from __future__ import annotations

from slmstudio.core.hardware.machine import Machine

CORE_FLOPS = {"fp32": 10e9, "bf16": 20e9}
"""Operations a second that training gets from one core. An assumption on the low side: 2 cores with AMX that other
programs used too gave 20e9 each in bf16."""
CARD_FLOPS, OLD_CARD_FLOPS = 10e12, 2e12
"""The same of a card from Ampere on, and of an older one: assumptions, since a driver doesn't tell."""
PER_WEIGHT = {"lora": 4, "qlora": 6, "full": 6, "scratch": 6}
"""Operations a token and weight: 2 forward, 2 for the gradients behind it, 2 for its own where all weights learn
(Kaplan et al. 2020, arXiv 2001.08361, section 2.1); weights in 4 bits are unpacked twice."""
USUAL_TOKENS = 300_000
"""What is learned while no data is chosen: 1,000 rows of 300 tokens, once."""
LONG = 12 * 3600.0
"""Seconds beyond which training is slow: a night isn't enough."""
SIZES = (0.1e9, 0.3e9, 0.5e9, 1e9, 1.7e9, 4e9, 8e9)
"""Parameters of the models that people choose from."""


def rough_seconds(parameters: int, tokens: float, machine: Machine, method: str = "lora", *,
                  on_gpu: bool | None = None) -> float:
    """Seconds of training on this many tokens, good to a factor of about three.

    Args:
        on_gpu: None takes the machine's card where there is one.
    """
    return PER_WEIGHT[method] * parameters * tokens / _flops(machine, bool(machine.gpus) if on_gpu is None else on_gpu)


def largest_here(machine: Machine) -> float:
    """Parameters of the largest model that a night is enough for on this machine's processor."""
    return max((size for size in SIZES if rough_seconds(int(size), USUAL_TOKENS, machine, on_gpu=False) <= LONG),
               default=SIZES[0])


def _flops(machine: Machine, on_gpu: bool) -> float:
    if on_gpu and machine.gpus:
        return CARD_FLOPS if (machine.gpus[0].compute_capability or (8, 0)) >= (8, 0) else OLD_CARD_FLOPS
    return machine.physical_cores * CORE_FLOPS["bf16" if machine.cpu_bf16 else "fp32"]
