"""Whether the chat engine is there: llama-cpp-python, which also writes, proves and reads GGUF files.

The setup may end without it, where no wheel fits the machine and nothing can be compiled. Everything else works then.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

from slmstudio.core import program
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

NOTE = "chat-engine.txt"
"""In the environment: a sentence of the setup on why the engine is missing."""
BACKENDS = {"cpu": "CPU", "cuda": "CUDA", "vulkan": "Vulkan", "metal": "Metal"}
"""By the name of their library."""


def build() -> dict[str, str]:
    """What the setup built the engine for: "choice" of the user, "device" ("cpu" where the card's driver crashes), and
    "reason" why it isn't a better one; empty in an environment that was made otherwise."""
    try:
        return dict(json.loads((Path(sys.prefix) / "chat-device.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def backends() -> list[str]:
    """What the engine was built with: there is a library beside it for each."""
    found = importlib.util.find_spec("llama_cpp") if trouble() is None else None
    files = [path.name for folder in (found and found.submodule_search_locations) or ()
             for path in Path(folder, "lib").glob("*ggml-*")]
    return [name for key, name in BACKENDS.items() if any(f"ggml-{key}" in file for file in files)]


def trouble() -> UserError | None:
    """Why there is no chat engine, and how to get it; None if there is one. It is looked for, not imported."""
    try:
        found = importlib.util.find_spec("llama_cpp")
    except ImportError:
        found = None
    if found is not None:
        return None
    return UserError(tr("The chat engine llama.cpp isn't set up, so chat and GGUF files are switched off."), _reason(),
                     tr("To set it up, run: {command}", command=program.setup_command()))


def need() -> None:
    """Raises UserError: there is no chat engine."""
    missing = trouble()
    if missing is not None:
        raise missing


def _reason() -> str:
    try:
        text = (Path(sys.prefix) / NOTE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    return " ".join(text.split()) or tr("The package llama-cpp-python is missing from the program's environment.")
