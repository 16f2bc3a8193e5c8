"""The wheels at hand: an offline bundle's with their manifest, those that an installer carries, and the program's own.

A bundle is the program's folder with `wheels/`, `bundle.json` and `manifest.sha256`. From it nothing else is used.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import re
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from setup_console import Stop
from setup_language import ntr, tr

FORMAT = 1  # of bundle.json
MANIFEST = "manifest.sha256"
NOTE = "bundle.json"
CARRIED = ("packaging", "wheels")  # pure Python that the index has as source alone, in installed programs


@dataclass(frozen=True)
class Wheels:
    """What the setup of the program in `root` may take from the disk."""

    root: Path

    @property
    def offline(self) -> bool:
        """Whether this is a bundle, which needs no network and uses none."""
        return (self.root / NOTE).is_file()

    @property
    def folder(self) -> Path:
        return self.root / "wheels" if self.offline else self.root.joinpath(*CARRIED)

    def environment(self) -> dict[str, str]:
        """What pip and uv are told through their environment."""
        places = os.environ.get("PIP_FIND_LINKS", "").split()
        if self.folder.is_dir():
            places.append(self.folder.resolve().as_uri())  # a place with a space stays one word
        found = {"PIP_FIND_LINKS": " ".join(places)} if places else {}
        if self.offline:
            found |= {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "UV_OFFLINE": "1", "UV_NO_INDEX": "1"}
        return found

    def check(self) -> str:
        """Make sure that a bundle is for this machine and whole; empty without a bundle.

        Raises:
            Stop: it isn't; all its faults are named.
        """
        if not self.offline:
            return ""
        self._check_note()
        wanted = self.manifest()
        faults = [name for name, digest in wanted.items() if _digest(self.root / name) != digest]
        if faults:
            some = ", ".join(Path(name).name for name in faults[:5]) + (" …" if len(faults) > 5 else "")
            raise Stop(tr("This bundle is damaged: {damaged} of its {all} files are missing or have changed "
                          "({names}). Copy the bundle again, then run the same command again.", all=len(wanted),
                          damaged=len(faults), names=some))
        return ntr("{n} file of the bundle checked", "{n} files of the bundle checked", len(wanted))

    def _check_note(self) -> None:
        try:
            note = json.loads((self.root / NOTE).read_text("utf-8"))
            made_for = (note["platform"], note["python"])
            newer = note["format"] > FORMAT
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Stop(tr("This bundle's {file} can't be read. Copy the bundle again.", file=NOTE)) from error
        if newer:
            raise Stop(tr("This bundle was made by a newer SLM Studio. Use the setup that came with it."))
        if made_for != this_machine():
            platform_here, python_here = this_machine()
            raise Stop(tr("This bundle is for {platform} with Python {python}, and this is {platform_here} with Python "
                          "{python_here}. Start it with python{python} on such a machine, or make a bundle there: "
                          "{command}", platform=made_for[0], python=made_for[1], platform_here=platform_here,
                          python_here=python_here, command="python3 packaging/build.py bundle"))

    def manifest(self) -> dict[str, str]:
        """Path and SHA-256 of every file that the bundle brought. Raises Stop when it can't be read."""
        try:
            lines = (self.root / MANIFEST).read_text("utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise Stop(tr("This bundle's {file} can't be read. Copy the bundle again.", file=MANIFEST)) from error
        found = {name: digest for digest, _, name in (line.partition("  ") for line in lines) if name}
        if not any(name.startswith("wheels/") for name in found):
            raise Stop(tr("This bundle's {file} doesn't name a wheel. Copy the bundle again.", file=MANIFEST))
        return found

    def of_program(self, target: Path) -> Path:
        """Write a wheel into `target` that points at the program where it is, and brings its command."""
        version = version_of(self.root)
        info = f"slmstudio-{version}.dist-info"
        # Python reads a .pth file in the system's encoding; this line is ASCII whatever the place is called.
        line = f"import sys; sys.path.append({str(self.root)!a})\n"
        files = {"slmstudio.pth": line,
                 f"{info}/METADATA": f"Metadata-Version: 2.1\nName: slmstudio\nVersion: {version}\n",
                 f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
                 f"{info}/entry_points.txt": "[console_scripts]\nslmstudio = slmstudio.__main__:main\n"}
        record = "".join(f"{name},sha256={_url_digest(text)},{len(text.encode())}\n" for name, text in files.items())
        path = target / f"slmstudio-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
                archive.writestr(name, text)
        return path


def this_machine() -> tuple[str, str]:
    """The platform as in "linux-x86_64", and the Python as in "3.11"."""
    machine = platform.machine().lower().replace("amd64", "x86_64")
    return f"{sys.platform}-{machine}", f"{sys.version_info.major}.{sys.version_info.minor}"


def version_of(root: Path) -> str:
    """The program's version, from the only place that says it.

    Raises:
        Stop: the program's files are damaged.
    """
    text = (root / "slmstudio" / "__init__.py").read_text("utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if found is None:
        raise Stop(tr("The program's files are damaged: slmstudio/__init__.py doesn't name a version. Install it "
                      "again."))
    return found[1]


def _digest(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _url_digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
