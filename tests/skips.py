"""The skips that a full run may have, by the reason they give. Any other skip fails `pytest --full`.

What the requirements install is never a reason: a test that needs it fails where it is missing.
"""

from __future__ import annotations

import re

ALLOWED = {
    "Windows": (
        "there is no file that is never ready", "the fake is a shell script", "signals are POSIX",
        "Ctrl-C of another console", r"Ctrl\+C is sent as a signal", "SIGKILL (and fork are|is) of POSIX systems",
        "needs a POSIX shell", "the shell's quoting is POSIX's here", "no pipes in the file system here",
        "POSIX permissions", "Windows' pipes belong to their user",
        "Windows has no such permissions", "Windows keeps an open file from being changed so",
        "there the setup is a process of its own"),
    "another system than Linux": (
        "the fake NVML is built for Linux only", "psutil derives it from the boot time only there",
        "only Linux tells what a process has used", "nobody can be asked about numbers on this kernel",
        "glibc's own function", "tmpfs is of Linux", "only Linux can be told so",
        "a network name space is Linux's", "the project's programs are found as on Linux",
        "mounts and processes as Linux has them", "kills whole process groups, as Linux has them",
        "looks at Linux's own way", "only Linux has such a lock", "only Linux has D-Bus",
        "this kernel's Landlock has no scopes",
        "this kernel's Landlock can't be used",
        "elsewhere a browser takes the system's proxy",
        "needs a limit on the address space", "the places follow the XDG variables"),
    "root, who may do everything": ("root may use every port", "root may write anywhere"),
    "not root, or a container: no mounts and no namespaces": (
        "a small file system cannot be mounted here.*", "a read-only file system cannot be mounted here",
        "the limit of open files is too low",
        "no small file system can be mounted here", "no file system may be mounted here",
        "this machine lets nobody mount a file system", "this machine lets nobody make a network name space",
        "strace may not watch a process here",
        "a Debian in a folder is made by root on Linux", r"this machine refuses namespaces of one's own \(unshare\)"),
    "a program of the system, which the requirements do not install": (
        "the fake NVML needs a C compiler .*", "needs Chromium, Chrome or Edge",
        r"needs pdftotext \(poppler-utils\)", "Xvfb is not installed", "Xvfb does not start here",
        "Wine does not start here", "strace is not installed", "this Python was built without tkinter",
        "needs (nsis|wine64|xvfb|, )+",
        "(dpkg|dpkg-deb|rsvg-convert|debootstrap|chroot|unshare|mount|apt-get) is not installed"),
    "no network, or a slow one, where packages are fetched": (
        "apt knows no mirror of .*", "debootstrap (took more than|failed).*",
        "uv's wheel for Windows cannot be fetched: .*",
        "no compiled wheel of llama-cpp-python is at hand, and compiling one takes 6 minutes"),
    "the fonts of the system": ("this machine has no font for (Devanagari|Bengali|Tamil|Arabic)",),
    "an environment made by other means than the README's": (
        "this environment was not made by the set-up", "the environment has no such command"),
    "the extra “gpu”, of which Triton alone takes hundreds of megabytes": (
        r"needs the extra “gpu” \(triton, liger-kernel\)",),
    "a graphics card, or none": (
        "needs an NVIDIA card", "no Vulkan build of llama.cpp",
        "this machine has a GPU", "this machine has an NVIDIA driver", "this machine has no NVIDIA card",
        "the real NVML is loaded in this process already"),
}
"""By what a machine has or lacks: the reasons, as regular expressions for the whole text."""


def is_allowed(reason: str) -> bool:
    text = reason.removeprefix("Skipped: ").strip()
    return any(re.fullmatch(pattern, text, re.DOTALL) for patterns in ALLOWED.values() for pattern in patterns)
