"""What the end-to-end tests share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import starter


@pytest.fixture
def starter_home(studio_home: Path) -> Path:
    """An empty place for runs and settings, with the starter model in its library."""
    studio_home.mkdir(parents=True)
    (studio_home / "models").symlink_to(starter.models(), target_is_directory=True)
    return studio_home


@pytest.fixture
def all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers have as many threads as a person's, also where several processes of tests share the cores."""
    for name in ("OMP_THREAD_LIMIT", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def small_dataset(tmp_path: Path) -> Path:
    """Twelve rows of the starter data."""
    from slmstudio.core import paths

    lines = paths.starter_train_file().read_text(encoding="utf-8").splitlines()
    rows = sorted(lines, key=lambda line: len(json.loads(line)["output"]))[:12]
    file = tmp_path / "small.jsonl"
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return file
