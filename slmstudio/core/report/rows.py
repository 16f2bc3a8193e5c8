"""The rows of an evaluation that gained most and lost most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slmstudio.core.report.evaluations import LOWER_IS_BETTER, METRICS, SHOWN_ROWS, Evaluation
from slmstudio.core.report.text import Cut, shortened

EARLIER_TURNS = 600
"""Characters that are shown of what was said before the question."""


@dataclass(frozen=True)
class ShownRow:
    """One row as the page shows it.

    Attributes:
        where: "line 12", with category and language where they are known.
        before: the turns before the question, or empty.
        references: good answers.
        answers: (name of a model, its score in words, its answer).
        change: in words, as "+31.2".
    """

    where: str
    before: Cut
    question: Cut
    references: list[Cut]
    answers: list[tuple[str, str, Cut]]
    change: str


@dataclass(frozen=True)
class Ranking:
    """Best and worst rows.

    Attributes:
        title: by what they are ranked.
        note: why there are none, or "".
    """

    title: str
    best: list[ShownRow]
    worst: list[ShownRow]
    note: str = ""


def rank(evaluation: Evaluation, rows: Sequence[Any]) -> Ranking:
    """Ten best and ten worst rows, by the gain of the model in question over the one it is held against.

    Args:
        rows: `core.evaluation.scoring.Row`s.
    """
    metric, pair = evaluation.main_metric, evaluation.pair
    names = list(pair) if pair else [str(model.get("name")) for model in evaluation.models[:1]]
    if metric is None or not names:
        return Ranking("", [], [], "No row has a score.")
    gains = [(_gain(row, names, metric), row) for row in rows]
    ranked = sorted((each for each in gains if math.isfinite(each[0])), key=lambda each: -each[0])
    if not ranked:
        return Ranking("", [], [], "No row has a score of its own.")
    count = min(SHOWN_ROWS, (len(ranked) + 1) // 2)
    worst = list(reversed(ranked))[: min(count, len(ranked) - count)]
    label = METRICS.get(metric, metric).split(",")[0].rstrip(" ↓")
    how = f"by the gain of {names[0]} over {names[1]} in {label}" if len(names) > 1 else f"by {label} of {names[0]}"
    shown = [[_shown(row, gain, list(reversed(names)), metric) for gain, row in part]
             for part in (ranked[:count], worst)]
    return Ranking(how, shown[0], shown[1])


def _gain(row: Any, names: list[str], metric: str) -> float:
    """How much better the first model's answer is than the second one's; NaN where a score is missing."""
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    found = [(row.scores.get(name) or {}).get(metric) for name in names]
    scores = [float(score) for score in found if isinstance(score, int | float)]
    if len(scores) < len(names):
        return math.nan
    return sign * (scores[0] - (scores[1] if len(scores) > 1 else 0.0))


def _shown(row: Any, gain: float, names: list[str], metric: str) -> ShownRow:
    parts = [f"line {row.line:,}" if isinstance(row.line, int) else f"row {row.id}", row.category, row.language,
             "also in the training rows" if row.trained_on else None]
    earlier = "\n".join(f"{turn.get('role')}: {turn.get('content')}" for turn in row.messages[:-1])
    question = str(row.messages[-1].get("content")) if row.messages else ""
    answers = [(name, _score(row, name, metric), shortened(str(row.answers.get(name) or ""))) for name in names]
    change = f"{gain:+,.1f}".replace("-", "−") if len(names) > 1 else ""
    return ShownRow(" · ".join(str(part) for part in parts if part), shortened(earlier, EARLIER_TURNS),
                    shortened(question), [shortened(str(text)) for text in row.references], answers, change)


def _score(row: Any, name: str, metric: str) -> str:
    value = (row.scores.get(name) or {}).get(metric)
    return f"{value:,.1f}" if isinstance(value, int | float) and math.isfinite(value) else "–"
