"""The Windows installer: installer.nsi with the application, uv and the launcher, made by makensis on Linux."""

from __future__ import annotations

import importlib.util
import re
import sys
import tempfile
import zipfile
from pathlib import Path

import build_app
from setup_packages import UV

TOOLS = {"makensis": "nsis", "rsvg-convert": "librsvg2-bin", "icotool": "icoutils", "wine": "wine", "Xvfb": "xvfb",
         "xdotool": "xdotool"}  # the last three for its tests
WINDOWS = build_app.ROOT / "packaging" / "windows"
ICON_SIZES = (16, 20, 24, 32, 40, 48, 64, 128, 256)  # at 100 % to 400 %, in lists and on the desktop


def build(out: Path) -> Path:
    """Make out/SLMStudio-Setup-VERSION.exe and return its path.

    Raises:
        SystemExit: uv's wheel cannot be fetched, or makensis reports an error or a warning.
    """
    target = out / f"SLMStudio-Setup-{build_app.version()}.exe"
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        icon = make_icon(work)
        stage = make_stage(work, fetch_uv(work), icon)
        kilobytes = sum(path.stat().st_size for path in stage.rglob("*") if path.is_file()) // 1024
        make(build_app.ROOT / "installer.nsi", target, icon, STAGE=str(stage), KILOBYTES=str(kilobytes))
    return target


def fetch_uv(work: Path) -> Path:
    """uv's wheel for Windows, of the version that sets the environment up elsewhere too."""
    pip = [sys.executable, "-m", "pip"]
    if importlib.util.find_spec("pip") is None:
        build_app.need({"pip3": "python3-pip"})
        pip = ["pip3"]
    build_app.run([*pip, "download", "--quiet", "--disable-pip-version-check", "--platform", "win_amd64",
                   "--only-binary=:all:", "--no-deps", "--dest", str(work), UV])
    return next(work.glob("uv-*.whl"))


def make_icon(work: Path) -> Path:
    """The program's icon in every size that Windows asks for."""
    source = build_app.ROOT / "resources" / "icons" / "slmstudio.svg"
    pictures = []
    for size in ICON_SIZES:
        picture = work / f"icon-{size}.png"
        build_app.run(["rsvg-convert", "-w", str(size), "-h", str(size), "-o", str(picture), str(source)])
        pictures += [f"--raw={picture}"] if size == max(ICON_SIZES) else [str(picture)]
    icon = work / "slmstudio.ico"
    build_app.run(["icotool", "--create", f"--output={icon}", *pictures])
    return icon


def make_stage(work: Path, wheel: Path, icon: Path) -> Path:
    """What is installed, as it lies in the user's folder: two manifests in it, of the application and of all."""
    stage = work / "stage"
    build_app.copy_application(stage / "app", "windows", "beside")
    with zipfile.ZipFile(wheel) as archive:
        for ending, name in ((".data/scripts/uv.exe", "uv.exe"), ("/LICENSE-MIT", "uv-LICENSE.txt")):
            member = next(member for member in archive.namelist() if member.endswith(ending))
            (stage / name).write_bytes(archive.read(member))
    make(WINDOWS / "launcher.nsi", stage / "SLMStudio.exe", icon)
    strange = [str(path) for path in stage.rglob("*") if not str(path.relative_to(stage)).isascii()]
    if strange:
        raise SystemExit(f"The uninstaller reads names in ASCII alone; rename {', '.join(strange)}.")
    build_app.write_manifest(stage / "app")  # what the uninstaller removes
    build_app.write_manifest(stage)
    return stage


def make(script: Path, target: Path, icon: Path, **more: str) -> None:
    """Let makensis make `target`; a warning is an error."""
    defines = {"OUTFILE": str(target), "ICON": str(icon), "VERSION": build_app.version(),
               "NUMBERS": version_numbers(build_app.version()), **more}
    build_app.run(["makensis", "-WX", "-V2", "-NOCD", "-INPUTCHARSET", "UTF8",
                   *(f"-D{name}={value}" for name, value in defines.items()), str(script)], build_app.ROOT)


def version_numbers(version: str) -> str:
    """Windows' four numbers: "0.2.0.dev0" becomes "0.2.0.0"."""
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    if numbers is None:
        raise SystemExit(f"Version {version} does not begin with a number.")
    return ".".join([*numbers[0].split("."), "0", "0", "0"][:4])
