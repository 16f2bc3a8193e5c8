"""Two runs, and in what words they differ."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from slmstudio.core.report.compare import Side, difference_text

CONFIG = {"name": "any", "train_file": "/data/rows.jsonl", "learning_rate": 2e-4, "epochs": 3.0, "lora_rank": 16,
          "seed": 42, "model": "/models/qwen", "max_length": 1024}


@dataclass(frozen=True)
class Evaluated:
    scores: dict[str, Any]
    request: dict[str, Any] = field(default_factory=lambda: {"seed": 0})
    folder: Path = Path("e")
    created: float = 0.0


def scored(value: float, margin: float = 1.0, digest: str = "a", metric: str = "chrf") -> Evaluated:
    score = {"value": value, "low": value - margin, "high": value + margin}
    return Evaluated({"test": {"sha256": digest, "rows": 9},
                      "models": [{"name": "base", "scores": {metric: {"value": 1.0}}},
                                 {"name": "tuned", "scores": {metric: score}}],
                      "comparisons": [{"metric": metric, "main": True}]})


@pytest.mark.parametrize(("run", "other", "words"), [
    ({}, {}, "Nothing that is known differs."),
    ({"rows": 300}, {"rows": 150}, "It learned from twice as many rows (300 instead of 150)."),
    ({"rows": 75}, {"rows": 150}, "It learned from half as many rows (75 instead of 150)."),
    ({"rows": 12_000}, {"rows": 150}, "It learned from more rows (12,000 instead of 150)."),
    ({"rows": 149}, {"rows": 150}, "It learned from fewer rows (149 instead of 150)."),
    ({"rows": 149}, {}, "Nothing that is known differs."),
    ({"learning_rate": 1e-4}, {}, "Its learning rate was half as high (1e-4 instead of 2e-4)."),
    ({"learning_rate": 1e-4, "rows": 300, "evaluation": scored(34.2)}, {"rows": 150, "evaluation": scored(30.1)},
     "It learned from twice as many rows (300 instead of 150). Its learning rate was half as high (1e-4 instead of "
     "2e-4). Its chrF++ is 4.1 higher (34.2 instead of 30.1)."),
    ({"epochs": 4.0}, {}, "Epochs: 4 (instead of 3)."),
    ({"model": "/models/gemma"}, {}, "Base model: gemma (instead of qwen)."),
    ({"learning_rate": "2e-4, then 5e-5 from step 20"}, {},
     "Learning rate: 2e-4, then 5e-5 from step 20 (instead of 2e-4)."),
    ({"lora_rank": 8, "seed": 1, "max_length": 512, "model": "/m/gemma", "train_file": "/d/b.jsonl"}, {},
     "2 more settings differ."),
    ({"evaluation": scored(30.2)}, {"evaluation": scored(30.1)},
     "Its chrF++ is 0.1 higher (30.2 instead of 30.1). So small a difference can be chance."),
    ({"evaluation": scored(20.0)}, {"evaluation": scored(30.1)}, "Its chrF++ is 10.1 lower (20.0 instead of 30.1)."),
    ({"evaluation": scored(30.1)}, {"evaluation": scored(30.1)}, "Its chrF++ is the same (30.1)."),
    ({"evaluation": scored(30.1)}, {"evaluation": scored(40.0, digest="b")},
     "The runs were tested on different rows, so their scores can't be compared."),
    ({"evaluation": scored(30.1)}, {"evaluation": scored(40.0, metric="exact")}, "Nothing that is known differs."),
    ({"evaluation": scored(30.1)}, {}, "Nothing that is known differs.")])
def test_what_differs_is_told_in_words(run, other, words):
    def side(name: str, given: dict[str, Any]) -> Side:
        own = {key: value for key, value in given.items() if key not in ("rows", "evaluation")}
        return Side(name, {**CONFIG, "name": name, **own}, given.get("rows"), given.get("evaluation"))

    said = difference_text(side("B", run), side("A", other))
    assert said.startswith("B, compared with A: ") and said.endswith(words)
