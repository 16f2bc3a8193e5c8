"""Two or more runs set against each other question by question of a benchmark, whose answers each has kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import benchmark_rows
from slmstudio.core.evaluation.comparability import result_name
from slmstudio.core.evaluation.scores import verdicts
from slmstudio.core.evaluation.scores.comparison import compare
from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.evaluation.scores.model_pairs import Pair
from slmstudio.core.evaluation.side import Progress, Side
from slmstudio.core.i18n import tr

Right = dict[tuple[Any, ...], float]
"""How right the answer to each question is, 0 to 1."""


def compare_questions(title: str, sides: Sequence[Side],
                      progress: Progress | None = None) -> tuple[list[dict[str, Any]], list[str]]:
    """Set the tuned model of each side against that of the first, on the questions that both were asked.

    Returns:
        Comparisons, and remarks in sentences.
    """
    read: list[tuple[str, Right]] = []
    remarks = []
    for side in sides:
        try:
            read.append((side.name, _right(side.folder, progress)))
        except UserError as error:
            remarks.append(tr("{benchmark}: the answers of {model} can't be compared one by one.", benchmark=title,
                              model=side.name) + f" {error.why}".rstrip())
    first, its = read[0] if read else ("", {})
    pairs, names = [], []
    for place, (name, others) in enumerate(read[1:], start=1):
        both = [question for question in its if question in others]
        if not both:
            remarks.append(tr("{benchmark}: {model} and {other} weren't asked any of the same questions.",
                              benchmark=title, model=name, other=first))
            continue
        names.append(name)
        pairs.append(_pair(place, [its[question] for question in both], [others[question] for question in both],
                           max(len(its), len(others)) - len(both)))
        if progress:
            progress(len(both), len(both))
    corrected = verdicts.holm([pair.found.p for pair in pairs])
    return [{"of": name, "with": first, **pair.said(p, len(pairs)), "main": True, "benchmark": title}
            for name, pair, p in zip(names, pairs, corrected, strict=True)], remarks


def _pair(place: int, first: list[float], second: list[float], left_out: int) -> Pair:
    import numpy as np

    # Some benchmarks give shares, as the probability of what is true.
    metric = replace(METRICS[benchmark_rows.METRIC], yes_or_no={*first, *second} <= {0.0, 1.0})
    counts = [np.array([[right, 1.0] for right in each]) for each in (first, second)]
    same = verdicts.SAME_SCORES if first == second else ""
    of, with_ = (float(metric.score(each.sum(0))) for each in reversed(counts))
    return Pair(metric, place, of, with_, compare(counts[1], counts[0], metric), same, left_out)


def _right(folder: Path, progress: Progress | None) -> Right:
    """Raises UserError: the answers weren't kept, or can't be read."""
    rows = benchmark_rows.read(folder, progress)
    name = result_name(list(dict.fromkeys(name for row in rows for name in row.scores)))
    seen: Counter[tuple[Any, ...]] = Counter()
    found: Right = {}
    for row in rows:
        question = (row.category, *(message["content"] for message in row.messages), *row.references)
        seen[question] += 1  # a benchmark may hold a question twice
        score = row.scores.get(name or "", {}).get(benchmark_rows.METRIC)
        if score is not None:
            found[(seen[question], *question)] = score / 100
    return found
