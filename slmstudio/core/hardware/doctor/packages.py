"""What is installed in the program's environment, and what its child process says about it."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from slmstudio.core.hardware.doctor.facts import Facts, Loaded, Torch
from slmstudio.core.program import ROOT

REQUIREMENTS = ROOT / "packaging" / "requirements.txt"


def installed() -> dict[str, str]:
    """Versions of all packages, by normalized name; about a tenth of a second."""
    from importlib.metadata import distributions

    from packaging.utils import canonicalize_name

    return {canonicalize_name(found.name): found.version for found in distributions() if found.name}


def pinned(text: str) -> dict[str, str]:
    """Packages with an exact version in a requirements file, for this machine, by normalized name."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    pins: dict[str, str] = {}
    for line in text.splitlines():
        try:
            wanted = Requirement(line.partition(" #")[0].partition("#")[0])
        except InvalidRequirement:
            continue
        versions = list(wanted.specifier)
        if len(versions) == 1 and versions[0].operator == "==" and (not wanted.marker or wanted.marker.evaluate()):
            pins[canonicalize_name(wanted.name)] = versions[0].version
    return pins


def tested() -> dict[str, str]:
    """The versions that the program was tested with; empty if their list isn't beside it."""
    try:
        return pinned(REQUIREMENTS.read_text(encoding="utf-8"))
    except OSError:
        return {}


def torch_build() -> Torch | None:
    """The build of PyTorch by its own note, without importing it; None if it is missing."""
    try:
        found = importlib.util.find_spec("torch")
    except ImportError:
        return None
    for place in (found.submodule_search_locations or []) if found else []:
        try:
            return read_build((Path(place) / "version.py").read_text(encoding="utf-8"))
        except OSError:
            continue
    return None


def read_build(text: str) -> Torch | None:
    said = dict(re.findall(r"^(\w+)(?:: Optional\[str\])? = '([^']+)'$", text, re.MULTILINE))
    if "__version__" not in said:
        return None
    return Torch(said["__version__"], said.get("cuda"), said.get("hip"))


def with_report(facts: Facts, report: Mapping[str, Mapping[str, Any]]) -> Facts:
    """The facts, and what a child process has found by importing libraries.

    Args:
        report: by module: "error", and "gpu" where it matters; of torch also what `Torch` holds.
    """
    loaded = {name: Loaded(str(said.get("error") or ""), said.get("gpu")) for name, said in report.items()}
    said, torch = report.get("torch") or {}, facts.torch
    if "version" in said:
        torch = Torch(str(said["version"]), said.get("cuda"), said.get("hip"), said.get("available"),
                      str(said.get("why") or ""), tuple(said.get("architectures") or ()), said.get("flash"))
    return replace(facts, loaded=loaded, torch=torch)
