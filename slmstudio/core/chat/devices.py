"""What a GGUF model can be computed on: the processor, or a graphics card that llama.cpp has a backend for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Choice = Literal["auto", "cpu", "vulkan", "cuda"]
CHOICES = get_args(Choice)


@dataclass(frozen=True)
class Device:
    """One device, as llama.cpp lists it.

    Attributes:
        kind: "cpu", "vulkan", "cuda" or "metal".
        name: what the driver calls it.
        free, total: memory in bytes; 0 where the driver doesn't say.
        index: llama.cpp's number of it.
        integrated: it shares the machine's memory.
    """

    kind: str
    name: str
    free: int = 0
    total: int = 0
    index: int = 0
    integrated: bool = False
