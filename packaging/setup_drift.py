"""What has changed in the environment since it was set up: packages put there by hand, or damaged since.

The stamps say what was done, not what is there now. `setup` looks, because it is what the program advises where
something is wrong; an ordinary start doesn't.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

from setup_packages import is_whole


def steps(bootstrap: ModuleType) -> list[str]:
    """The titles of the steps that have to be done again."""
    tag = bootstrap.environment_python()
    if not tag:
        return []
    site = Path(bootstrap.site_packages(tag))
    folders = list(site.glob("*.dist-info"))
    there = {_plain(name): version for name, _, version in
             (folder.name.removesuffix(".dist-info").rpartition("-") for folder in folders)}
    again = []
    # llama.cpp is a step of its own, and may be missing; lines with a condition aren't for every machine.
    lines = [line.partition(" #")[0].strip() for line in bootstrap.read("packaging/requirements.txt").splitlines()]
    floor = next(line.partition(">=")[2] for line in lines if line.startswith("torch>="))
    if torch_is_wrong(bootstrap, site, there.get("torch", ""), floor):
        again.append("PyTorch")
    pins = [line.split("==") for line in lines if "==" in line and ";" not in line and not line.startswith("llama")]
    if any(there.get(_plain(name)) != version for name, version in pins) or not all(map(is_whole, folders)):
        again.append("Libraries")
    return again


def torch_is_wrong(bootstrap: ModuleType, site: Path, version: str, floor: str) -> bool:
    """Whether PyTorch is older than what is installed now, or is the build for processors beside an NVIDIA driver."""
    numbers, least = ([int(part) for part in re.findall(r"\d+", text)[:2]] for text in (version, floor))
    if numbers < least:
        return True
    try:
        note = (site / "torch" / "version.py").read_text(encoding="utf-8")
    except OSError:
        return False
    return bool(bootstrap.has_nvidia_driver() and re.search(r"^cuda\b.*= None$", note, re.MULTILINE))


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
