"""What the tests of installing share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def nobodys_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's own environment and Python stay out of it."""
    for name in ("SLMSTUDIO_ENVIRONMENT", "SLMSTUDIO_PYTHON"):
        monkeypatch.delenv(name, raising=False)
