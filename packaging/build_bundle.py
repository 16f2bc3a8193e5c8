"""The offline bundle: the program's folder with every wheel for this kind of machine, and a manifest of SHA-256.

`python3 packaging/bootstrap.py` inside it sets up without a network.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import build_app
import build_llama
import setup_system
from setup_wheels import FORMAT, NOTE, this_machine

TOOLS = {names[0]: package for names, package in setup_system.COMPILER}


def build(out: Path) -> Path:
    """Make the bundle in `out` and return its folder.

    SLMSTUDIO_LLAMA_WHEELS names a folder with a wheel of llama-cpp-python that is taken instead of compiling one.
    """
    platform, python = this_machine()
    folder = out / f"slmstudio-{build_app.version()}-{platform}-python{python}"
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    build_app.copy_application(part, "bundle", "inside")
    wheels = part / "wheels"
    shutil.move(str(part.joinpath(*build_app.CARRIED)), str(wheels))
    collect(wheels)
    note = {"format": FORMAT, "platform": platform, "python": python}
    (part / NOTE).write_text(json.dumps(note, indent=1) + "\n", "utf-8")
    build_app.write_manifest(part)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return folder


def collect(wheels: Path) -> None:
    """Put every wheel that the setup asks for into `wheels`, where those are that the index has as source alone."""
    packaging = build_app.ROOT / "packaging"
    lines = (packaging / "requirements.txt").read_text("utf-8").splitlines()
    names = ("torch", "llama-cpp-python", *(name.replace("_", "-") for name in build_app.SOURCE_ONLY))
    rest = [line.split(" #")[0] for line in lines if line and not line.startswith(("#", *names))]
    listed = wheels / "requirements.txt"
    listed.write_text("\n".join(rest), "utf-8")
    _pip("download", wheels, "--no-deps", "-r", str(listed))
    listed.unlink()
    _pip("download", wheels, "--no-deps", "--require-hashes", "-r", str(packaging / "requirements-converter.txt"))
    pins = {line.split("==")[0].split(">")[0]: line.split(" ")[0] for line in lines if line and line[0] != "#"}
    # PyTorch's own needs depend on its build, so here alone something is resolved; the pins hold for what is pinned.
    _pip("download", wheels, "--constraint", str(packaging / "requirements.txt"), pins["torch"])
    _llama(wheels, pins["llama-cpp-python"])


def _llama(wheels: Path, pin: str) -> None:
    ready = os.environ.get("SLMSTUDIO_LLAMA_WHEELS")
    if ready:
        _pip("download", wheels, "--no-deps", "--no-index", "--find-links", ready, pin)
        return
    build_app.need(build_llama.TOOLS)
    build_llama.build(wheels)


def _pip(action: str, wheels: Path, *arguments: str) -> None:
    build_app.run([*build_app.pip(), action, "--disable-pip-version-check", "--only-binary=:all:",
                   "--find-links", str(wheels), "--dest", str(wheels), *arguments])
