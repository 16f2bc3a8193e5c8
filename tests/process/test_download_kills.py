"""A download that is killed at any moment loses nothing that it has fetched, and ends in a verified model."""

from __future__ import annotations

import sys

import pytest
from support import download_trial, model_hub
from support.tiers import first_fast

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX systems")
SLACK = 2 * model_hub.PIECE
"""Bytes that a kill may find on their way."""


@pytest.mark.parametrize("kills", first_fast([2, 20]))
@pytest.mark.timeout(600)
def test_killed_at_random_moments(kills, studio_home, tmp_path, monkeypatch):
    files = model_hub.repository(tmp_path / "repository", download_trial.WIDTH)
    with model_hub.serving({download_trial.REPO: files}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1")
        hub.pace = 0.01
        report = download_trial.run(hub, kills)
    assert report.faults == []
    assert report.kills == kills and report.in_files >= kills // 2 and report.models >= 1
    assert report.size <= report.served <= report.size + kills * SLACK
