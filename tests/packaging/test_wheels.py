"""Nobody's setup has to build a package: every pin has wheels for each system and Python, or travels as one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import build_app
import pytest
from uv import find_uv_bin

PLATFORMS = ("x86_64-pc-windows-msvc", "x86_64-manylinux_2_34")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


@pytest.fixture(scope="module")
def carried(tmp_path_factory) -> Path:
    """The wheels that the installers carry."""
    folder = tmp_path_factory.mktemp("carried") / "wheels"
    build_app.wheels_of_source(folder)
    return folder


def test_the_carried_wheels_run_everywhere(carried):
    names = sorted(path.name for path in carried.iterdir())
    assert [name.split("-")[0] for name in names] == sorted(build_app.SOURCE_ONLY)
    assert all(name.endswith("-none-any.whl") for name in names)


@pytest.mark.full
@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_every_pin_resolves_to_wheels(carried, tmp_path, platform, python):
    packaging = build_app.ROOT / "packaging"
    lines = (packaging / "requirements.txt").read_text("utf-8").splitlines()
    listed = tmp_path / "requirements.txt"
    # llama.cpp has no wheels in the index: test_setup_llama.py has its plan.
    listed.write_text("\n".join(line for line in lines if not line.startswith("llama-cpp-python")), "utf-8")
    for file in (listed, packaging / "requirements-converter.txt"):
        done = subprocess.run(
            [find_uv_bin(), "pip", "install", "--dry-run", "--no-deps", "--only-binary", ":all:", "--no-config",
             "--python-platform", platform, "--python-version", python, "--find-links", str(carried), "--target",
             str(tmp_path / "target"), "-r", str(file)], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "Would install" in done.stderr, done.stderr
