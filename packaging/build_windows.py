"""The Windows installer: installer.nsi with the application, uv and the launcher, made by makensis on Linux."""

from __future__ import annotations

import re
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path

import build_app
from setup_packages import UV

TOOLS = {"makensis": "nsis", "rsvg-convert": "librsvg2-bin", "icotool": "icoutils", "wine": "wine", "Xvfb": "xvfb",
         "xdotool": "xdotool"}  # the last three for its tests
WINDOWS = build_app.ROOT / "packaging" / "windows"
ICON = build_app.ROOT / "resources" / "icons" / "slmstudio.svg"
SIDE = (164, 314)  # pixels of the picture beside the first and the last page
ICON_SIZES = (16, 20, 24, 32, 40, 48, 64, 128, 256)  # at 100% to 400%, in lists and on the desktop


def build(out: Path) -> Path:
    """Make out/SLMStudio-Setup-VERSION.exe and return its path.

    Raises:
        SystemExit: uv's wheel can't be fetched, or makensis reports an error or a warning.
    """
    target = out / f"SLMStudio-Setup-{build_app.version()}.exe"
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        icon = make_icon(work)
        stage = make_stage(work, fetch_uv(work), icon)
        kilobytes = sum(path.stat().st_size for path in stage.rglob("*") if path.is_file()) // 1024
        make(build_app.ROOT / "installer.nsi", target, icon, STAGE=str(stage), KILOBYTES=str(kilobytes),
             SIDE=str(make_side(work)))
    return target


def fetch_uv(work: Path) -> Path:
    """uv's wheel for Windows, of the version that sets the environment up elsewhere too."""
    build_app.run([*build_app.pip(), "download", "--quiet", "--disable-pip-version-check", "--platform", "win_amd64",
                   "--only-binary=:all:", "--no-deps", "--dest", str(work), UV])
    return next(work.glob("uv-*.whl"))


def make_icon(work: Path) -> Path:
    """The program's icon in every size that Windows asks for."""
    pictures = []
    for size in ICON_SIZES:
        picture = work / f"icon-{size}.png"
        build_app.run(["rsvg-convert", "-w", str(size), "-h", str(size), "-o", str(picture), str(ICON)])
        pictures += [f"--raw={picture}"] if size == max(ICON_SIZES) else [str(picture)]
    icon = work / "slmstudio.ico"
    build_app.run(["icotool", "--create", f"--output={icon}", *pictures])
    return icon


def make_side(work: Path) -> Path:
    """The icon on its own blue, as the bitmap that the installer's pages show."""
    width, height = SIDE
    mark = ICON.read_text("utf-8").replace("<svg ", f'<svg x="34" y="{height - 130}" width="96" height="96" ', 1)
    drawing, picture, bitmap = work / "side.svg", work / "side.png", work / "side.bmp"
    drawing.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
                       f'<rect width="{width}" height="{height}" fill="#2f5bea"/>{mark}</svg>', "utf-8")
    build_app.run(["rsvg-convert", "-o", str(picture), str(drawing)])
    padding = bytes(-width * 3 % 4)
    rows = [b"".join(bytes((blue, green, red)) for red, green, blue in row) + padding for row in png_rows(picture)]
    pixels = b"".join(reversed(rows))
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(pixels), 3780, 3780, 0, 0)
    bitmap.write_bytes(struct.pack("<2sIHHI", b"BM", 54 + len(pixels), 0, 0, 54) + header + pixels)
    return bitmap


def png_rows(picture: Path) -> list[list[bytes]]:
    """The rows of an 8-bit PNG, each pixel as red, green and blue. Source: its specification, section 9 on filters."""
    content, data, at = picture.read_bytes(), b"", 8
    while at < len(content):
        length, kind = struct.unpack(">I4s", content[at:at + 8])
        data += content[at + 8:at + 8 + length] if kind == b"IDAT" else b""
        at += length + 12
    width, height, depth, colours = struct.unpack(">IIBB", content[16:26])
    pixel = {2: 3, 6: 4}[colours] * depth // 8  # bytes
    raw, size = zlib.decompress(data), width * pixel
    rows, above = [], bytearray(size)
    for start in range(0, height * (size + 1), size + 1):
        row = bytearray(raw[start + 1:start + 1 + size])
        for i in range(size):
            left, up, corner = (row[i - pixel], above[i], above[i - pixel]) if i >= pixel else (0, above[i], 0)
            row[i] = (row[i] + (0, left, up, (left + up) // 2, _paeth(left, up, corner))[raw[start]]) & 255
        rows.append([bytes(row[i:i + 3]) for i in range(0, size, pixel)])
        above = row
    return rows


def _paeth(left: int, up: int, corner: int) -> int:
    estimate = left + up - corner
    return min((left, up, corner), key=lambda value: abs(estimate - value))


def make_stage(work: Path, wheel: Path, icon: Path) -> Path:
    """What is installed, as it is in the user's folder: two manifests in it, of the application and of all."""
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
