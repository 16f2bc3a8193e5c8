"""Runs without events, crashed and damaged ones: a report that says what is missing, or a sentence."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import report_run

from slmstudio.core import files
from slmstudio.core.errors import UserError
from slmstudio.core.report.compare import compare
from slmstudio.core.report.gather import gather


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with an export that was proven and an evaluation."""
    made = report_run.finished(tmp_path)
    made.export(parity=report_run.parity())
    place = made.evaluate(scores=report_run.scores(), test="rows.jsonl", models=[{"name": "base"}, {"name": "tuned"}])
    made.items(place, [("What?", "This.", "That.", "This.")] * 3)
    return made.folder


def written(run: Path, pattern: str, text: str) -> None:
    [path] = run.glob(pattern)
    path.write_text(text, encoding="utf-8")


EVENTS = "so the steps, curves, temperatures and events aren't known."


def test_a_long_runs_events_are_read_once(run):
    outcome = run / "outcome.json"
    outcome.write_text(json.dumps({**json.loads(outcome.read_text()), "totals": {}}))
    taken = []
    with files.observed_reading(lambda path, size: taken.append(size) if path.name == "events.jsonl" else None):
        facts = gather(run)
    assert sum(taken) == (run / "events.jsonl").stat().st_size and facts.run.steps == facts.history.step > 0


def test_a_whole_run_has_no_gaps(run, page):
    text = page(run).text
    assert "is damaged" not in text and "aren't known." not in text


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda run: (run / "events.jsonl").unlink(), f"events.jsonl is missing, {EVENTS}"),
    (lambda run: (run / "events.jsonl").write_bytes(b""), f"Nothing in events.jsonl can be read, {EVENTS}"),
    (lambda run: (run / "events.jsonl").write_bytes(os.urandom(4000)), "Nothing in events.jsonl can be read"),
    (lambda run: written(run, "outcome.json", '{"state": "fin'), "outcome.json is damaged, so only the events say"),
    (lambda run: written(run, "outcome.json", '{"state": 3, "error": "x", "result": [1]}'), "The run failed"),
    (lambda run: written(run, "outcome.json", '{"state": "failed", "error": {"what": 3, "problems": [{"x": 1}]}}'),
     "It failed, and its error message is damaged."),
], ids=["no events", "empty events", "garbage", "cut outcome", "wrong outcome", "wrong error"])
def test_what_is_missing_is_said_at_the_top(run, page, spoil: Callable[[Path], Any], words):
    spoil(run)
    assert words in " ".join(page(run).text.split())
    assert len(compare([run, run]).runs) == 2


@pytest.mark.parametrize("process", ['{"pid": 4000000, "create_time": 1.0}', '{"pid": "x"}', "{}", '{"pid'])
def test_a_crashed_run_is_told_as_one(run, page, process):
    (run / "outcome.json").unlink()
    (run / "process.json").write_text(process)
    assert "The run crashed: its process ended unexpectedly." in page(run).text


@pytest.mark.parametrize(("pattern", "text", "words"), [
    ("jobs/*/scores.json", '{"models": 3}', "is damaged. Entries that made no sense are left out here: models."),
    ("jobs/*/scores.json", "[]", "is damaged"),
    ("jobs/*/scores.json", '{"models": [{"name": null, "scores": [1]}], "comparisons": [{"x": 1}], "judge": 3}',
     "left out here: models.0.scores, judge."),
    ("jobs/*/scores.json", '{"models": [{"name": "base", "scores": {}, "by_training": {"yes": 3}}]}',
     "left out here: models.0.by_training.yes."),
    ("exports/*.parity.json", '{"checks": 3}', "The proof of helpdesk-Q4_K_M.gguf is damaged"),
    ("exports/*.parity.json", '{"checks": [3, {"name": 4, "passed": "x"}]}', "checks.0, checks.1.name"),
    ("jobs/*/items.jsonl", '{"id": 0}\n{"id": "x", "messages": 3}\nnull\n{"id": 1, "messages": [1], "references": 3}\n',
     ""),
    ("jobs/*/answers-0.jsonl", '{"id": 0}\n{"id": 1, "answer": 3, "reference_nats": "x", "reference_tokens": 3}\n', ""),
    ("jobs/*/request.json", '{"models": [1, 2], "kind": "evaluate"}', ""),
])
def test_damaged_results_are_left_out_and_named(run, page, pattern, text, words):
    written(run, pattern, text)
    found = page(run).text
    assert words in " ".join(found.split())
    assert "pune helpdesk" in found
    compare([run, run])


def test_a_damaged_run_json_is_a_sentence(run, page):
    record = json.loads((run / "run.json").read_text())
    written(run, "run.json", json.dumps({**record, "hashes": [1], "versions": "x", "reasons": {"a": []}}))
    said = page(run).text
    assert "run.json is damaged" in said and all(each in said for each in ("hashes", "versions", "reasons.a"))
    written(run, "run.json", '{"name":')
    with pytest.raises(UserError, match=r"run\.json of .* is damaged"):
        page(run)


def test_events_with_values_of_any_kind(run, page):
    """Whatever stands in a field of an event, the page is made."""
    values = [None, "x", [], {}, -1, float("inf"), True, "", 10**30]
    lines = (run / "events.jsonl").read_text().splitlines()
    for seed in range(8):
        chance, spoilt = random.Random(seed), []
        for line in lines:
            event = json.loads(line)
            if chance.random() < 0.3:
                event[chance.choice([key for key in event if key not in ("protocol", "type")])] = chance.choice(values)
            spoilt += ['{"half'] if chance.random() < 0.05 else []
            spoilt.append(json.dumps(event))
        (run / "events.jsonl").write_text("\n".join(spoilt))
        assert "lines of events.jsonl are damaged" in page(run).text
