"""Builds the fake NVML and drives it, so that the real pynvml runs on a machine without a card."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

SONAME = "libnvidia-ml.so.1"
SOURCE = Path(__file__).with_name("fake_nvml.c")

RTX_3060 = {
    "driver_version": "580.95.05", "count": 1, "name": "NVIDIA GeForce RTX 3060", "compute_capability": 86,
    "uuid": "GPU-3e5a9c41-0f2b-4d7e-8a61-5c0d2e9b7f10", "memory_total": 12288 * 1024**2,
    "memory_used": 819 * 1024**2, "temperature": 46, "slowdown": 95, "gpu_max": 93, "shutdown": 98, "power": 17_230,
    "power_limit": 170_000, "energy": 9_876_543, "utilisation": 3, "memory_utilisation": 1, "clock": 210,
    "graphics_clock": 210, "memory_clock": 405, "fan": 30, "clock_reasons": 1, "processes": "",
}
"""An idle desktop card; it has no thermal margin, as all before the RTX 40 series, and says nothing of the heat of its
memory, as all GeForce cards. Units are NVML's: mW, mJ, MHz."""

WSL2 = dict.fromkeys(("fan", "energy", "processes", "clock_reasons", "power_limit", "shutdown", "memory_clock"),
                     "NOT_SUPPORTED")
"""What a card may leave out inside WSL2, as `fake_nvml.set(**WSL2)`."""


def compiler() -> str | None:
    """The system's C compiler, where there is one."""
    return next(filter(None, map(shutil.which, filter(None, (os.environ.get("CC"), "cc", "gcc", "clang")))), None)


def build(folder: Path) -> Path:
    """Compile the fake library into `folder` and return its path. Needs `compiler()`."""
    library = folder / SONAME
    subprocess.run([str(compiler()), "-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-pthread",
                    f"-Wl,-soname,{SONAME}", "-o", str(library), str(SOURCE)], check=True)
    return library


def load(library: Path) -> ctypes.CDLL | None:
    """Make pynvml find the fake in this process; None when the real library is loaded already.

    pynvml asks the loader for "libnvidia-ml.so.1", and the loader answers with a library of that soname that is in
    memory, from wherever it came.
    """
    ctypes.CDLL(str(library))
    found = ctypes.CDLL(SONAME)
    return found if hasattr(found, "fake_nvml_users") else None


class FakeNvml:
    """The cards that this process and its children see, until the test ends.

    Attributes:
        env: environment for child processes that are to see them; the test's own environment has it too.
    """

    def __init__(self, library: Path, state: Path):
        self._loaded = load(library)
        self.loaded = self._loaded is not None
        self._state = state
        state.parent.mkdir(exist_ok=True)
        self._values: dict[str, object] = dict(RTX_3060)
        self._scripts = 0
        self.set()
        # Children may be kept from other files than the system's, the program's, and those of the libraries it names.
        search = [str(library.parent), str(state.parent), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        self.env = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(search), "FAKE_NVML_STATE": str(state)}

    def set(self, card: int | None = None, **values: int | str | None) -> None:
        """Change what the driver answers from now on, for one card or for all.

        A value is a number in NVML's units, a text, the name of an NVML error ("NOT_SUPPORTED", "GPU_IS_LOST"), or
        None to forget it. Keys are those of `RTX_3060`; `margin`, `memory_temperature`, `memory_max`,
        `least_power_limit`, `init` (fails to start) and `every_query` (a lost card) too. The name of a symbol makes
        that call fail: `set(nvmlDeviceGetTemperatureV="FUNCTION_NOT_FOUND")` is an older driver.
        """
        for key, value in values.items():
            self._values[key if card is None else f"{card}.{key}"] = _written(value)
        partial = self._state.with_suffix(".partial")
        partial.write_text("".join(f"{k}={v}\n" for k, v in self._values.items() if v is not None), encoding="utf-8")
        os.replace(partial, self._state)

    def play(self, moments: Iterable[Mapping[str, int | str]], seconds: float = 0.0) -> None:
        """Let the card change over time, from now on; what a moment says goes before what `set` says.

        `play([{"temperature": t} for t in range(60, 90)])` gets hotter by a degree with each reading. A key keeps its
        value until a later moment changes it, and the last moment stays. `"1.temperature"` is said of the second card
        alone; errors are named as in `set`: `{"every_query": "GPU_IS_LOST"}`. A new call replaces the former.

        Args:
            seconds: how long a moment lasts, by the clock and so at once for all processes. 0: one reading (one
                `GpuMonitor.read`) of a card. Each process counts its own: a worker looks at the machine once before
                its sensors begin, so that moment 0 goes to this look, and 1 is the first `sensors` event's.
        """
        now: dict[str, object] = {}
        lines = []
        for moment in moments:
            now |= {key: _written(value) for key, value in moment.items()}
            lines.append("\t".join(f"{key}={value}" for key, value in now.items()))
        self._scripts += 1
        script = self._state.with_suffix(f".script{self._scripts}")
        script.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.set(script=str(script), script_ms=round(1000 * seconds), script_begin=round(1000 * time.time()))

    def called(self, symbol: str) -> bool:
        """Whether this process has ever called this symbol."""
        assert self._loaded is not None
        return bool(self._loaded.fake_nvml_called(symbol.encode()))

    def remove_driver(self) -> None:
        """From now on there is no driver on this machine."""
        self._state.unlink()

    def users(self) -> int:
        """How many nvmlInit calls of this process weren't shut down yet."""
        assert self._loaded is not None
        return int(self._loaded.fake_nvml_users())


def _written(value: object) -> object:
    """As the state's file has it: errors by their numbers."""
    import pynvml

    number = getattr(pynvml, f"NVML_ERROR_{value}", None) if isinstance(value, str) else None
    return value if number is None else f"error {number}"
