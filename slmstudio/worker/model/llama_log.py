"""llama.cpp talks through one callback: its warnings and errors go to stderr, that is the job's worker.log."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections import deque
from typing import Any

from slmstudio.core import llama

RECENT: deque[str] = deque(maxlen=20)
"""The latest warnings and errors, oldest first: llama.cpp's Python calls raise without the reason."""

_CAUSE = re.compile(r".*?error loading model: (?:error loading model \w+: |check_tensor_dims: )*(.*)", re.DOTALL)

_WARN, _ERROR, _CONTINUED = 3, 4, 5  # ggml.h
_callback: Any = None


def install() -> None:
    """Send llama.cpp's messages to stderr and `RECENT`; call before loading a model. It imports llama_cpp.

    Raises:
        UserError: it isn't set up.
    """
    global _callback
    llama_cpp = _import()
    last_level = 0

    @llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
    def receive(level: int, text: bytes, _user_data: Any) -> None:
        nonlocal last_level
        last_level = last_level if level == _CONTINUED else level
        if last_level in (_WARN, _ERROR):
            message = text.decode("utf-8", "replace")
            sys.stderr.write(message)
            if message.strip():
                RECENT.append(message.strip())

    _callback = receive  # llama.cpp keeps only the pointer
    llama_cpp.llama_log_set(receive, ctypes.c_void_p(0))


def _import() -> Any:
    """llama_cpp, with an OpenMP whose threads wait for each other actively.

    Workers are started with the opposite (core/jobs/job.py), which suits PyTorch on a busy machine. llama.cpp's threads
    meet after every operation, some hundred times a token; sleeping there took two thirds of the speed. OpenMP reads
    its settings once, when it is loaded; what this process starts later gets them as they were.
    """
    llama.need()
    kept = {name: os.environ.pop(name) for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if name in os.environ}
    # Where llama.cpp gives up, it would first start a debugger to print where it was; that can take long.
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    try:
        import llama_cpp
    finally:
        os.environ.update(kept)
    return llama_cpp


def reason() -> str:
    """Why llama.cpp didn't load a model, as far as it said so; its last words are only that it failed."""
    causes = [found[1] for line in RECENT if (found := _CAUSE.match(line)) and "failed to load" not in found[1]]
    others = [line.partition(": ")[2] or line for line in RECENT if "failed to" not in line]
    return " ".join((causes or others or [last_error()])[0].split()).rstrip(".")


def last_error() -> str:
    """What llama.cpp last complained about, or an empty text."""
    return RECENT[-1] if RECENT else ""
