"""What every package carries: the program's files, the note on how they were installed, and their manifest."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import setup_language  # noqa: F401  # finds slmstudio
from setup_backends import TAG
from setup_wheels import CARRIED, MANIFEST, version_of

from slmstudio.core.i18n import catalogue

ROOT = Path(__file__).resolve().parent.parent
FORMAT = 1  # of installed.json; bootstrap.py reads it
FOLDERS = ("slmstudio", "resources")
FILES = ("pyproject.toml", "README.md", "CHANGELOG.md", "packaging/bootstrap.py", "packaging/requirements.txt",
         "packaging/requirements-converter.txt")
SOURCE_ONLY = ("rouge_score", "sqlitedict", "word2number")  # pure Python of which the index has no wheel


def version() -> str:
    """The program's version."""
    return version_of(ROOT)


def copy_application(target: Path, how: str, environment: str) -> None:
    """Write the program's files into `target`, which is made.

    Args:
        how: "windows", "deb" or "bundle": how it gets to its place.
        environment: where the setup puts the Python environment: "inside" the program's folder, "beside" it, or in
            the "user"'s own data folder.
    """
    target.mkdir(parents=True)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, target / name,
                        ignore=shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info", "*.mo"))
    for file in (target / "resources" / "translations").glob("*.po"):  # the folder may be read-only later
        file.with_suffix(".mo").write_bytes(catalogue.compile_catalogue(file))
    (target / "packaging").mkdir()
    for path in [*map(Path, FILES), *(path.relative_to(ROOT) for path in (ROOT / "packaging").glob("setup_*.py"))]:
        shutil.copyfile(ROOT / path, target / path)
    wheels_of_source(target.joinpath(*CARRIED))
    for wheel in Path(os.environ.get("SLMSTUDIO_LLAMA_WHEELS", os.devnull)).glob(f"llama_cpp_python-*-{TAG}-*.whl"):
        shutil.copy(wheel, target.joinpath(*CARRIED))
    note = {"format": FORMAT, "version": version(), "how": how, "environment": environment}
    (target / "installed.json").write_text(json.dumps(note, indent=1) + "\n", "utf-8")
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def wheels_of_source(target: Path) -> None:
    """Make the wheels that the index lacks, so that nobody's setup has to build a package from its source."""
    lines = (ROOT / "packaging" / "requirements.txt").read_text("utf-8").splitlines()
    pins = [line.split(" ")[0] for line in lines if line.split("==")[0].replace("-", "_") in SOURCE_ONLY]
    run([*pip(), "wheel", "--disable-pip-version-check", "--no-deps", "--wheel-dir", str(target),
         *pins])


def write_manifest(folder: Path) -> Path:
    """List every file below `folder` with its SHA-256 in its manifest, as `sha256sum --check` reads it."""
    manifest = folder / MANIFEST
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != manifest)
    manifest.write_text("".join(f"{digest(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths), "utf-8")
    return manifest


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pip() -> list[str]:
    """The command of pip; Debian's Python has it as a package of its own."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    need({"pip3": "python3-pip"})
    return ["pip3"]


def need(tools: dict[str, str]) -> None:
    """Make sure that programs are there: install their Debian packages as root, else name them.

    Args:
        tools: name of a program, or path of a file -> the Debian package that brings it.

    Raises:
        SystemExit: something is missing and can't be installed from here.
    """
    missing = sorted({package for tool, package in tools.items() if not _is_there(tool)})
    if not missing:
        return
    line = f"apt install {' '.join(missing)}"
    if shutil.which("apt-get") is None or not hasattr(os, "geteuid"):
        raise SystemExit(f"Packages are built on Debian or Ubuntu. These of its packages are missing: "
                         f"{' '.join(missing)}.")
    if os.geteuid() != 0:
        raise SystemExit(f"Tools are missing. Run this, then the same command again:\n  sudo {line}")
    print(f"Installing {' '.join(missing)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "install", "-y", "--no-install-recommends", *missing]
    for preparation in (None, ["apt-get", "update"]):  # without package lists, or with old ones, they are fetched
        if preparation:
            subprocess.run(preparation, env=environment, stdout=subprocess.DEVNULL, check=False)
        if subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode == 0:
            break
    left = [tool for tool in tools if not _is_there(tool)]
    if left:
        raise SystemExit(f"These could not be installed: {', '.join(left)}. Look at what apt says above.")


def _is_there(tool: str) -> bool:
    return os.path.exists(tool) if tool.startswith("/") else shutil.which(tool) is not None


def run(command: list[str], cwd: Path | None = None) -> None:
    """Run a build tool; its output is shown when it fails.

    Raises:
        SystemExit: it failed.
    """
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr)
        raise SystemExit(f"{command[0]} failed with status {done.returncode}.")
