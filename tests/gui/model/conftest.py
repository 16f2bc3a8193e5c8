"""What the tests of the Model tab share."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

FAKE_WORKER = Path(__file__).resolve().parents[2] / "support" / "fake_worker.py"


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch):
    """`play("start hang")`: the next worker is the fake one, and does this."""

    def choose(words: str) -> None:
        monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([sys.executable, str(FAKE_WORKER)]))
        monkeypatch.setenv("FAKE_WORKER", words)

    return choose
