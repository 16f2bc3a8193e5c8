"""The command that measures a card keeps what it has, whatever a row does. Its rows need a card; some run dry."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
GPU = ROOT / "tests" / "bench" / "gpu.py"
sys.path.append(str(GPU.parent))

import gpu  # noqa: E402

WORKER = """
import os, pathlib, subprocess, sys, time
place = pathlib.Path(sys.argv[-1]) / "runs"
place.mkdir()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], cwd=place, start_new_session=True)
(pathlib.Path(sys.argv[1]) / "pid").write_text(str(child.pid))
time.sleep(600)
"""


def row(name: str, code: str, seconds: float = 60.0, *words: str) -> gpu.Row:
    return gpu.Row(name, name, seconds, [sys.executable, "-c", code, *words])


def has_ended(pid: int) -> bool:
    """Whether a process was ended, be it that nobody has taken note of its end yet."""
    try:
        process = psutil.Process(pid)
        return psutil.STATUS_ZOMBIE in (process.status(), psutil.wait_procs([process], 10) and process.status())
    except psutil.NoSuchProcess:
        return True


def test_a_row_that_hangs_or_crashes_costs_itself_alone(tmp_path):
    passed = f"print({gpu.MARK!r} + '{{\"state\": \"passed\", \"figures\": {{\"a\": 1}}, \"why\": \"\"}}')"
    rows = [row("hangs", WORKER, 3.0, str(tmp_path)), row("crashes", "import os; os.abort()"),
            row("says", "raise SystemExit('no such kernel')"), row("works", passed)]
    found: list[dict] = []
    gpu.run_all(rows, tmp_path, 600.0, found.append)
    assert [(each["row"], each["state"]) for each in found] == [
        ("hangs", "timed out"), ("crashes", "failed"), ("says", "failed"), ("works", "passed")]
    assert found[2]["why"] == "no such kernel" and found[3]["figures"] == {"a": 1}
    assert has_ended(int((tmp_path / "pid").read_text()))
    assert not list((tmp_path / "work").iterdir())


def test_rows_for_which_no_time_is_left_are_named(tmp_path):
    found: list[dict] = []
    gpu.run_all([row("late", "pass")], tmp_path, 0.0, found.append)
    assert [each["state"] for each in found] == ["left out"] and gpu.line(found[0])


def test_the_page_keeps_what_is_known_without_a_card():
    known = gpu.known_without((ROOT / "docs" / "gpu.md").read_text("utf-8"))
    about = {"card": "Test card", "capability": "8.6", "memory_gb": 12, "torch": "2.13", "date": "2026-12-01"}
    result = {"row": "a", "title": "A | B", "state": "failed", "seconds": 1.0, "figures": {}, "why": "x"}
    text = gpu.page(about, [result], known)
    assert "Test card" in text and "| A" in text and gpu.known_without(text) == known


def dry(*words: str) -> tuple[int, dict[str, dict]]:
    done = subprocess.run([sys.executable, str(GPU), "--dry", *words], capture_output=True, text=True, cwd=ROOT)
    columns = [re.split(r"\s{2,}", line) for line in done.stdout.splitlines()]
    return done.returncode, {row: state for state, row, *_ in columns}


def test_rows_of_a_card_are_left_out_on_the_processor(tmp_path):
    kept = tmp_path / "rows.jsonl"
    status, states = dry("--only", "grouped", "--rows", str(kept))
    assert (status, states) == (0, {"grouped": "left out"})
    assert [json.loads(line)["row"] for line in kept.read_text("utf-8").splitlines()] == ["grouped"]


def test_without_a_card_it_says_so():
    done = subprocess.run([sys.executable, str(GPU), "--first"], capture_output=True, text=True, cwd=ROOT,
                          env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 2 and gpu.NO_CARD in done.stderr


@pytest.mark.full
def test_every_row_runs_dry(tmp_path):
    status, states = dry("--minutes", "30")
    assert status == 0 and len(states) == 20 and list(states.values()).count("passed") >= 6, states
