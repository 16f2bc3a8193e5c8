"""Finds out the facts, except for what libraries say, and makes lines of them: nothing heavy is imported."""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from slmstudio.core.hardware import wsl
from slmstudio.core.hardware.doctor import (
    cards,
    checks_graphics,
    checks_libraries,
    checks_machine,
    checks_storage,
    checks_system,
    packages,
    storage,
    system,
)
from slmstudio.core.hardware.doctor.facts import Facts
from slmstudio.core.hardware.doctor.line import Line
from slmstudio.core.hardware.machine import read_machine

ROOT = Path("/")


def at_once(root: Path = ROOT, environ: Mapping[str, str] = os.environ) -> Facts:
    """What a start of the window has time for: the cards, their driver, and the build of PyTorch by its note.

    Args:
        root: a tree of files that stands for a machine.
    """
    machine = read_machine({})  # with the cards that a variable hides, which is found then
    driver, cuda = cards.nvidia_driver() if machine.gpus else (None, None)
    return Facts(
        system=machine.system, machine=machine, cards=cards.on_bus(root), driver=driver, driver_cuda=cuda,
        kernel_driver=cards.kernel_driver(root), linux_driver_in_wsl=machine.is_wsl and cards.linux_driver_in_wsl(root),
        visible_devices=environ.get("CUDA_VISIBLE_DEVICES"), torch=packages.torch_build())


def everything(home: Path | None, caches: Sequence[tuple[str, Path]] = (), root: Path = ROOT,
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
        found |= storage.look(home, root, facts.machine.is_wsl, measure=measure)
        found["newest_file"] = storage.newest(home)
        found["wsl"] = tuple(wsl.findings(home, root, environ))
    return replace(
        facts, **found, now=time.time(), python=sys.version_info[:3], bits=8 * struct.calcsize("P"),
        versions=packages.installed(), pins=packages.tested(),
        caches=tuple(storage.count(title, folder) for title, folder in caches if folder.is_dir()))


CHECKS = (*checks_graphics.CHECKS, *checks_libraries.CHECKS, *checks_machine.CHECKS, *checks_storage.CHECKS,
          *checks_system.CHECKS)


def examine(facts: Facts) -> list[Line]:
    """All checks, in the order of the page."""
    return [line for check in CHECKS for line in check(facts)]
