"""The Debian package: the program, its launcher, icons, desktop entry, file types and man page, packed by dpkg-deb."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import tempfile
import time
from email.utils import formatdate
from pathlib import Path
from string import Template

import build_app
from setup_system import LIBRARIES

TOOLS = {"dpkg-deb": "dpkg", "rsvg-convert": "librsvg2-bin",
         # for its tests
         "lintian": "lintian", "desktop-file-validate": "desktop-file-utils", "appstreamcli": "appstream",
         "debootstrap": "debootstrap", "Xvfb": "xvfb"}
LINUX = build_app.ROOT / "packaging" / "linux"
APPLICATION = "usr/share/slmstudio"
ICON_SIZES = (16, 22, 24, 32, 48, 64, 128, 256, 512)
RENAMED = {"libglib2.0-0": "libglib2.0-0t64"}
"""New names since Debian 13 and Ubuntu 24.04, where time is counted in 64 bits everywhere."""
SCRIPTS = ("postinst", "prerm", "postrm")


def build(out: Path) -> Path:
    """Make out/slmstudio_VERSION_all.deb and return its path."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder) / "stage"
        make_stage(stage)
        return pack(stage, out, build_app.version())


def make_stage(stage: Path) -> None:
    """Lay out what is installed below `stage`, as below /; what depends on the version comes with `pack`."""
    build_app.copy_application(stage / APPLICATION, "deb", "user")
    for source, target, mode in (
            ("slmstudio.sh", "usr/bin/slmstudio", 0o755),
            ("slmstudio.desktop", "usr/share/applications/slmstudio.desktop", 0o644),
            ("slmstudio.xml", "usr/share/mime/packages/slmstudio.xml", 0o644),
            ("copyright", "usr/share/doc/slmstudio/copyright", 0o644),
            ("lintian-overrides", "usr/share/lintian/overrides/slmstudio", 0o644)):
        _write(stage / target, (LINUX / source).read_bytes(), mode)
    drawing = build_app.ROOT / "resources" / "icons" / "slmstudio.svg"
    icons = stage / "usr/share/icons/hicolor"
    _write(icons / "scalable/apps/slmstudio.svg", drawing.read_bytes())
    for size in ICON_SIZES:
        icon = icons / f"{size}x{size}/apps/slmstudio.png"
        icon.parent.mkdir(parents=True)
        build_app.run(["rsvg-convert", "-w", str(size), "-h", str(size), "-o", str(icon), str(drawing)])


def pack(stage: Path, out: Path, version: str) -> Path:
    """Make the package of a stage.

    Args:
        version: as Python writes it.

    Returns:
        the path of the package.
    """
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    words = {"version": debian_version(version), "date": time.strftime("%Y-%m-%d", time.gmtime(seconds)),
             "kind": "development" if re.search("[a-z]", version) else "stable", "depends": ", ".join(depends())}
    for source, target in (("slmstudio.metainfo.xml", "usr/share/metainfo/localhost.slmstudio.slmstudio.metainfo.xml"),
                           ("slmstudio.1", "usr/share/man/man1/slmstudio.1.gz")):
        text = Template((LINUX / source).read_text("utf-8")).substitute(words)
        _write(stage / target, _zipped(text) if target.endswith(".gz") else text.encode())
    changes = (f"slmstudio ({words['version']}) unstable; urgency=medium\n\n"
               f"  * What is new is told in /{APPLICATION}/CHANGELOG.md.\n\n"
               f" -- SLM Studio <maintainers@slmstudio.invalid>  {formatdate(seconds)}\n")
    _write(stage / "usr/share/doc/slmstudio/changelog.gz", _zipped(changes))
    control = stage / "DEBIAN"
    shutil.rmtree(control, ignore_errors=True)
    files = sorted(path for path in stage.rglob("*") if path.is_file())
    sums = "".join(f"{_md5(path)}  {path.relative_to(stage).as_posix()}\n" for path in files)
    words["kilobytes"] = str(sum((path.stat().st_size + 1023) // 1024 for path in stage.rglob("*")))
    _write(control / "control", Template((LINUX / "control").read_text("utf-8")).substitute(words).encode())
    _write(control / "md5sums", sums.encode())
    for script in SCRIPTS:
        _write(control / script, (LINUX / script).read_bytes(), 0o755)
    for folder in (stage, *(path for path in stage.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    package = out / f"slmstudio_{words['version']}_all.deb"
    build_app.run(["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(stage), str(package)])
    return package


def depends() -> list[str]:
    """The packages that the setup and the window need, in Debian's words."""
    libraries = [f"{RENAMED[name]} | {name}" if name in RENAMED else name for name in sorted(set(LIBRARIES.values()))]
    return ["python3 (>= 3.11)", "python3-tk", "python3-venv", "fonts-noto-core", *libraries]


def debian_version(version: str) -> str:
    """A version as Debian sorts it: "0.2.0.dev0" is "0.2.0~~dev0", before "0.2.0~rc1" and that before "0.2.0"."""
    version = re.sub(r"\.?dev", "~~dev", version)
    version = re.sub(r"(?<=\d)(a|b|rc)(?=\d)", r"~\1", version)
    return version.replace(".post", "+post")


def _write(path: Path, content: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def _zipped(text: str) -> bytes:
    return gzip.compress(text.encode(), 9, mtime=0)


def _md5(path: Path) -> str:
    import hashlib

    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
