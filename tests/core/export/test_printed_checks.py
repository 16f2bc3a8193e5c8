"""The table of a proof in the terminal, in the language that is spoken."""

from __future__ import annotations

import pytest

from slmstudio.cli.exports import print_checks
from slmstudio.core import i18n
from slmstudio.core.i18n.catalogue import OPEN

PROOF = {"checks": [{"name": "tokens", "passed": False, "figure": "7 / 9", "limit": "all"},
                    {"name": "kl", "passed": True, "figure": "0.001", "limit": "under 0.01"}]}


def cells(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """Of the rows of the table, its headings first."""
    monkeypatch.setenv("COLUMNS", "300")
    print_checks("pune.gguf", PROOF)
    lines = capsys.readouterr().out.splitlines()
    return [[cell.strip() for cell in line.strip("┃│").replace("┃", "│").split("│")]
            for line in lines if line[:1] in ("┃", "│")]


def test_a_failed_check_stands_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    headings, failed, passed = cells(monkeypatch, capsys)
    assert headings == ["What was compared", "Found", "Required", "Result"]
    assert failed == ["Token ids equal", "7 / 9", "must be equal in all of them", "FAILED"]
    assert passed[-1] == "passed"


def test_the_whole_table_is_translated(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    i18n.use(i18n.PSEUDO)
    headings, failed, passed = cells(monkeypatch, capsys)
    words = [*headings, *failed[::2], failed[-1], *passed[::2], passed[-1]]
    assert [word for word in words if not word.startswith(OPEN)] == []
    assert "FÁÍLÉD" in failed[-1]
