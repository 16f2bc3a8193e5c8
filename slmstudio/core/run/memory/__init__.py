"""The memory that a run needs: estimated part by part before anything is loaded, and what would make it less."""

from slmstudio.core.run.memory.cards import CardRow, what_fits
from slmstudio.core.run.memory.formula import MemoryEstimate, estimate, four_bit_bytes
from slmstudio.core.run.memory.layers import sequences
from slmstudio.core.run.memory.levers import Lever, levers, to_fit

__all__ = ["CardRow", "Lever", "MemoryEstimate", "estimate", "four_bit_bytes", "levers", "sequences", "to_fit",
           "what_fits"]
