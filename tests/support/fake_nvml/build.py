"""Builds the fake NVML and drives it, so that the real pynvml runs on a machine without a card."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

SONAME = "libnvidia-ml.so.1"
SOURCE = Path(__file__).with_name("fake_nvml.c")

RTX_3060 = {
    "driver_version": "580.95.05", "count": 1, "name": "NVIDIA GeForce RTX 3060", "compute_capability": 86,
    "memory_total": 12288 * 1024**2, "memory_used": 819 * 1024**2, "temperature": 46, "slowdown": 95, "gpu_max": 93,
    "shutdown": 98, "power": 17_230, "power_limit": 170_000, "energy": 9_876_543, "utilisation": 3, "clock": 210,
    "fan": 30, "clock_reasons": 1,
}
"""An idle desktop card; it has no thermal margin, as all before the RTX 40 series. Units are NVML's: mW, mJ, MHz."""


def compiler() -> str | None:
    """The system's C compiler, where there is one."""
    return next(filter(None, map(shutil.which, filter(None, (os.environ.get("CC"), "cc", "gcc", "clang")))), None)


def build(folder: Path) -> Path:
    """Compile the fake library into `folder` and return its path. Needs `compiler()`."""
    library = folder / SONAME
    subprocess.run([str(compiler()), "-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC",
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
        self._values: dict[str, object] = dict(RTX_3060)
        self.set()
        search = [str(library.parent), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        self.env = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(search), "FAKE_NVML_STATE": str(state)}

    def set(self, card: int | None = None, **values: int | str | None) -> None:
        """Change what the driver answers from now on, for one card or for all.

        A value is a number in NVML's units, a text, the name of an NVML error ("NOT_SUPPORTED", "GPU_IS_LOST"), or
        None to forget it. Keys are those of `RTX_3060`; `margin`, `init` (fails to start), `every_query` (a lost
        card), `temperature_v` and `event_reasons` (calls that older drivers lack) too.
        """
        import pynvml

        for key, value in values.items():
            if isinstance(value, str) and hasattr(pynvml, f"NVML_ERROR_{value}"):
                value = f"error {getattr(pynvml, f'NVML_ERROR_{value}')}"
            self._values[key if card is None else f"{card}.{key}"] = value
        partial = self._state.with_suffix(".partial")
        partial.write_text("".join(f"{k}={v}\n" for k, v in self._values.items() if v is not None), encoding="utf-8")
        os.replace(partial, self._state)

    def remove_driver(self) -> None:
        """From now on there is no driver on this machine."""
        self._state.unlink()

    def users(self) -> int:
        """How many nvmlInit calls of this process were not shut down yet."""
        assert self._loaded is not None
        return int(self._loaded.fake_nvml_users())
