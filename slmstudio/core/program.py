"""The program's own commands, as they are typed with this installation."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from slmstudio.core import environment, files, quoting

ROOT = Path(__file__).resolve().parent.parent.parent


def command(*words: object) -> str:
    """A command to type: `command("train", path)`. Words are quoted as the system's shell needs it."""
    return quoting.command([*_program(), *map(str, words)])


def setup_command() -> str:
    """What sets up what is missing; packaging/bootstrap.py's `how_to_set_up` says the same, from inside a checkout."""
    if _how() or not environment.BOOTSTRAP.is_file():
        return command("setup")
    return quoting.command(environment.command())


def _program() -> list[str]:
    if _how() == "deb":
        return ["slmstudio"]  # a package for the system brings the command itself
    script = Path(sys.prefix) / ("Scripts" if os.name == "nt" else "bin") / "slmstudio"
    if script.with_suffix(".exe" if os.name == "nt" else "").is_file():
        return [str(script)]
    return [sys.executable, "-P", "-m", "slmstudio"]


def _how() -> str | None:
    """How the program was installed: "deb" for instance; None for a checkout."""
    return (files.read_json(ROOT / "installed.json") or {}).get("how")
