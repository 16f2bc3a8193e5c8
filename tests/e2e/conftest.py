"""The starter model, imported once for all end-to-end tests."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def starter_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models that holds the imported starter model."""
    from slmstudio.core.quickstart import prepare_starter

    home = tmp_path_factory.mktemp("starter-home")
    before = os.environ.get("SLMSTUDIO_HOME")
    os.environ["SLMSTUDIO_HOME"] = str(home)
    try:
        prepare_starter()
    finally:
        if before is None:
            del os.environ["SLMSTUDIO_HOME"]
        else:
            os.environ["SLMSTUDIO_HOME"] = before
    return home / "models"


@pytest.fixture
def starter_home(studio_home: Path, starter_models: Path) -> Path:
    """An empty place for runs and settings, with the starter model in its library."""
    studio_home.mkdir(parents=True)
    (studio_home / "models").symlink_to(starter_models, target_is_directory=True)
    return studio_home


@pytest.fixture
def small_dataset(tmp_path: Path) -> Path:
    """Twenty-four rows of the starter data."""
    from slmstudio.core import paths

    lines = paths.starter_train_file().read_text(encoding="utf-8").splitlines()
    rows = sorted(lines, key=lambda line: len(json.loads(line)["output"]))[:24]
    file = tmp_path / "small.jsonl"
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return file
