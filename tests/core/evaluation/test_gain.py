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


def evaluated(tmp_path: Path, tuned: int = 40, **kept: int) -> dict[str, Any]:
    """Scores of a base with 12 right numbers, a tuned model with `tuned`, exports with so many right, and of a file
    from elsewhere; "beside" is the adapter beside a file of the base."""
    exports = tmp_path / "run" / "exports"
    exports.mkdir(parents=True, exist_ok=True)
    models: list[dict[str, Any]] = [{"name": "base", "model": "m"}, {"name": "tuned", "model": "m", "adapter": "a"}]
    for name in kept:
        (exports / f"{name}.gguf").write_bytes(b"x")
        models.append({"name": name, "gguf": str(exports / f"{name}.gguf")} if name != "beside" else
                      {"name": name, "gguf": str(tmp_path / "base.gguf"), "adapter": str(exports / "r-lora.gguf")})
    models.append({"name": "another", "gguf": str(tmp_path / "another.gguf")})
    items = [{"id": i, "line": i + 1, "kind": "number", "messages": [{"role": "user", "content": f"{i}?"}],
              "references": [str(i)]} for i in range(ROWS)]
    answers = [[{"id": i, "answer": str(i) if i < right else "none", "tokens": 5, "seconds": 0.5, "finish": "stop",
                 "reference_nats": [1.0], "reference_tokens": [1], "skipped": None} for i in range(ROWS)]
               for right in (12, tuned, *kept.values(), 3)]
    folder = scored_jobs.write(tmp_path / "run" / "jobs" / "evaluate-1", items, *answers, models=models,
                               train_run=str(tmp_path / "run"))
    return scoring.score(folder)


def test_a_share_is_the_part_of_the_gain_that_is_left(tmp_path):
    scores = evaluated(tmp_path, Q8_0=40, Q4_K_M=33, Q2_K=5, beside=38)
    found = {each.name: each for each in gain.shares(scores)}
    assert {name: each.share for name, each in found.items()} == pytest.approx(
        {"Q8_0": 1.0, "Q4_K_M": 21 / 28, "Q2_K": -7 / 28, "beside": 26 / 28}, abs=1e-5), "no file from elsewhere"
    assert (found["Q8_0"].low, found["Q8_0"].high) == (1.0, 1.0), "the same answers, so all of it"
    assert found["beside"].beside and found["Q4_K_M"].tokens_per_second == pytest.approx(8.0)
    assert gain.sentence(scores) == ("Share of the gain over the base that is kept (Correct number): Q8_0 100%, "
                                     "Q4_K_M 75%, Q2_K -25%, beside 93%.")
    run = tmp_path / "run"
    assert gain.by_type(gain.of_run(run))["Q8_0"] == (1.0, 1.0) and len(gain.of_run(run)) == 3
    os.utime(run / "exports" / "Q8_0.gguf", (4e9, 4e9))
    assert "Q8_0" not in gain.by_type(gain.of_run(run)), "it was exported again since"


def test_its_interval_is_that_of_drawing_the_rows_again(tmp_path):
    """Fieller's interval, held against the percentiles of plain resampling."""
    [found] = gain.shares(evaluated(tmp_path, Q4_K_M=33))
    right = np.array([[i < count for i in range(ROWS)] for count in (12, 40, 33)], dtype=float)
    drawn = right[:, np.random.default_rng(0).integers(0, ROWS, (20_000, ROWS))].mean(-1)
    bounds = np.percentile((drawn[2] - drawn[0]) / (drawn[1] - drawn[0]), [2.5, 97.5])
    assert [found.low, found.high] == pytest.approx(list(bounds), abs=0.04)


@pytest.mark.parametrize("tuned", [13, 2], ids=["not clear", "worse"])
def test_there_is_no_share_of_a_gain_that_is_not_clear(tmp_path, tuned):
    scores = evaluated(tmp_path, tuned, Q4_K_M=12)
    assert gain.shares(scores) == gain.table(scores)[1] == [] and "isn't clearly better" in gain.sentence(scores)
    assert gain.sentence({}) == ""
