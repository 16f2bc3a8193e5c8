"""Scores, models and states of an evaluation in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QCoreApplication

from slmstudio.core.evaluation.scores import metrics as core_metrics

METRICS = tuple(core_metrics.METRICS)
"""In the order in which they are shown."""
BENCHMARKS = ("mmlu", "arc_challenge", "arc_easy", "hellaswag", "gsm8k", "m_mmlu_hi", "global_mmlu_hi", "arc_hi",
              "hellaswag_hi", "indicparam")
"""Those that are named; the harness knows more."""


def tr(text: str) -> str:
    return QCoreApplication.translate("EvaluationWords", text)


def metric_label(metric: str) -> str:
    """A score's name, as the field writes it."""
    return {"chrf": "chrF++", "bleu": "BLEU", "rouge_l": "ROUGE-L", "exact": tr("Exact match"),
            "normalised": tr("Normalised match"), "numeric": tr("Right number"), "pattern": tr("Pattern met"),
            "bleu_intl": tr("BLEU (international)"), "accuracy": tr("Accuracy"),
            "accuracy_norm": tr("Accuracy, by length"), "loss": tr("Loss"), "perplexity": tr("Perplexity"),
            }.get(metric, metric)


def metric_help(metric: str) -> str:
    return {
        "chrf": tr("How many letters and words the answer shares with the reference (chrF++), 0 to 100. The score to "
                   "trust for Indian languages."),
        "pattern": tr("Answers that the row's pattern matches, in %."),
        "bleu_intl": tr("BLEU with the punctuation of every script told from words, 0 to 100."),
        "bleu": tr("Shared runs of up to four words (BLEU), 0 to 100."),
        "rouge_l": tr("The longest sequence of words in common (ROUGE-L), 0 to 100."),
        "exact": tr("Answers equal to the reference letter by letter, in %."),
        "normalised": tr("Answers equal to the reference but for case, punctuation and the script of digits, in %."),
        "numeric": tr("Answers that end with the reference's number, in %."),
        "accuracy": tr("Questions whose right choice the model holds for the likeliest, in %."),
        "accuracy_norm": tr("The same, with each choice's likelihood divided by its length, in %."),
        "loss": tr("How surprised the model is by a token of the reference. Lower is better."),
        "perplexity": tr("Among how many equally likely tokens it would have to choose. Lower is better."),
    }.get(metric, "")


def figure(metric: str, value: float | None) -> str:
    """A score as it is written: percentages and points with one decimal, a loss with two.

    >>> figure("chrf", 52.44), figure("loss", 1.2345), figure("perplexity", 1234.5), figure("bleu", None)
    ('52.4', '1.23', '1,234.5', '—')
    """
    if value is None or not math.isfinite(value):
        return "—"
    text = f"{value:.2f}" if metric == "loss" else f"{value:,.1f}"
    return text.replace("-", "−")


def interval(metric: str, score: Mapping[str, Any]) -> str:
    """The 95 % interval of a score: "49.1–55.6"; "" without one."""
    low, high = score.get("low"), score.get("high")
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return ""
    return f"{figure(metric, low)}–{figure(metric, high)}"


def model_label(name: str) -> str:
    return {"base": tr("Base"), "tuned": tr("Tuned")}.get(name, name)


def benchmark_label(name: str) -> str:
    """A benchmark's name for people."""
    return {"mmlu": "MMLU", "arc_challenge": "ARC Challenge", "arc_easy": "ARC Easy", "hellaswag": "HellaSwag",
            "gsm8k": "GSM8K", "m_mmlu_hi": tr("MMLU in Hindi"), "global_mmlu_hi": tr("Global MMLU in Hindi"),
            "arc_hi": tr("ARC in Hindi"), "hellaswag_hi": tr("HellaSwag in Hindi"),
            "indicparam": tr("IndicParam (Indian languages)")}.get(name, name.replace("_", " "))


def verdict_title(comparison: Mapping[str, Any]) -> str:
    return {"better": tr("Better"), "worse": tr("Worse")}.get(str(comparison.get("verdict")), tr("Not certain"))


def verdict_kind(verdict: object) -> str:
    """The chip's kind of a verdict."""
    return {"better": "ok", "worse": "bad"}.get(str(verdict), "warn")
