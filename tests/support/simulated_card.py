"""A card that heats up while it works and cools while it rests, in simulated time: hours of it take milliseconds.

First order: dT/dt = (ambient + rise * load - T) / seconds. Where a second, quick part is wanted (a chip on its heat
sink), `chip_rise` adds degrees that follow the load within `chip_seconds`. The sensor says whole degrees, with noise,
and `delay` seconds late, once a second.
"""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass, field

from slmstudio.core.hardware.nvml import GpuReading
from slmstudio.core.hardware.readings import MachineReading


@dataclass
class SimulatedCard:
    """
    Attributes:
        seconds: time constant; `rise`: degrees between idle and full load, `ambient` those at idle.
        time: now; `temperature`: the true one, `reading`: what the sensor says.
    """

    seconds: float
    rise: float
    ambient: float = 35.0
    delay: float = 0.0
    noise: float = 0.4
    slowdown: int | None = 95
    chip_rise: float = 0.0
    chip_seconds: float = 2.0
    seed: int = 0
    time: float = 0.0
    sink: float = field(init=False)
    chip: float = field(init=False, default=0.0)
    reading: int = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self.sink = self.ambient
        self.reading = round(self.ambient)
        self._next = 1.0
        self._past: deque[tuple[float, float]] = deque([(0.0, self.sink)])

    @property
    def temperature(self) -> float:
        return self.sink + self.chip

    def spend(self, seconds: float, load: float) -> None:
        """Let time pass: working (load 1) or resting (0)."""
        end = self.time + seconds
        while self.time < end - 1e-9:
            piece = min(end, self._next) - self.time
            self.sink = self._towards(self.sink, self.ambient + self.rise * load, piece, self.seconds)
            self.chip = self._towards(self.chip, self.chip_rise * load, piece, self.chip_seconds)
            self.time += piece
            if self.time >= self._next - 1e-9:
                self._next += 1.0
                self._sample()

    @staticmethod
    def _towards(value: float, aim: float, piece: float, seconds: float) -> float:
        return aim + (value - aim) * math.exp(-piece / seconds)

    def _sample(self) -> None:
        self._past.append((self.time, self.temperature))
        while len(self._past) > 1 and self._past[1][0] <= self.time - self.delay:
            self._past.popleft()
        self.reading = round(self._past[0][1] + self._random.gauss(0.0, self.noise))

    def read(self) -> MachineReading:
        return MachineReading((GpuReading(0, "Simulated", self.reading, self.slowdown),))
