"""Where things are kept.

`SLMSTUDIO_HOME` puts everything below one folder; without it each system's own places are used.
"""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The folder that holds the user's runs, models and datasets."""
    override = os.environ.get("SLMSTUDIO_HOME")
    if override:
        return Path(override)
    import platformdirs

    return Path(platformdirs.user_data_dir("slmstudio", appauthor=False))


def runs_dir() -> Path:
    return home() / "runs"


def models_dir() -> Path:
    return home() / "models"


def datasets_dir() -> Path:
    return home() / "datasets"


def chats_dir() -> Path:
    return home() / "chats"


def evaluations_dir() -> Path:
    """Evaluations of models that are no run's; those of a run lie in its own folder."""
    return home() / "evaluations"


def votes_file() -> Path:
    """Votes of blind comparisons, one JSON object a line."""
    return home() / "votes.jsonl"


def cache_dir() -> Path:
    """Rebuildable files, and the folders of short jobs."""
    return home() / "cache"


def converter_dir() -> Path:
    """The GGUF converter, kept out of site-packages: it brings a `gguf` package of its own."""
    import sys

    return Path(sys.prefix) / "converter"


def settings_file() -> Path:
    return home() / "settings.json"


def log_file() -> Path:
    return home() / "slmstudio.log"


def resources() -> Path:
    """Icons, style sheets, translations and the starter dataset, which ship with the program."""
    return Path(__file__).resolve().parent.parent.parent / "resources"


def starter_train_file() -> Path:
    return resources() / "starter" / "helpdesk_train.jsonl"


def starter_test_file() -> Path:
    return resources() / "starter" / "helpdesk_test.jsonl"
