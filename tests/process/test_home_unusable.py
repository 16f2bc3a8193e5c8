"""A home that can't be made or written: every command ends with a sentence, none asks for a report."""

from __future__ import annotations

import os
import sys

import pytest
from support.report_run import ReportRun
from support.tiers import first_fast

from slmstudio.cli import commands

pytestmark = [pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at Linux's own way")]
HOMES = {"a file": "/etc/hostname", "where nobody may write": "/sys/home", "in a file": "/etc/hostname/home",
         "where there is nothing": "/proc/home"}


@pytest.mark.parametrize("home", first_fast(HOMES, 2))
def test_every_command_says_so(tiny_model, rows_file, tmp_path, monkeypatch, capsys, home) -> None:
    run = ReportRun(tmp_path / "runs").folder
    out = tmp_path / "out.json"
    monkeypatch.setenv("SLMSTUDIO_HOME", HOMES[home])
    settled = [("runs",), ("queue", "list"), ("place",), ("models", "list"), ("data", "check", rows_file),
               ("data", "convert", rows_file, "--out", tmp_path / "rows2.jsonl"), ("report", run),
               ("plan", "--model", tiny_model, "--data", rows_file, "--out", out), ("estimate", "--model", tiny_model)]
    needing = [("train", out), ("queue", "add", out), ("fit-check", out), ("models", "import", tiny_model),
               ("models", "import", "--starter", "smollm2-135m"), ("export", tiny_model), ("queue", "run"),
               ("evaluate", tiny_model, "--test", rows_file), ("models", "get", "owner/name"),
               ("models", "token", "--set"), ("chat", out), ("serve", out)]
    for words in (*settled, *needing):
        status = commands.main([*map(str, words)])
        error = capsys.readouterr().err
        assert status in (0, 2), (words, error)
        assert "Traceback" not in error and "SLM Studio itself" not in error, (words, error)
        assert status == 0 or error.strip(), words
        assert status == 2 or words in settled or words[0] in ("models", "queue"), (words, error)
    assert os.path.lexists(HOMES[home]) == (home == "a file")
