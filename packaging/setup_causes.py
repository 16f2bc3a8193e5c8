"""Why a command of the setup failed, and what to do about it, in words for people."""

from __future__ import annotations

import os
import sys

from setup_language import noop, tr

AGAIN = tr("Then run the same command again: it continues where it stopped.")
WEB_PAGE = tr("A web page arrived instead of a package, probably from a proxy or the network's login page. Log in to "
              "the network, or set HTTPS_PROXY.")
NOT_IN_FOLDER = tr("One of the packages isn't in any of the folders in PIP_FIND_LINKS. Put it there, or unset "
                   "PIP_NO_INDEX.")
THIS_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
NO_BUILD = ("no matching distribution", "could not find a version")
# Looked for in the output of a command that failed; the first that is found is told.
CAUSES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("no space left on device", "errno 28", "not enough space on the disk", "disk quota exceeded"),
     noop("The disk is full. Free up a few gigabytes.")),
    (("certificate_verify_failed", "sslerror", "invalid peer certificate"),
     noop("This machine doesn't trust the package index's certificate, which is common behind a company proxy. Set "
          "PIP_CERT to the file with the company's certificate.")),
    (("proxyerror", "407 proxy", "tunnel connection failed"),
     noop("The proxy refused the connection. Check the address and the password in HTTPS_PROXY.")),
    (("content-type: text/html", "<html", "<!doctype html"), WEB_PAGE),
    (("name resolution", "getaddrinfo failed", "failed to establish a new connection", "network is unreachable",
      "connecttimeout", "readtimeout", "timed out", "dns error", "connection refused", "connection aborted",
      "connection reset", "could not resolve", "connection broken"),
     noop("The package index can't be reached. Connect this machine to the network, or set PIP_FIND_LINKS to a folder "
          "with the packages.")),
    (("do not match the hashes", "content-length", "incompleteread", "badzipfile", "is invalid", "hash mismatch",
      "file is not a zip file", "has an invalid wheel"),
     noop("A package is damaged: it isn't the file that this version of SLM Studio expects. Run `{pip} cache purge`.")),
    (("permission denied", "access is denied", "errno 13", "read-only file system", "errno 30"),
     noop("Permission was denied. Make sure that you can write to this folder, or set SLMSTUDIO_ENVIRONMENT to "
          "another one, and close programs that use it.")),
    (("killed signal", "fatal error: killed", "cannot allocate memory", "out of memory"),
     noop("Memory ran out while compiling. Close other programs, or set CMAKE_BUILD_PARALLEL_LEVEL=1.")),
    (("cmake error", "failed building wheel", "failed-wheel-build", "no cmake_c_compiler", "unable to find a compiler"),
     noop("Compiling failed. Install a C++ compiler (Debian and Ubuntu: apt install g++ make; Windows: Visual Studio "
          "Build Tools with the C++ workload).")),
)


def cause_of(output: str, python: str = "python3") -> str:
    """Why a command failed, and what to do, from what it printed; a general remark when the cause isn't known.

    Args:
        python: the environment's Python, for remedies that are commands.
    """
    lowered = output.lower()
    for signs, sentence in CAUSES:
        if any(sign in lowered for sign in signs):
            return f"{tr(sentence).replace('{pip}', f'{python} -m pip')} {AGAIN}"
    if "(from versions: none)" in lowered:
        # pip reads any page as an index; one that offers nothing at all of a package that exists is none.
        if os.environ.get("PIP_NO_INDEX", "0") not in ("", "0"):
            return f"{NOT_IN_FOLDER} {AGAIN}"
        other = tr("If the network is fine, the index has no build for this machine and Python {python}. Use a "
                   "different Python, 3.11 to 3.14.", python=THIS_PYTHON)
        return f"{WEB_PAGE} {other} {AGAIN}"
    if any(sign in lowered for sign in NO_BUILD):
        none = tr("The package index has no build for this machine and Python {python}. Use a different Python, 3.11 "
                  "to 3.14.", python=THIS_PYTHON)
        return f"{none} {AGAIN}"
    return f"{tr('The last lines of the log say why.')} {AGAIN}"


def of_os_error(error: OSError, folder: str | os.PathLike[str]) -> str:
    """The same for what Python itself couldn't do in `folder`."""
    what = tr("SLM Studio couldn't be set up in {folder}: {error}.", folder=error.filename or folder,
              error=error.strerror or error)
    return f"{what} {cause_of(str(error))}"
