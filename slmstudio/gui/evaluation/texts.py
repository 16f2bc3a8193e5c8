"""Scores, models and states of an evaluation in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.i18n import number_text, ptr, tr

BENCHMARKS = ("mmlu", "arc_challenge", "arc_easy", "hellaswag", "gsm8k", "m_mmlu_hi", "global_mmlu_hi", "arc_hi",
              "hellaswag_hi", "indicparam")
"""Those that have a name here; the harness knows more."""


def metric_label(metric: str) -> str:
    """A score's name, as the field writes it."""
    return tr(METRICS[metric].label) if metric in METRICS else metric


def metric_help(metric: str) -> str:
    return tr(METRICS[metric].help) if metric in METRICS else ""


def figure(metric: str, value: float | None) -> str:
    """A score as it is written: percentages and points with one decimal, a loss with two.

    >>> figure("chrf", 52.44), figure("loss", 1.2345), figure("perplexity", 1234.5), figure("bleu", None)
    ('52.4', '1.23', '1,234.5', '—')
    """
    if value is None or not math.isfinite(value):
        return "—"
    text = f"{value:.2f}" if metric == "loss" else number_text(value, ",.1f")
    return text.replace("-", "−")


def interval(metric: str, score: Mapping[str, Any]) -> str:
    """The 95% interval of a score: "49.1–55.6"; "" without one."""
    low, high = score.get("low"), score.get("high")
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return ""
    return f"{figure(metric, low)}–{figure(metric, high)}"


def model_label(name: str) -> str:
    return {"base": ptr("model", "Base"), "tuned": ptr("model", "Tuned")}.get(name, name)


def benchmark_label(name: str) -> str:
    """A benchmark's name for people."""
    return {"mmlu": "MMLU", "arc_challenge": "ARC Challenge", "arc_easy": "ARC Easy", "hellaswag": "HellaSwag",
            "gsm8k": "GSM8K", "m_mmlu_hi": tr("MMLU in Hindi"), "global_mmlu_hi": tr("Global MMLU in Hindi"),
            "arc_hi": tr("ARC in Hindi"), "hellaswag_hi": tr("HellaSwag in Hindi"),
            "indicparam": tr("IndicParam (Indian languages)")}.get(name, name.replace("_", " "))


def verdict_kind(verdict: object) -> str:
    """The kind of chip for a verdict."""
    return {"better": "ok", "worse": "bad"}.get(str(verdict), "warn")
