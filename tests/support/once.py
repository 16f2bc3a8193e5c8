"""What is expensive to make is made once in a session, also where pytest-xdist runs the tests in several processes."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

_base: Path | None = None


def begin(factory: pytest.TempPathFactory) -> None:
    """Let what is made lie in the session's own temporary folder, which all its processes know."""
    global _base
    own = factory.getbasetemp()
    _base = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name`, filled by `make(folder)` in whichever process asks for it first. No test may change it."""
    global _base
    if _base is None:  # no test, but a benchmark
        _base = Path(tempfile.mkdtemp(prefix="slmstudio-tests-"))
        atexit.register(shutil.rmtree, _base, ignore_errors=True)
    folder, complete = _base / name, _base / f"{name}.complete"
    with FileLock(_base / f"{name}.lock"):
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            complete.touch()
    return folder
