"""The memory that a run needs: estimated part by part before anything is loaded, and what would make it less."""

from slmstudio.core.run.memory.formula import (
    MemoryEstimate,
    adapter_parameters,
    estimate,
    four_bit_bytes,
    linear_layers,
    sequences,
)

__all__ = ["MemoryEstimate", "adapter_parameters", "estimate", "four_bit_bytes", "linear_layers", "sequences"]
