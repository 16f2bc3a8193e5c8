"""What the operating system has to bring: Qt's libraries, fonts, a compiler. Checked by use, not by package name."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from setup_console import Console, Stop
from setup_language import tr

# soname that Qt's xcb plugin or a library of ours loads -> Debian's and Ubuntu's package
LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgomp.so.1": "libgomp1",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxkbcommon.so.0": "libxkbcommon0",
}
# programs of which any will do -> Debian's and Ubuntu's package
COMPILER = ((("cc", "gcc", "clang"), "gcc"), (("c++", "g++", "clang++"), "g++"), (("make", "ninja"), "make"))
# the same, and files, for llama.cpp's backend for graphics cards
VULKAN = ((("glslc",), "glslc"), (("/usr/include/vulkan/vulkan.h",), "libvulkan-dev"),
          (("/usr/share/cmake/SPIRV-Headers", "/usr/lib/cmake/SPIRV-Headers"), "spirv-headers"))
FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")


def missing_libraries(load: Callable[[str], object] = ctypes.CDLL) -> dict[str, str]:
    """The libraries that can't be loaded, each with the package that brings it."""
    missing = {}
    for soname, package in LIBRARIES.items():
        try:
            load(soname)
        except OSError:
            missing[soname] = package
    return missing


def has_indian_fonts() -> bool:
    """Whether text in Devanagari can be shown."""
    if any(next(Path(folder).expanduser().rglob("*Devanagari*"), None) for folder in FONT_FOLDERS):
        return True
    if shutil.which("fc-list") is None:
        return False
    listed = subprocess.run(["fc-list", ":lang=hi", "family"], capture_output=True, text=True, check=False)
    return bool(listed.stdout.strip())


def missing_tools(compiler: bool, with_tests: bool) -> dict[str, str]:
    """The programs that aren't there, each with the package that brings it.

    Args:
        compiler: llama-cpp-python has to be compiled.
        with_tests: the tests are to run: they compile a stand-in for NVML, open windows on a virtual screen, and print
            reports with a browser.
    """
    wanted = list(COMPILER) if compiler or with_tests else []
    if with_tests:
        wanted += [(("Xvfb",), "xvfb"), (("xauth",), "xauth"), (("pdftotext",), "poppler-utils")]
        if browser_is_a_package():
            wanted += [(("chromium", "google-chrome", "microsoft-edge"), "chromium")]
    return _missing_of(wanted)


def missing_compiler(vulkan: bool = False) -> dict[str, str]:
    """What compiling a C++ package, or llama.cpp for cards, needs and isn't there, each with what brings it."""
    vulkan &= not os.environ.get("VULKAN_SDK")  # LunarG's, the only way on Windows
    if sys.platform == "win32":
        compiler = {} if _has_visual_studio() else {"cl": tr("Visual Studio Build Tools with the C++ workload")}
        return {**compiler, "glslc": tr("the Vulkan SDK")} if vulkan else compiler
    return _missing_of([*COMPILER, *(VULKAN if vulkan else ())])


def _missing_of(wanted: Iterable[tuple[tuple[str, ...], str]]) -> dict[str, str]:
    return {names[0]: package for names, package in wanted
            if not any(shutil.which(name) or os.path.exists(name) for name in names)}


def _has_visual_studio() -> bool:
    """Whether CMake would find Microsoft's compiler: the installer's own finder says so, or it is on the PATH."""
    finder = Path(os.environ.get("PROGRAMFILES(X86)", r"C:\Program Files (x86)"),
                  "Microsoft Visual Studio", "Installer", "vswhere.exe")
    if shutil.which("cl"):
        return True
    if not finder.is_file():
        return False
    wanted = ["-products", "*", "-requires", "Microsoft.VisualStudio.Component.VC.Tools.x86.x64", "-property",
              "installationPath"]
    found = subprocess.run([str(finder), *wanted], capture_output=True, text=True, check=False)
    return bool(found.stdout.strip())


def browser_is_a_package() -> bool:
    """Whether the system has Chromium as a package: Ubuntu has it as a snap only, and then its tests are skipped."""
    try:
        return "ID=ubuntu" not in Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False


def missing_venv() -> str:
    """The package that brings Python's venv module; empty when it is there."""
    if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        return ""
    return f"python{sys.version_info.major}.{sys.version_info.minor}-venv"


def check(console: Console, compiler: bool, venv: bool, with_tests: bool) -> str:
    """Make sure that everything is there: install it when that is possible, else say what to install.

    Args:
        venv: the environment has still to be made.

    Returns:
        what was installed, empty when nothing was missing.

    Raises:
        Stop: something is missing and this can't install it.
    """
    if not sys.platform.startswith("linux"):
        return ""
    missing = _missing(compiler, with_tests)
    package = missing_venv() if venv else ""
    if package:
        raise Stop(tr("Python's own module venv is missing. Run this, then the same command again:\n  {command}",
                      command=apt_line([package, *missing.values()])))
    if not missing:
        return ""
    if not install(console, missing):
        raise Stop(_what_to_install(missing))
    left = _missing(compiler, with_tests)
    if left:
        raise Stop(_what_to_install(left))
    return tr("installed: {packages}", packages=" ".join(sorted(set(missing.values()))))


def apt_line(packages: Iterable[str]) -> str:
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"{sudo}apt install {' '.join(sorted(set(packages)))}"


def _missing(compiler: bool, with_tests: bool) -> dict[str, str]:
    missing = missing_libraries() | missing_tools(compiler, with_tests)
    return missing if has_indian_fonts() else missing | {tr("fonts for Indian scripts"): "fonts-noto-core"}


def _what_to_install(missing: dict[str, str]) -> str:
    names = ", ".join(sorted(missing))
    if shutil.which("apt-get") is None:
        return tr("These are missing on this machine: {names}. Install the system packages that contain them, then "
                  "run the same command again.", names=names)
    return tr("These are missing on this machine: {names}. Run this, then the same command again:\n  "
              "{command}", names=names,
              command=apt_line(missing.values()))


def install(console: Console, missing: dict[str, str]) -> bool:
    """Install packages, where this may: as root on Debian and its kind. Raises Stop when apt fails."""
    if sys.platform == "win32" or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    _install(console, sorted(set(missing.values())))
    return True


def _install(console: Console, packages: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    wait = ["-o", "DPkg::Lock::Timeout=300"]
    install = ["apt-get", *wait, "install", "-y", "--no-install-recommends", *packages]
    console.run(["dpkg", "--configure", "-a"], environment)  # an installation may have been cut short before
    if console.run(install, environment):
        return
    # No package lists yet, or old ones that name files which are gone.
    if not console.run(["apt-get", *wait, "update"], environment) or not console.run(install, environment):
        raise console.failure(tr("The system's packages couldn't be installed."))
