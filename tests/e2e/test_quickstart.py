"""The quickstart as a newcomer runs it: the starter model learns, is exported, and the export is proven."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from report_checks import CountingProxy, Page, cut_rows, open_in_browser, untold

from slmstudio.core.report import pdf
from slmstudio.core.report.page import write_report

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_a_first_run_learns_and_its_export_equals_it(starter_home, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "slmstudio", "quickstart", "--out", str(tmp_path / "first"), "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(result, ensure_ascii=False, indent=1))

    assert result["eval_loss_after"] <= 0.75 * result["eval_loss_before"]
    assert result["chrf_after"] > result["chrf_before"]
    assert result["train_loss_last"] < result["train_loss_first"]
    parity = result["parity"]
    assert (parity["passed"], parity["failures"]) == (True, [])
    assert parity["token_ids_equal"] and parity["prompts"] >= 50
    assert parity["nmse"] < 1e-4 and parity["top1"] >= 0.99
    assert Path(result["gguf"]).stat().st_size == result["gguf_bytes"]
    assert any("DEVANAGARI" in unicodedata.name(char, "") for char in result["reply"]), "it was asked in Hindi"
    run = Path(result["run_dir"])
    assert {"run.json", "events.jsonl", "outcome.json", "adapter", "checkpoints", "exports"} <= {
        path.name for path in run.iterdir()
    }
    check_report(run, tmp_path)


def check_report(run: Path, tmp_path: Path) -> None:
    """Its report says every figure, fetches nothing, and prints without a cut row."""
    page = write_report(run)
    html = page.read_text("utf-8")
    assert untold(run, Page(html).text) == []
    if not pdf.browsers():
        return
    proxy = CountingProxy()
    open_in_browser(page, proxy, tmp_path / "report.png")
    proxy.close()
    assert proxy.requests == []
    if shutil.which("pdftotext"):
        assert cut_rows(html, write_report(run, tmp_path / "report.pdf")) == []
