"""Watts of the parts that no sensor tells, each with its source, or said to be an assumption. docs/energy.md says
what is left out.
"""

from __future__ import annotations

from bisect import bisect_right

DESKTOP_CORE_W, LAPTOP_CORE_W = 12.0, 4.0
"""Design power of a core. 12 W: "Any" in Green Algorithms' list (TDP_cpu.csv; Lannelongue, Grealey & Inouye 2021,
doi:10.1002/advs.202100707). 4 W: an assumption, from the Ryzen 5 3500U of that list (15 W for 4 cores)."""
LOAD_CURVE = ((0.0, 0.12), (0.1, 0.32), (0.5, 0.75), (1.0, 1.02))
"""Share of the design power at a share of the load: mean of many servers, measured by Teads Engineering (Davy 2021,
"Estimating AWS EC2 instances power consumption")."""
_LOADS = [load for load, _ in LOAD_CURVE]
MEMORY_W_PER_GB = 0.3725
"""For each GB that is installed: Green Algorithms up to version 2.2 (referenceValues.csv). Its newer table says 0.08,
from one of the two sources of the older figure, so this is rather too much."""
SUPPLY_EFFICIENCY = 0.85
"""What 80 PLUS Bronze requires of a power supply at half load (115 V). That a machine has such a supply, or a laptop
an equally good adapter, is an assumption."""
GPU_SHARE, GPU_LOW, GPU_HIGH = 0.75, 0.45, 1.0
"""The share of its power limit that a card draws while it trains. An assumption: small models leave it waiting, others
keep it at its limit. After the first run, what runs on this machine drew is used instead."""


def processor_watts(cores: int, load: float, laptop: bool = False) -> float:
    """Watts of a processor.

    Args:
        load: of all cores together, 0 to 1.
    """
    load = min(max(load, 0.0), 1.0)
    upper = min(bisect_right(_LOADS, load), len(LOAD_CURVE) - 1)
    (left, low), (right, high) = LOAD_CURVE[upper - 1], LOAD_CURVE[upper]
    share = low + (high - low) * (load - left) / (right - left)
    return cores * (LAPTOP_CORE_W if laptop else DESKTOP_CORE_W) * share


def memory_watts(installed: float) -> float:
    """Watts that main memory of this size draws; the size in bytes."""
    return installed / 1024**3 * MEMORY_W_PER_GB


def supply_loss(drawn: float) -> float:
    """What the power supply loses while the parts behind it draw `drawn`; watts or joules."""
    return drawn * (1 / SUPPLY_EFFICIENCY - 1)
