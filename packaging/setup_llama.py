"""llama-cpp-python, of which the index has the source alone: by a wheel if there is one, else by compiling, else not.

For cards there are builds with CUDA, of the project's own index, and with Vulkan: a wheel at hand, or compiled. Without
one, and for tests, there is the processor's: a wheel at hand (a bundle's, a folder's, one that pip compiled before), a
wheel of the project's own index, a compiler. A file in the environment says which it is and why. Where nothing works,
the studio is set up without its chat engine: another file says why, and the next `setup` tries again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import setup_backends
import setup_system
from setup_causes import cause_of
from setup_console import Console, Stop
from setup_language import noop, tr
from setup_packages import Packages

INDEX = "SLMSTUDIO_LLAMA_INDEX"  # another address for the next; empty to leave that way out, and CUDA's
# Where the project puts its wheels for plain processors. They are built for AVX2, as every x86-64 since 2013 to 2015.
OWN_INDEX = "https://abetlen.github.io/llama-cpp-python/whl/cpu"
QUICK = ("--timeout", "5", "--retries", "0")
NOT_IN_BUNDLE = noop("This bundle has no llama.cpp that runs here. Make the bundle again on a machine like this one.")
# By the program's own way of loading it. A driver may crash, which isn't the fault of the wheel.
LOADS = ("import sys; sys.path.insert(0, {root!r}); from slmstudio.worker.runtime import llama_devices as found; "
         "found.llama_cpp().llama_print_system_info()")
CARDS = f"{LOADS}; found.devices()"


class Llama:
    """The step "llama.cpp".

    Args:
        packages: the environment.
        console: runs the commands.
        needed: without it nothing works, as for the tests; they need no card.
        choice: what chat may compute on, one of bootstrap.CHAT_DEVICES, if that has been chosen now.
    """

    def __init__(self, packages: Packages, console: Console, needed: bool, choice: str = ""):
        self.packages, self.console, self.needed, self.chosen_now = packages, console, needed, bool(choice)
        self.line = packages.bootstrap.requirement("llama-cpp-python")
        self.note, self.device = Path(packages.bootstrap.NO_CHAT), Path(packages.bootstrap.CHAT_DEVICE)
        self.choice = (choice or self._last_choice() or os.environ.get("SLMSTUDIO_CHAT_DEVICE")
                       or ("cpu" if needed else "auto"))

    def install(self) -> str:
        """Do the step.

        Returns:
            what has to be said of it.

        Raises:
            Stop: it is needed and can't be had.
        """
        without = reason = ""
        for kind, get in self._ways():
            reason = get()
            if not reason:
                return self._installed(kind, without.strip())
            without += f" {reason}" if kind != "cpu" else ""
        if self.needed:
            what = tr("llama.cpp couldn't be installed.")
            raise self.console.failure(f"{what} {reason}")
        # One that doesn't load would be taken for one that does, until a chat begins.
        self.packages.pip("uninstall", "--yes", "llama-cpp-python")
        self.device.unlink(missing_ok=True)
        self.note.write_text(reason + "\n", encoding="utf-8")
        return f"{tr('It was left out, so chat and GGUF files are switched off.')} {reason}"

    def notice(self) -> str:
        """How long it takes, if no wheel of it is at hand."""
        cards = self.choice != "cpu"
        there = bool(self._wheels()) if cards else self.has_wheel()
        return "" if there else tr("a ready-made wheel, or compiled here once (about {minutes} minutes)",
                                   minutes=9 if cards else 6)

    def _ways(self) -> list[tuple[str, Callable[[], str]]]:
        """What is built, the best first, each with what gets it: it returns why it can't, or nothing."""
        ways = [("cpu", self._at_hand), ("cpu", self._own_index), ("cpu", self._compiled)]
        if self.choice == "cpu" or sys.platform == "darwin":  # Apple's build has Metal
            return ways
        cuda = self.choice == "cuda" or (self.choice == "auto" and self.packages.bootstrap.has_nvidia_driver())
        return [*([("cuda", self._cuda)] if cuda else []), ("vulkan", self._vulkan), *ways]

    def _installed(self, kind: str, without: str) -> str:
        self.note.unlink(missing_ok=True)
        if kind != "cpu" and not self._runs(CARDS):
            kind, without = "cpu", tr("The graphics card's driver crashed or failed when it was asked for its cards. "
                                      "Update it, then run setup again.")
        if self.choice != "cpu" or self.chosen_now:
            said = {"choice": self.choice, "device": kind, "reason": without}
            self.device.write_text(json.dumps(said, ensure_ascii=False) + "\n", encoding="utf-8")
        return f"{kind} {without}".removeprefix("cpu").strip()

    def _last_choice(self) -> str:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return str(json.loads(self.device.read_text(encoding="utf-8"))["choice"])
        return ""

    def _cuda(self) -> str:
        # PyTorch's build was chosen for the driver.
        index = setup_backends.CUDA_INDEX.get(self.packages.version("torch").partition("+")[2][:4])
        if index and os.environ.get(INDEX, OWN_INDEX) and self._from_index(index):
            return ""
        return tr("No build of llama.cpp for CUDA that fits the driver and PyTorch was found.")

    def _vulkan(self) -> str:
        for wheel in self._wheels():
            if self.packages.pip("install", "--no-deps", "--force-reinstall", str(wheel)) and self._runs(LOADS):
                return ""
        with contextlib.suppress(Stop):  # where apt fails, the processor's build may do without
            return self._compiled(cards=True)
        return tr("What compiling it for graphics cards needs couldn't be installed.")

    def _wheels(self) -> list[Path]:
        """Those with Vulkan that are at hand: the ones that came with the program, then the one compiled here."""
        name = f"llama_cpp_python-{self.line.partition('==')[2]}-{setup_backends.TAG}-*.whl"
        places = [self.packages.wheels.folder, *([] if self.packages.wheels.offline else [self._cache() / "slmstudio"])]
        return [wheel for place in places for wheel in sorted(place.glob(name))]

    def _cache(self) -> Path:
        usual = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "pip")
        return Path(self.packages.environment.get("PIP_CACHE_DIR") or usual).expanduser()

    def has_wheel(self) -> bool:
        """Whether it is there, or a wheel of it: then no compiler is needed."""
        name = f"llama_cpp_python-{self.line.partition('==')[2]}"
        bootstrap = self.packages.bootstrap
        tag = bootstrap.environment_python()
        if tag and (Path(bootstrap.site_packages(tag)) / f"{name}.dist-info").exists():
            return True
        return next((self._cache() / "wheels").rglob(f"{name}-*.whl"), None) is not None

    def _at_hand(self) -> str:
        """One that is already there or in a folder, or that pip compiled and kept. Empty when it loads."""
        if self.packages.pip("install", "--no-deps", "--no-index", "--only-binary=:all:", self.line):
            return "" if self._runs(LOADS) else tr("Its wheel doesn't load on this machine.")
        if self.has_wheel() and self.packages.pip("install", "--no-deps", self.line) and self._runs(LOADS):
            return ""
        return tr("No wheel for it was found here.")

    def _own_index(self) -> str:
        index = os.environ.get(INDEX, OWN_INDEX)
        if not index:
            return tr("Its index is switched off.")
        return "" if self._from_index(index) else tr("Its own index has no wheel for this machine, or can't be "
                                                     "reached.")

    def _from_index(self, index: str) -> bool:
        wanted = ("--no-deps", "--force-reinstall", "--only-binary=:all:", *QUICK, "--index-url", index, self.line)
        return not self.packages.wheels.offline and self.packages.pip("install", *wanted) and self._runs(LOADS)

    def _compiled(self, cards: bool = False) -> str:
        if self.packages.wheels.offline:
            return tr(NOT_IN_BUNDLE)
        missing = setup_system.missing_compiler(vulkan=cards)
        if missing and not setup_system.install(self.console, missing):
            what = (tr("To compile llama.cpp for graphics cards, {names} are missing.", names=", ".join(missing))
                    if cards else tr("No wheel for it fits this machine, and compiling it needs a C++ compiler."))
            return f"{what} {self._how_to_get(missing, cards)}"
        # What was compiled on another machine, or against other system libraries, isn't taken from the cache.
        done = (self._kept() if cards else self.packages.pip(
            "install", "--no-deps", *(["--no-cache-dir", "--force-reinstall"] if self.has_wheel() else []), self.line))
        if not done:
            return cause_of(self.console.output(), self.packages.python)
        return "" if self._runs(LOADS) else tr("It was compiled, but doesn't load: the end of the log says why.")

    def _kept(self) -> bool:
        """Compile it for cards, and keep the wheel for the next setup."""
        environment = {**self.packages.environment, **setup_backends.build_environment(portable=False)}
        command = [self.packages.python, "-I", "-m", "pip", "wheel", "--no-deps", "--no-cache-dir", "--wheel-dir",
                   str(self._cache() / "slmstudio"), self.line]
        return self.console.run(command, environment) and self.packages.pip(
            "install", "--no-deps", "--force-reinstall", str(self._wheels()[-1]))

    def _runs(self, text: str) -> bool:
        command = [self.packages.python, "-I", "-c", text.format(root=self.packages.bootstrap.ROOT)]
        return self.console.run(command, self.packages.environment)

    def _how_to_get(self, missing: dict[str, str], cards: bool) -> str:
        """How a user gets what is missing, and the chat engine with it."""
        again = self.packages.bootstrap.how_to_set_up() + (" --chat-device vulkan" if cards else "")
        again = tr("Then run setup again: {command}", command=again)
        if shutil.which("apt-get"):
            return f"{tr('Run: {command}.', command=setup_system.apt_line(missing.values()))} {again}"
        return f"{tr('Install {names}.', names=', '.join(sorted(set(missing.values()))))} {again}"
