"""Finds out the facts, except for what libraries say, and makes lines of them: nothing heavy is imported."""

from __future__ import annotations

import importlib.util
import os
import re
import stat
import struct
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from slmstudio.core import disk_space, files, units
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.hardware import guidance, wsl
from slmstudio.core.hardware.doctor import checks_graphics, checks_libraries, checks_machine, system
from slmstudio.core.hardware.doctor.facts import Cache, Facts, Line, Loaded, Torch
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.i18n import tr
from slmstudio.core.program import ROOT

# -- What is installed in the program's environment, and what its child process says about it.

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
    loaded = {name: Loaded(str(said.get("error") or ""), said.get("gpu"),
                           tuple(tr("{name} ({kind}, {free} free)", name=card["name"], kind=card["kind"],
                                    free=units.format_bytes(card["free"])) for card in said.get("devices") or ()
                                 if card["kind"] != "cpu"),
                           tuple(said.get("problems") or ())) for name, said in report.items()}
    said, torch = report.get("torch") or {}, facts.torch
    if "version" in said:
        torch = Torch(str(said["version"]), said.get("cuda"), said.get("hip"), said.get("available"),
                      str(said.get("why") or ""), tuple(said.get("architectures") or ()), said.get("flash"))
    return replace(facts, loaded=loaded, torch=torch)


# -- Looks at the folder with runs and models, and at the caches.

MEASURED = 128 * 1024**2
"""Bytes that are written to measure the disk."""
ROOM_TO_MEASURE = 2 * 1024**3
COUNT_SECONDS = 2.0
"""For all files of one cache; a slow disk with a million files isn't waited for."""


def look(home: Path, root: Path, is_wsl: bool, *, measure: bool) -> dict[str, Any]:
    """Facts of the disk, by their names in `Facts`.

    Args:
        home: absolute; it need not exist.
        measure: write and remove `MEASURED` bytes there.
    """
    nearest = next((path for path in (home, *home.parents) if os.path.exists(path)), home)
    network = wsl.is_network(home, root)
    found: dict[str, Any] = {
        "home": home, "home_fault": fault(nearest), "file_system": wsl.file_system(home, root), "network": network,
        "windows_drive": is_wsl and wsl.on_windows_drive(home, root), "rotational": rotational(nearest, root),
        "open_to_others": home.exists() and open_to_others(home),
    }
    with suppress(OSError):
        found["free"] = disk_space.free(nearest)
    if measure and not network and found["home_fault"] is None and found.get("free", 0) > ROOM_TO_MEASURE:
        with suppress(OSError):
            found["write_speed"] = guidance.write_speed(nearest, MEASURED)
    jobs = home / "cache" / "jobs"
    if jobs.is_dir():
        found["jobs_size"] = count("", jobs).size
    return found


def fault(folder: Path) -> UserError | None:
    """Why nothing can be written to a folder; None when it can."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return from_os_error(OSError(error.errno, error.strerror), tr("Could not write there."))


def rotational(folder: Path, root: Path) -> bool | None:
    """Whether a folder's disk says that it spins; None if nobody says (network, several disks in one)."""
    try:
        device = folder.stat().st_dev
    except OSError:
        return None
    place = root / "sys/dev/block" / f"{os.major(device)}:{os.minor(device)}" if hasattr(os, "major") else root / "none"
    for queue in (place / "queue", place.resolve().parent / "queue"):  # of the disk, or of the one with the partition
        with suppress(OSError):
            return (queue / "rotational").read_text().strip() == "1"
    return None


def open_to_others(folder: Path) -> bool:
    """Whether every user of the machine can look into a folder: it and all above it let them."""
    if os.name == "nt":
        return False  # a user's own folder is closed there
    try:
        return bool(folder.stat().st_mode & stat.S_IROTH) and all(
            part.stat().st_mode & stat.S_IXOTH for part in (folder, *folder.parents))
    except OSError:
        return False


def count(title: str, folder: Path) -> Cache:
    size, end = 0, time.monotonic() + COUNT_SECONDS
    for bytes_ in files.sizes_below(folder):
        size += bytes_
        if time.monotonic() > end:
            return Cache(title, folder, size, whole=False)
    return Cache(title, folder, size)


def newest(home: Path) -> float | None:
    """When the newest of the user's own files was written, by a look at what is uppermost."""
    times = []
    for pattern in ("*", "runs/*", "chats/*"):
        for path in home.glob(pattern):
            with suppress(OSError):
                times.append(path.lstat().st_mtime)
    return max(times, default=None)


def at_once(root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> Facts:
    """What a start of the window has time for: the cards, their driver, and the build of PyTorch by its note.

    Args:
        root: a tree of files that stands for a machine.
    """
    machine = read_machine({})  # with the cards that a variable hides, which is found then
    driver, cuda = system.nvidia_driver() if machine.gpus else (None, None)
    return Facts(
        system=machine.system, machine=machine, cards=system.on_bus(root), driver=driver, driver_cuda=cuda,
        kernel_driver=system.kernel_driver(root),
        linux_driver_in_wsl=machine.is_wsl and system.linux_driver_in_wsl(root),
        visible_devices=environ.get("CUDA_VISIBLE_DEVICES"), torch=torch_build())


def everything(home: Path | None, caches: Sequence[tuple[str, Path]] = (), root: Path = Path("/"),
               environ: Mapping[str, str] = os.environ, *, measure: bool = True) -> Facts:
    """All facts but those of loaded libraries; a second or two, most of it for the disk.

    Args:
        home: the folder with runs and models; None when it can't be used.
        caches: title and folder of each cache to be counted.
        measure: also how fast the disk takes a checkpoint.
    """
    facts = at_once(root, environ)
    assert facts.machine is not None
    found = system.look(root, environ)
    if home is not None:
        found |= look(home, root, facts.machine.is_wsl, measure=measure)
        found["newest_file"] = newest(home)
        found["wsl"] = tuple(wsl.findings(home, root, environ))
    return replace(
        facts, **found, now=time.time(), python=sys.version_info[:3], bits=8 * struct.calcsize("P"),
        versions=installed(), pins=tested(),
        caches=tuple(count(title, folder) for title, folder in caches if folder.is_dir()))


CHECKS = (*checks_graphics.CHECKS, *checks_libraries.CHECKS, *checks_machine.CHECKS)


def examine(facts: Facts) -> list[Line]:
    """All checks, in the order of the page."""
    return [line for check in CHECKS for line in check(facts)]
