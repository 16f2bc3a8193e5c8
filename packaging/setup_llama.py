"""llama-cpp-python, of which the index has the source alone: by a wheel if there is one, else by compiling, else not.

The order: a wheel at hand (a bundle's, a folder's, one that pip compiled before), a wheel of the project's own index, a
compiler. Where none of them works the studio is set up without its chat engine: a file in the environment says why,
the program shows it, and the next `setup` tries again.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import setup_system
from setup_causes import cause_of
from setup_console import Console
from setup_language import noop, tr
from setup_packages import Packages

INDEX = "SLMSTUDIO_LLAMA_INDEX"  # another address for the next; empty to leave that way out
# Where the project puts its wheels for plain processors. They are built for AVX2, as every x86-64 since 2013 to 2015.
OWN_INDEX = "https://abetlen.github.io/llama-cpp-python/whl/cpu"
QUICK = ("--timeout", "5", "--retries", "0")
NOT_IN_BUNDLE = noop("This bundle has no llama.cpp that runs here. Make the bundle again on a machine like this one.")
LOADS = "import llama_cpp; llama_cpp.llama_print_system_info()"


class Llama:
    """The step "llama.cpp".

    Args:
        packages: the environment.
        console: runs the commands.
    """

    def __init__(self, packages: Packages, console: Console):
        self.packages, self.console = packages, console
        self.line = packages.bootstrap.requirement("llama-cpp-python")
        self.note = Path(packages.bootstrap.NO_CHAT)

    def install(self, needed: bool) -> str:
        """Do the step.

        Args:
            needed: without it nothing works, as for the tests.

        Returns:
            what has to be said of it.

        Raises:
            Stop: it is needed and can't be had.
        """
        reason = ""
        for way in (self._at_hand, self._own_index, self._compiled):
            reason = way()
            if not reason:
                self.note.unlink(missing_ok=True)
                return ""
        if needed:
            what = tr("llama.cpp couldn't be installed.")
            raise self.console.failure(f"{what} {reason}")
        # One that doesn't load would be taken for one that does, until a chat begins.
        self.packages.pip("uninstall", "--yes", "llama-cpp-python")
        self.note.write_text(reason + "\n", encoding="utf-8")
        return f"{tr('It was left out, so chat and GGUF files are switched off.')} {reason}"

    def has_wheel(self) -> bool:
        """Whether it is there, or a wheel of it: then no compiler is needed."""
        name = f"llama_cpp_python-{self.line.partition('==')[2]}"
        bootstrap = self.packages.bootstrap
        tag = bootstrap.environment_python()
        if tag and (Path(bootstrap.site_packages(tag)) / f"{name}.dist-info").exists():
            return True
        cache = Path(os.environ.get("PIP_CACHE_DIR") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "pip"))
        return next((cache.expanduser() / "wheels").rglob(f"{name}-*.whl"), None) is not None

    def _at_hand(self) -> str:
        """One that is already there or in a folder, or that pip compiled and kept. Empty when it loads."""
        if self.packages.pip("install", "--no-deps", "--no-index", "--only-binary=:all:", self.line):
            return "" if self._loads() else tr("Its wheel doesn't load on this machine.")
        if self.has_wheel() and self.packages.pip("install", "--no-deps", self.line) and self._loads():
            return ""
        return tr("No wheel for it was found here.")

    def _own_index(self) -> str:
        index = os.environ.get(INDEX, OWN_INDEX)
        if self.packages.wheels.offline:
            return tr(NOT_IN_BUNDLE)
        if not index:
            return tr("Its index is switched off.")
        found = self.packages.pip("install", "--no-deps", "--force-reinstall", "--only-binary=:all:", *QUICK,
                                  "--index-url", index, self.line)
        if found and self._loads():
            return ""
        return tr("Its own index has no wheel for this machine, or can't be reached.")

    def _compiled(self) -> str:
        if self.packages.wheels.offline:
            return tr(NOT_IN_BUNDLE)
        missing = setup_system.missing_compiler()
        if missing and not setup_system.install(self.console, missing):
            what = tr("No wheel for it fits this machine, and compiling it needs a C++ compiler.")
            return f"{what} {self._how_to_get(missing)}"
        # What was compiled on another machine, or against other system libraries, isn't taken from the cache.
        stale = ["--no-cache-dir", "--force-reinstall"] if self.has_wheel() else []
        if not self.packages.pip("install", "--no-deps", *stale, self.line):
            return cause_of(self.console.output(), self.packages.python)
        return "" if self._loads() else tr("It was compiled, but doesn't load: the end of the log says why.")

    def _loads(self) -> bool:
        return self.console.run([self.packages.python, "-I", "-c", LOADS], self.packages.environment)

    def _how_to_get(self, missing: dict[str, str]) -> str:
        """How a user gets a compiler, and the chat engine with it."""
        again = tr("Then run setup again: {command}", command=self.packages.bootstrap.how_to_set_up())
        if sys.platform == "win32":
            return f"{tr('Install Visual Studio Build Tools with the C++ workload.')} {again}"
        if shutil.which("apt-get"):
            return f"{tr('Run: {command}.', command=setup_system.apt_line(missing.values()))} {again}"
        return f"{tr('Install a C++ compiler and make.')} {again}"
