"""llama-cpp-python, of which the index has the source alone: by a wheel if there is one, else by compiling, else not.

For a card there are builds with CUDA, from the project's own index, and with Vulkan: a wheel at hand, as of a release
or one that was compiled before, or compiled now. Without one, and for the tests, there is the processor's: a wheel at
hand (a bundle's, a folder's, one that pip compiled before), a wheel of the project's own index, a compiler. A file in
the environment says what it is and why. Where nothing works the studio is set up without its chat engine: another file
says why, the program shows it, and the next `setup` tries again.
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
DEVICE = "SLMSTUDIO_CHAT_DEVICE"  # what is chosen where nobody has chosen
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
        self.choice = choice or self._last_choice() or os.environ.get(DEVICE) or ("cpu" if needed else "auto")

    def install(self) -> str:
        """Do the step.

        Returns:
            what has to be said of it.

        Raises:
            Stop: it is needed and can't be had.
        """
        reasons: list[str] = []
        for kind, get in self._kinds():
            reason = get()
            if not reason:
                return self._installed(kind, " ".join(reasons))
            reasons.append(reason)
        if self.needed:
            what = tr("llama.cpp couldn't be installed.")
            raise self.console.failure(f"{what} {reasons[-1]}")
        # One that doesn't load would be taken for one that does, until a chat begins.
        self.packages.pip("uninstall", "--yes", "llama-cpp-python")
        self.device.unlink(missing_ok=True)
        self.note.write_text(reasons[-1] + "\n", encoding="utf-8")
        return f"{tr('It was left out, so chat and GGUF files are switched off.')} {reasons[-1]}"

    def notice(self) -> str:
        """How long it takes, if it isn't at hand."""
        vulkan = any(kind == "vulkan" for kind, _ in self._kinds()) and not setup_backends.missing_vulkan()
        if self._wheels() if vulkan else self.has_wheel():
            return ""
        minutes = setup_backends.minutes(vulkan)
        return (tr("a ready-made wheel, or compiled here once for the processor and graphics cards (about {minutes} "
                   "minutes)", minutes=minutes) if vulkan else
                tr("a ready-made wheel, or compiled here once (about {minutes} minutes)", minutes=minutes))

    def _kinds(self) -> list[tuple[str, Callable[[], str]]]:
        """The builds that will do, the best first, each with what gets it: it returns why it can't, or nothing."""
        card = self.choice != "cpu" and sys.platform != "darwin"  # Apple's build has Metal
        cuda = self.choice == "cuda" or (self.choice == "auto" and self.packages.bootstrap.has_nvidia_driver())
        return [*([("cuda", self._cuda)] if card and cuda else []),
                *([("vulkan", self._vulkan)] if card else []), ("cpu", self._processor)]

    def _installed(self, kind: str, reason: str) -> str:
        self.note.unlink(missing_ok=True)
        if kind != "cpu" and not self._runs(CARDS):
            kind, reason = "cpu", tr("The driver of the graphics card crashed or failed when it was asked for its "
                                     "cards. Update it, then run setup again.")
        if self.choice != "cpu" or self.chosen_now:
            said = {"choice": self.choice, "device": kind, "reason": reason}
            self.device.write_text(json.dumps(said, ensure_ascii=False) + "\n", encoding="utf-8")
        names = {"cuda": "CUDA", "vulkan": "Vulkan", "cpu": tr("for the processor")}
        return " ".join([names[kind], reason]).strip() if reason or kind != "cpu" else ""

    def _last_choice(self) -> str:
        try:
            return str(json.loads(self.device.read_text(encoding="utf-8"))["choice"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _processor(self) -> str:
        for way in (self._at_hand, self._own_index, self._compiled):
            reason = way()
            if not reason:
                return ""
        return reason

    def _cuda(self) -> str:
        index = os.environ.get(INDEX, OWN_INDEX)
        if self.packages.wheels.offline or not index:
            return tr("The index with its builds for CUDA is switched off.")
        site = Path(self.packages.bootstrap.site_packages(self.packages.bootstrap.environment_python()))
        build = setup_backends.cuda_build(site / "torch", setup_backends.driver_cuda())
        if not build:
            return tr("No build for CUDA fits both the NVIDIA driver and PyTorch.")
        if not self._from_index(setup_backends.CUDA_INDEX.format(build)):
            return tr("There is no build for CUDA {version}, or it doesn't load here.", version=f"{build / 10:.1f}")
        return ""

    def _vulkan(self) -> str:
        for wheel in self._wheels():
            if self.packages.pip("install", "--no-deps", "--force-reinstall", str(wheel)) and self._runs(LOADS):
                return ""
        if self.packages.wheels.offline:
            return tr("This bundle has no llama.cpp for graphics cards.")
        missing = {**setup_system.missing_compiler(), **setup_backends.missing_vulkan()}
        with contextlib.suppress(Stop):  # the processor's build may do without
            if not missing or setup_system.install(self.console, missing):
                return self._compiled_for_cards()
        what = tr("Without {names}, llama.cpp can't be compiled for graphics cards.",
                  names=", ".join(sorted(set(missing.values()))))
        return f"{what} {self._how_to_get(missing, '--chat-device vulkan')}"

    def _compiled_for_cards(self) -> str:
        """Compile it, and keep the wheel for the next setup."""
        folder = self._cache() / "slmstudio"
        command = [self.packages.python, "-I", "-m", "pip", "wheel", "--no-deps", "--no-cache-dir", "--wheel-dir",
                   str(folder), self.line]
        environment = {**self.packages.environment, **setup_backends.build_environment(portable=False)}
        if not self.console.run(command, environment):
            return cause_of(self.console.output(), self.packages.python)
        self.packages.pip("install", "--no-deps", "--force-reinstall", str(self._wheels()[-1]))
        return "" if self._runs(LOADS) else tr("It was compiled, but doesn't load: the end of the log says why.")

    def _wheels(self) -> list[Path]:
        """Those with Vulkan that are at hand: the ones that came with the program, then the one compiled here."""
        name = f"llama_cpp_python-{self.line.partition('==')[2]}-{setup_backends.TAG}-*.whl"
        places = [self.packages.wheels.folder, *([] if self.packages.wheels.offline else [self._cache() / "slmstudio"])]
        return [wheel for place in places for wheel in sorted(place.glob(name))]

    def _cache(self) -> Path:
        cache = self.packages.environment.get("PIP_CACHE_DIR") or Path(
            os.environ.get("XDG_CACHE_HOME") or "~/.cache", "pip")
        return Path(cache).expanduser()

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
        if self.packages.wheels.offline:
            return tr(NOT_IN_BUNDLE)
        if not index:
            return tr("Its index is switched off.")
        return "" if self._from_index(index) else tr("Its own index has no wheel for this machine, or can't be "
                                                     "reached.")

    def _from_index(self, index: str) -> bool:
        return self.packages.pip("install", "--no-deps", "--force-reinstall", "--only-binary=:all:", *QUICK,
                                 "--index-url", index, self.line) and self._runs(LOADS)

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
        return "" if self._runs(LOADS) else tr("It was compiled, but doesn't load: the end of the log says why.")

    def _runs(self, text: str) -> bool:
        command = [self.packages.python, "-I", "-c", text.format(root=self.packages.bootstrap.ROOT)]
        return self.console.run(command, self.packages.environment)

    def _how_to_get(self, missing: dict[str, str], option: str = "") -> str:
        """How a user gets a compiler and what else is missing, and the chat engine with it."""
        again = tr("Then run setup again: {command}",
                   command=" ".join(filter(None, [self.packages.bootstrap.how_to_set_up(), option])))
        if sys.platform == "win32" and "glslc" in missing:
            return f"{tr('Install Visual Studio Build Tools with the C++ workload, and the Vulkan SDK.')} {again}"
        if sys.platform == "win32":
            return f"{tr('Install Visual Studio Build Tools with the C++ workload.')} {again}"
        if shutil.which("apt-get"):
            return f"{tr('Run: {command}.', command=setup_system.apt_line(missing.values()))} {again}"
        return f"{tr('Install {names}.', names=', '.join(sorted(set(missing.values()))))} {again}"
