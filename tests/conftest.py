"""Fixtures that several suites share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def fake_nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled fake of NVIDIA's management library."""
    from fake_nvml import build

    if sys.platform != "linux":
        pytest.skip("the fake NVML is built for Linux only")
    if build.compiler() is None:
        pytest.skip("the fake NVML needs a C compiler (cc, gcc, clang or $CC)")
    return build.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def fake_nvml(fake_nvml_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An RTX 3060 that this process and its children see; `fake_nvml.set(temperature=83)` heats it up."""
    from fake_nvml.build import FakeNvml

    fake = FakeNvml(fake_nvml_library, tmp_path / "nvml.txt")
    if not fake.loaded:
        pytest.skip("the real NVML is loaded in this process already")
    monkeypatch.setenv("LD_LIBRARY_PATH", fake.env["LD_LIBRARY_PATH"])
    monkeypatch.setenv("FAKE_NVML_STATE", fake.env["FAKE_NVML_STATE"])
    return fake
