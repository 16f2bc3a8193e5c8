"""The report in a real browser and the terminal: nothing is fetched, no table row is cut by a page's end."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.report_checks import (
    CALLS_HOME,
    NO_NAMES,
    NO_PROXY,
    CountingProxy,
    cut_rows,
    needs_browser,
    needs_pdftotext,
    open_in_browser,
)
from support.report_run import BUSY, ReportRun, finished, parity, scores

from slmstudio.cli import commands, output
from slmstudio.core import units
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.scoring import score
from slmstudio.core.report import pdf
from slmstudio.core.report.gather import gather
from slmstudio.core.report.page import write_report


@pytest.fixture
def run(tmp_path: Path) -> ReportRun:
    """A run with everything, and with rows in its tables that take several lines."""
    reasons = dict.fromkeys(("seed", "optimizer", "lora_rank", "epochs", "packing", "device", "threads"), BUSY * 3)
    made = finished(tmp_path, reasons=reasons)
    for number in range(40):
        made.tell("warning", code="gpu_hot", message=f"Warning {number}: {BUSY * (1 + number % 3)}")
    made.export(parity=parity())
    place = made.evaluate(models=[{"name": "base"}, {"name": "tuned"}], test="x.jsonl")
    made.items(place, [(f"प्रश्न {n} question", "the right answer", "zzz", "the right " * 40) for n in range(30)])
    score(place)
    return made


@pytest.fixture
def proxy():
    made = CountingProxy()
    yield made
    made.close()


def corner(picture: Path) -> str:
    from PySide6.QtGui import QImage

    return QImage(str(picture)).pixelColor(3, 3).name()


@needs_browser
def test_it_opens_without_any_request_in_light_and_dark(run, tmp_path, proxy):
    from slmstudio.gui.common import theme

    page = write_report(run.folder)
    html = page.read_text("utf-8")
    assert not CALLS_HOME.search(html)
    open_in_browser(page, proxy, tmp_path / "light.png")
    open_in_browser(page, proxy, tmp_path / "dark.png", "--blink-settings=preferredColorScheme=0")
    assert proxy.requests == []
    assert (corner(tmp_path / "light.png"), corner(tmp_path / "dark.png")) == (
        theme.LIGHT["ground"], theme.DARK["ground"])
    # Even with references slipped in, its policy keeps it silent; without the policy, the proxy sees them.
    leak = '<main><img src="http://pictures.example/x.png"><script src="http://scripts.example/x.js"></script>'
    guarded, leaking = tmp_path / "guarded.html", tmp_path / "leaking.html"
    guarded.write_text(html.replace("<main>", leak), "utf-8")
    open_in_browser(guarded, proxy, tmp_path / "guarded.png")
    assert proxy.requests == []
    leaking.write_text(re.sub(r"<meta http-equiv[^>]*>", "", html).replace("<main>", leak), "utf-8")
    open_in_browser(leaking, proxy, tmp_path / "leaking.png")
    assert {"pictures.example", "scripts.example"} <= {request.split("/")[2] for request in proxy.requests}


@needs_browser
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a browser takes the system's proxy")
def test_printing_talks_to_nobody_not_even_on_the_browsers_own_errands(tmp_path, proxy, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    leaking = '<!DOCTYPE html><img src="http://pictures.example/x.png">'
    pdf.write_pdf(leaking, tmp_path / "x.pdf")
    assert proxy.everything == []
    monkeypatch.setattr(pdf, "OFFLINE", tuple(f for f in pdf.OFFLINE if f != NO_PROXY and not f.startswith(NO_NAMES)))
    pdf.write_pdf(leaking, tmp_path / "x.pdf")
    assert any("pictures.example" in request for request in proxy.requests)


@needs_browser
@needs_pdftotext
def test_the_pdf_cuts_no_row_and_repeats_the_heads_of_tables(run, tmp_path):
    printed = write_report(run.folder, tmp_path / "report.pdf")
    html = write_report(run.folder).read_text("utf-8")
    assert cut_rows(html, printed) == []
    pages = subprocess.run(["pdftotext", "-layout", printed, "-"], check=True, capture_output=True,
                           text=True).stdout.split("\f")
    with_steps = [page for page in pages if len(re.findall(r"^ *\d+ +[\d.]+ +[\d.]+ +0\.000\d+ ", page, re.M)) > 3]
    assert len(with_steps) > 1 and all(re.search(r"train\s+loss", page) for page in with_steps)
    # On short pages, as whether a page ends in the middle of a row is luck.
    careless = html.replace("break-inside: avoid", "break-inside: auto").replace(
        "</style>", "@page { size: 210mm 90mm }</style>", 1)
    pdf.write_pdf(careless, tmp_path / "careless.pdf")
    assert cut_rows(careless, tmp_path / "careless.pdf") != []


@needs_browser
def test_a_browser_that_hangs_or_fails_is_told_in_a_sentence(run, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    browser = tmp_path / "bin" / "chromium"
    monkeypatch.setattr(pdf, "browsers", lambda: [str(browser)])
    for script, words in (("exec sleep 600", "didn't finish within 0.3 seconds"),
                          ("echo no display >&2; exit 1", "Its message: no display.")):
        browser.write_text(f"#!/bin/sh\n{script}\n")
        browser.chmod(0o755)
        with pytest.raises(UserError, match=words):
            pdf.write_pdf("<p>", tmp_path / "x.pdf", seconds=0.3 if "sleep" in script else 30)
        assert not (tmp_path / "x.pdf").exists()


def test_without_a_browser_the_remedy_is_named(cli, run, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    if sys.platform != "linux":
        monkeypatch.setattr(pdf, "browsers", lambda: [])
    said = cli("report", run.folder, "--out", tmp_path / "x.pdf", "--json", status=2)
    assert "open it and print it" in said.err and '"The PDF wasn\'t created."' in said.out
    assert not (tmp_path / "x.pdf").exists()


def test_the_terminal_writes_and_compares(cli, told, run, tmp_path, capsys):
    made = told("report", run.folder)
    assert Path(made["out"]) == run.folder / "report.html" and made["bytes"] == Path(made["out"]).stat().st_size

    other = finished(tmp_path / "other", lora_rank=8, lora_alpha=16)
    accuracy = {"value": 59.1, "low": 57.0, "high": 61.0, "rows": 200}
    other.evaluate(scores={**scores(), "benchmarks": [
        {"name": "mmlu", "title": "MMLU", "models": [{"name": "tuned", "accuracy": accuracy}]}]})
    found = told("compare", run.folder, other.folder)
    differing = {each["field"]: each["values"] for each in found["differences"]}
    assert differing["lora_rank"] == [24, 8] and differing["lora_alpha"] == [48, 16] and "seed" not in differing
    first, second = found["runs"]
    assert first["eval_loss_after"] == 1.2512344666 and second["scores"]["tuned"]["chrf"]["value"] == 52.4
    assert first["tokens_per_second"] == 3431.0 and first["steps"] == 60

    shown = cli("compare", run.folder, other.folder).out
    assert "52.4 (49.2 to 55.6)" in shown and "59.1 (57.0 to 61.0)" in shown and "MMLU, tuned" in shown
    assert "Rank" in shown and "Seed" not in shown
    assert commands.main(["compare", str(run.folder)]) == 2 and "two or more" in capsys.readouterr().err
    assert "isn't a run folder" in cli("compare", run.folder, tmp_path, status=2).err


@pytest.mark.parametrize("first", [0.0, 3600.0])
def test_reading_a_long_run_is_shown(tmp_path, monkeypatch, capsys, first):
    monkeypatch.setattr(output, "FIRST_SECONDS", first)
    made = finished(tmp_path).folder
    with output.reading_shown():
        gather(made)
    said = capsys.readouterr().err.splitlines()
    assert said[:1] == ([] if first else [f"Reading events.jsonl of {made.name}: 100% of "
                                          f"{units.format_bytes((made / 'events.jsonl').stat().st_size)}. "
                                          "Ctrl-C cancels."])
