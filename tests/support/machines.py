"""Machines that aren't here, to see what is said of them and proposed for them."""

from __future__ import annotations

from slmstudio.core.hardware import nvml
from slmstudio.core.hardware.machine import Gpu, Machine

GB = 1024**3


def machine(gpu_gb: float | None = None, *, ram_gb: float = 32, name: str = "NVIDIA GeForce RTX 3060",
            capability: tuple[int, int] | None = (8, 6), cpu_bf16: bool = False) -> Machine:
    """A desktop with one card, of whose memory 0.6 GB are taken, or without one; of its main memory, a fifth is."""
    gpus = () if gpu_gb is None else (Gpu(0, name, int(gpu_gb * GB), int((gpu_gb - 0.6) * GB), capability),)
    return Machine("Linux", "A processor", 8, 16, int(ram_gb * GB), int(0.8 * ram_gb * GB), gpus, cpu_bf16, False,
                   "" if gpus else nvml.NO_DRIVER)
