"""Whether the chat engine is there: llama-cpp-python, which also writes, proves and reads GGUF files.

The setup may end without it, where no wheel fits the machine and nothing can be compiled. Everything else works then.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from slmstudio.core import program
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

NOTE = "chat-engine.txt"
"""In the environment: a sentence of the setup on why the engine is missing."""

BUILD_NOTE = "chat-device.json"
"""In the environment: what the setup chose for the engine to compute on."""


@dataclass(frozen=True)
class Build:
    """What the engine was built for, as the setup says it.

    Attributes:
        choice: what a user asked for, one of `chat.devices.CHOICES`.
        device: what it was built for beside the processor, "vulkan" or "cuda"; "cpu" for nothing, or where the card's
            driver crashes.
        reason: sentences on why it is no better build; "" where it is the best.
    """

    choice: str = "auto"
    device: str = "cpu"
    reason: str = ""


def build() -> Build:
    """What the setup has chosen; an environment that was made otherwise has the plain build."""
    try:
        return Build(**json.loads((Path(sys.prefix) / BUILD_NOTE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return Build()


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
