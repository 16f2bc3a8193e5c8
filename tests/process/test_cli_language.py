"""The terminal in another language: its help, its errors and its tables. What programs read stays as it is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DEVANAGARI = re.compile(r"[\u0900-\u097f]{2,}")
ENGLISH_OF_TYPER = ("Usage", "Options", "Arguments", "Commands", "Show this", "[required]", "[default", "Missing")


@pytest.fixture
def slmstudio(tmp_path: Path):
    def run(*words: str, language: str = "hi", status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "slmstudio", *words], capture_output=True, text=True, encoding="utf-8",
            cwd=tmp_path, env={**os.environ, "SLMSTUDIO_LANGUAGE": language, "SLMSTUDIO_HOME": str(tmp_path / "home"),
                               "PYTHONUTF8": "1", "COLUMNS": "100"}, timeout=120, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return run


def test_help_speaks_hindi(slmstudio) -> None:
    for words in (("--help",), ("plan", "--help"), ("models", "get", "--help")):
        said = slmstudio(*words).stdout
        assert "इस्तेमाल: " in said and " विकल्प " in said and "यह मदद दिखाएँ" in said
        assert [each for each in ENGLISH_OF_TYPER if each in said] == []
        # Every explanation, whatever its command or option is called.
        rows = [line for line in said.splitlines() if re.match(r"│ +(\* +)?[a-z-]{3,} .*[A-Za-z]{3}", line)]
        assert rows and [line for line in rows if not DEVANAGARI.search(line)] == []


def test_errors_speak_hindi_and_json_keeps_its_keys(slmstudio) -> None:
    assert "गड़बड़ी: “plam” नाम की कोई कमांड नहीं है। क्या आपका मतलब यह था: plan" in slmstudio("plam", status=2).stderr
    for words in (("plan", "--json"), ("plan", "--modle", "x", "--json"), ("chat", "x.gguf", "--seed", "y", "--json")):
        done = slmstudio(*words, status=2)
        assert "गड़बड़ी: " in done.stderr
        error = json.loads(done.stdout.splitlines()[-1])["error"]
        assert DEVANAGARI.search(error["what"]) and {"what", "why", "remedy", "problems"} <= error.keys()
    found = json.loads(slmstudio("runs", "--json").stdout)
    assert found == json.loads(slmstudio("runs", "--json", language="en").stdout) == {"runs": [], "unreadable": []}


def test_a_language_that_is_not_there_is_english(slmstudio) -> None:
    assert "Usage: " in slmstudio("queue", "--help", language="xx").stdout
