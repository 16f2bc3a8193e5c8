"""The program's own commands, as they are typed with this installation, and how its child processes find it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from slmstudio.core import files
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

# -- Paths and texts as shells take them.


def quote_posix(word: str) -> str:
    """One word for sh, bash and zsh; any script and any character."""
    return shlex.quote(word)


def quote_windows(word: str) -> str:
    """One word for PowerShell and cmd.

    Both hand the line to the program, which takes it apart by Microsoft's rules: quotes around what has spaces or
    letters that the shells know. `%NAME%` in cmd and `$name` in PowerShell are replaced even there; no quoting serves
    both shells.
    """
    from subprocess import list2cmdline  # on Windows alone

    quoted = list2cmdline([word])
    special = set("&|<>^();,'`@{}[]$%!#~") & set(word)
    if not special or quoted.startswith('"'):
        return quoted
    backslashes = len(word) - len(word.rstrip("\\"))  # before a quote they must be doubled
    return '"' + quoted + "\\" * backslashes + '"'


def shell_line(words: Sequence[str], system: str = os.name) -> str:
    """A line for the shell of a system.

    Args:
        system: "nt" is Windows; anything else has a POSIX shell.
    """
    return " ".join(map(quote_windows if system == "nt" else quote_posix, words))


ROOT = Path(__file__).resolve().parent.parent.parent
BOOTSTRAP = ROOT / "packaging" / "bootstrap.py"


def search_path(*first: Path) -> str:
    """PYTHONPATH of a child process: `first`, then what this process was given.

    Relative entries are left out: they would name a folder below the one that the child starts in.
    """
    given = filter(os.path.isabs, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return os.pathsep.join(dict.fromkeys([*map(str, first), *given]))


def command(*words: object) -> str:
    """A command to type: `command("train", path)`. Words are quoted as the system's shell needs it."""
    return shell_line([*_program(), *map(str, words)])


def setup_command() -> str:
    """What sets up what is missing; packaging/bootstrap.py's `how_to_set_up` says the same, from inside a checkout."""
    if _how() or not BOOTSTRAP.is_file():
        return command("setup")
    return shell_line(setup_words())


def setup_words() -> list[str]:
    """The setup's command, in its words.

    It tries again what is missing, such as the chat engine, and runs outside of the environment that it changes.

    Raises:
        UserError: the program was put here by other means, as by pip.
    """
    if not BOOTSTRAP.is_file():
        raise UserError(tr("This copy of SLM Studio can't set itself up."),
                        tr("Its setup ({file}) is missing: the program wasn't installed by its own installer.",
                           file=BOOTSTRAP),
                        tr("Use the installer, the package or a checkout, or install what is missing with pip."))
    return [getattr(sys, "_base_executable", sys.executable), str(BOOTSTRAP), "setup"]


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
