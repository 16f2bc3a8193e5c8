"""What a run was made with, as its run.json keeps it: the versions of the packages, and hashes of what it reads."""

from __future__ import annotations

import contextlib
from pathlib import Path

from slmstudio import __version__
from slmstudio.core import files
from slmstudio.core.model.weights import fingerprint
from slmstudio.core.run.config import RunConfig

WEIGHTS = "weights"
"""Under this name run.json's hashes hold the fingerprint of the base model."""
PACKAGES = ("torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes", "tokenizers", "safetensors")
"""Their versions are in run.json: other ones may give other numbers."""


def versions() -> dict[str, str]:
    import platform  # here, since most commands need neither
    from importlib import metadata

    found = {"slmstudio": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def hashes(config: RunConfig) -> dict[str, str]:
    """SHA-256 of the files that a run learns from, of the base's configuration and tokenizer, and of samples of its
    weights, by name."""
    wanted = {name: Path(path) for name in ("train_file", "eval_file") if (path := getattr(config, name))}
    wanted |= {name: Path(config.model) / name for name in ("config.json", "tokenizer.json")}
    found = {name: files.sha256_of(path) for name, path in wanted.items() if path.is_file()}
    sampled = fingerprint(Path(config.model))
    return {**found, WEIGHTS: sampled} if sampled else found
