"""The share of the gain over the base that each export keeps: as computed by hand, and no more than the rows carry."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import scored_jobs

from slmstudio.core.evaluation import gain, scoring

ROWS = 60


def evaluated(tmp_path: Path, kept: dict[str, int], tuned: int = 40) -> dict[str, Any]:
    """Scores of a base with 12 right numbers, a tuned model with `tuned`, and exports with so many right."""
    exports = tmp_path / "run" / "exports"
    exports.mkdir(parents=True, exist_ok=True)
    models: list[dict[str, Any]] = [{"name": "base", "model": "m"}, {"name": "tuned", "model": "m", "adapter": "a"}]
    for name in kept:
        path = exports / f"{name}.gguf"
        path.write_bytes(b"x" * 1000)
        lora = exports / "r-lora.gguf"
        lora.write_bytes(b"x" * 50)
        models.append({"name": name, "gguf": str(path)} if "adapter" not in name else
                      {"name": name, "gguf": str(tmp_path / "base.gguf"), "adapter": str(lora)})
    models.append({"name": "another", "gguf": str(tmp_path / "another.gguf")})
    items = [{"id": i, "line": i + 1, "kind": "number", "messages": [{"role": "user", "content": f"{i}?"}],
              "references": [str(i)]} for i in range(ROWS)]
    answers = [[{"id": i, "answer": str(i) if i < right else "none", "tokens": 5, "seconds": 0.5, "finish": "stop",
                 "reference_nats": [1.0], "reference_tokens": [1], "skipped": None} for i in range(ROWS)]
               for right in (12, tuned, *kept.values(), 3)]
    folder = scored_jobs.write(tmp_path / "run" / "jobs" / "evaluate-1", items, *answers, models=models,
                               train_run=str(tmp_path / "run"))
    scoring.score(folder)
    found = scoring.read_scores(folder)
    assert found is not None
    return found


def test_a_share_is_the_part_of_the_gain_that_is_left(tmp_path):
    scores = evaluated(tmp_path, {"Q8_0": 40, "Q4_K_M": 33, "Q2_K": 5, "Q4_K_M + adapter": 38})
    found = {each.name: each for each in gain.shares(scores)}
    assert {name: each.share for name, each in found.items()} == pytest.approx(
        {"Q8_0": 1.0, "Q4_K_M": 21 / 28, "Q2_K": -7 / 28, "Q4_K_M + adapter": 26 / 28}, abs=1e-5), "no other file"
    assert (found["Q8_0"].low, found["Q8_0"].high) == (1.0, 1.0), "the same answers, so all of it"
    assert found["Q4_K_M"].size_bytes is None, "that file is no GGUF; its size says nothing"
    assert found["Q4_K_M"].low < 21 / 28 < found["Q4_K_M"].high < 1
    assert found["Q4_K_M + adapter"].beside and not found["Q4_K_M"].beside
    assert found["Q4_K_M"].tokens_per_second == pytest.approx(8.0)


def test_its_interval_is_that_of_drawing_the_rows_again(tmp_path):
    """Fieller's interval, held against the percentiles of plain resampling."""
    [found] = gain.shares(evaluated(tmp_path, {"Q4_K_M": 33}))
    right = np.array([[i < count for i in range(ROWS)] for count in (12, 40, 33)], dtype=float)
    drawn = right[:, np.random.default_rng(0).integers(0, ROWS, (20_000, ROWS))].mean(-1)
    low, high = np.percentile((drawn[2] - drawn[0]) / (drawn[1] - drawn[0]), [2.5, 97.5])
    assert (found.low, found.high) == (pytest.approx(low, abs=0.04), pytest.approx(high, abs=0.04))


def test_there_is_no_share_of_a_gain_that_is_not_clear(tmp_path):
    scores = evaluated(tmp_path, {"Q4_K_M": 12}, tuned=13)
    assert gain.shares(scores) == [] and "isn't clearly better" in gain.sentence(scores)
    assert gain.shares(evaluated(tmp_path, {"Q4_K_M": 5}, tuned=2)) == [], "worse is no gain either"
    assert gain.sentence({}) == "" and gain.table({})[1] == []


def test_the_two_ways_to_four_bits_are_compared_and_both_are_in_the_table(tmp_path, monkeypatch):
    scores = evaluated(tmp_path, {"Q4_K_M": 33, "Q4_K_M + adapter": 38})
    for each in scores["gain"]["exports"]:
        each["type"] = "Q4_K_M"
    assert gain.sentence(scores) == (
        "Share of the gain over the base, 20.0 → 66.7 percent correct numbers, that each export keeps. The adapter "
        "beside a base in Q4_K_M keeps 93%; merged before it was quantized, 75%.")
    assert [row[:2] for row in gain.table(scores)[1]] == [
        ("Q4_K_M", gain.share_text(gain.shares(scores)[0])), ("Q4_K_M + adapter", gain.share_text(
            gain.shares(scores)[1]))]


def test_the_newest_shares_of_a_run_count_for_files_as_they_are(tmp_path):
    evaluated(tmp_path, {"Q4_K_M": 33, "Q8_0": 40})
    run = tmp_path / "run"
    assert {each.type for each in gain.of_run(run)} == {"Q4_K_M", "Q8_0"}
    assert gain.by_type(gain.of_run(run))["Q8_0"] == (1.0, 1.0)
    os.utime(run / "exports" / "Q4_K_M.gguf", (4e9, 4e9))
    assert {each.type for each in gain.of_run(run)} == {"Q8_0"}, "it was exported again since"
