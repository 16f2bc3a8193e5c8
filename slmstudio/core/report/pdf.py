"""HTML to PDF by the browser that is on the machine, which prints offline and with a profile of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from slmstudio.core import files
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import tr
from slmstudio.core.jobs import processes

SECONDS = 90.0
"""A browser that hasn't printed a page by then hangs."""
LOOK_SECONDS = 0.1
"""How often it is asked whether the PDF is still wanted."""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge",
         "microsoft-edge-stable", "msedge")
_WINDOWS = ("Google/Chrome/Application/chrome.exe", "Microsoft/Edge/Application/msedge.exe",
            "Chromium/Application/chrome.exe")
_MAC = ("Google Chrome", "Chromium", "Microsoft Edge")
OFFLINE = (
    "--host-resolver-rules=MAP * ~NOTFOUND", "--no-proxy-server", "--disable-background-networking",
    "--disable-component-update", "--disable-default-apps", "--disable-domain-reliability", "--disable-sync",
    "--disable-client-side-phishing-detection", "--disable-extensions", "--metrics-recording-only", "--no-first-run",
    "--no-default-browser-check", "--no-pings", "--disable-breakpad", "--disable-crash-reporter",
)
"""What keeps a browser from talking to anybody, whatever is in the page."""


def browsers() -> list[str]:
    """Programs on this machine that can print a page: Chromium, Chrome or Edge."""
    found = [path for name in NAMES if (path := shutil.which(name))]
    if sys.platform == "win32":
        roots = [os.environ.get(name) for name in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")]
        found += [str(Path(root) / name) for root in roots if root for name in _WINDOWS]
    elif sys.platform == "darwin":
        found += [f"/Applications/{name}.app/Contents/MacOS/{name}" for name in _MAC]
    return [path for path in dict.fromkeys(found) if Path(path).is_file()]


def write_pdf(html: str, out: Path, seconds: float = SECONDS, cancelled: Callable[[], bool] = lambda: False) -> None:
    """Print a page into `out`, complete or not at all.

    Args:
        cancelled: asked now and then; once it says so, the browser is ended and nothing is written.

    Raises:
        UserError: no browser is there, none of them printed, or `out` can't be written.
    """
    found = browsers()
    if not found:
        raise UserError(tr("The PDF wasn't created."),
                        tr("It needs Chromium, Chrome or Edge, and none of them is on this machine."),
                        tr("Save the report as HTML (a name that ends with .html), open it and print it, or install "
                           "Chromium."))
    said = ""
    for browser in found:
        data, said = _print(browser, html, seconds, cancelled)
        if cancelled():
            return None
        if data:
            with os_errors_as(tr("Could not write the report.")):
                return files.write_atomically(out, data)
    raise UserError(tr("The PDF wasn't created."),
                    (tr("{browser} didn't print the page.", browser=Path(found[-1]).name) + f" {said}").strip(),
                    tr("Save the report as HTML (a name that ends with .html), open it and print it."))


def _print(browser: str, html: str, seconds: float, cancelled: Callable[[], bool]) -> tuple[bytes, str]:
    """The PDF's bytes, or none and the browser's last words."""
    with tempfile.TemporaryDirectory(prefix="slmstudio-pdf-", dir=_place(browser), ignore_cleanup_errors=True) as name:
        folder = Path(name)
        page, printed = folder / "report.html", folder / "report.pdf"
        page.write_text(html, encoding="utf-8")
        command = [browser, "--headless=new", "--disable-gpu", *OFFLINE, f"--user-data-dir={folder / 'profile'}",
                   "--no-pdf-header-footer", f"--print-to-pdf={printed}", page.as_uri()]
        if sys.platform == "linux" and os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # Chromium refuses to start as root with it
        said = _run(command, folder, seconds, cancelled)
        data = printed.read_bytes() if printed.is_file() else b""
        return (data if data.startswith(b"%PDF-") else b""), said


def _run(command: list[str], folder: Path, seconds: float, cancelled: Callable[[], bool]) -> str:
    """Run to the end, or end the whole process tree after `seconds` or when it isn't wanted any more.

    Returns:
        The last line that it printed.
    """
    log = folder / "log.txt"
    try:
        with open(log, "wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder,
                                       **processes.detached())
    except OSError as error:
        return tr("It can't be started: {reason}.", reason=error.strerror)
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        if cancelled() or time.monotonic() >= deadline:
            _end_tree(process)
            return tr("It didn't finish within {seconds:g} seconds.", seconds=seconds)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=LOOK_SECONDS)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return tr("Its message: {message}.", message=lines[-1].rstrip(".")) if lines else ""


def _end_tree(process: subprocess.Popen[bytes]) -> None:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        for each in [*parent.children(recursive=True), parent]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
    process.wait(timeout=5)


def _place(browser: str) -> Path | None:
    """Where its page and profile are: a browser from a snap sees no other program's temporary folder."""
    common = Path.home() / "snap" / Path(browser).name / "common"
    return common if "/snap/" in browser and common.is_dir() else None
