"""What a job's process leaves half done when it is killed: exports, imports and fetched benchmarks, each under a hidden
name with the process's number in it."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from slmstudio.core import paths

END_SECONDS, POLL_SECONDS = 3.0, 0.01
FETCH = ".partial-"


def of_import(target: Path, pid: int) -> Path:
    return target.with_name(f".{target.name}.{pid}.partial")


def of_fetch(pid: int) -> Path:
    return paths.benchmarks_dir() / f"{FETCH}{pid}"


def find(request: dict[str, Any], pid: int) -> list[Path]:
    """What the process `pid` has left of the job that `request` describes."""
    kind, out, run = (request.get(name) for name in ("kind", "out", "run"))
    if kind == "export" and isinstance(out or run, str):
        return sorted((Path(out) if out else Path(str(run)) / paths.EXPORTS).glob(f".*.{pid}.partial"))
    found = []
    if kind in ("import", "fetch_starter") and isinstance(out, str):
        found = [of_import(Path(out), pid)]
    elif kind == "fetch_benchmark":
        found = [of_fetch(pid)]
    return [path for path in found if path.exists()]


def remove(folder: Path, request: dict[str, Any], pid: int) -> None:
    """Remove what a dead process has left, as far as that can be done. Its children, which end by themselves a moment
    later, are ended first: they would write on.

    Args:
        folder: of the job.
    """
    if not find(request, pid) or _is_used(pid):
        return
    _end_children(folder)
    for path in find(request, pid):
        remove_path(path)


def remove_path(path: Path) -> None:
    """Remove a file or a folder, as far as that can be done."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def remove_dead(found: Iterable[Path]) -> None:
    """Remove what processes that are gone have left, of paths that are named as here."""
    import psutil

    for path in found:
        pid = path.name.removesuffix(".partial").removeprefix(FETCH).rpartition(".")[2]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            remove_path(path)


def _is_used(pid: int) -> bool:
    """Whether the number belongs to a living process, which is another one by now."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _end_children(folder: Path) -> None:
    import psutil

    orphans = [process for process in psutil.process_iter(["cmdline"])
               if any(word.endswith(".request.json") and Path(word).parent == folder
                      for word in process.info["cmdline"] or ())]
    for process in orphans:
        with contextlib.suppress(psutil.Error):
            process.kill()
    deadline = time.monotonic() + END_SECONDS
    while any(_is_used(process.pid) for process in orphans) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
