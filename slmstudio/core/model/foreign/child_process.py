"""A process that may run what came with a model: how it is started, and what it may use."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from slmstudio.core import program


def started_as(module: str) -> dict[str, Any]:
    """Arguments of `Popen` that run a module of this program."""
    return {
        "args": [sys.executable, "-P", "-m", module],
        "env": {**os.environ, "PYTHONPATH": program.search_path(program.ROOT), "PYTHONUTF8": "1",
                "TOKENIZERS_PARALLELISM": "false"},
        "creationflags": getattr(subprocess, "CREATE_NO_WINDOW", 0)}


def limit(seconds: int, memory: int) -> None:
    """Bound this process's time on the processor and, on Linux, its addresses; let it write no files.

    A lower limit of the system's own stays. Windows has none.
    """
    try:
        import resource
    except ImportError:
        return
    wanted = {resource.RLIMIT_CPU: seconds, resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0}
    if sys.platform == "linux":
        wanted[resource.RLIMIT_AS] = memory
    for what, most in wanted.items():
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
