"""Scores a job folder: items and answers in, scores.json out.

The same answers give the same scores, bit by bit, in whatever order and in however many attempts they were written.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import files, formats
from slmstudio.core.chat import votes
from slmstudio.core.errors import from_os_error
from slmstudio.core.evaluation import verdicts
from slmstudio.core.evaluation.answer_rows import Row, Rows, read_rows
from slmstudio.core.evaluation.comparison import Difference, compare
from slmstudio.core.evaluation.intervals import interval
from slmstudio.core.evaluation.judging import agreement, judge_summary, voted_pairs
from slmstudio.core.evaluation.metrics import METRICS, Metric, main_metric
from slmstudio.core.evaluation.score_table import ScoreTable

__all__ = ["SCORES", "Row", "row_scores", "score"]

PROTOCOL = formats.KINDS["scores"].format
SCORES = "scores.json"
JUDGE, JUDGE_VOTES = "judge.jsonl", "judge-votes.jsonl"
"""What a judge said of the models' answers; and of pairs that the user has voted on, with `VotedPair.id` as id."""

GROUPED_BY = ("category", "language", "training")
MOST_GROUPS = 100
"""With more, nothing of one group could be told from chance."""

Progress = Callable[[int, int], None]


def score(job_folder: Path | str, progress: Progress | None = None) -> dict[str, Any]:
    """Score all answers that are there, and write scores.json, whole or not at all.

    Args:
        job_folder: with request.json, items.jsonl and answers-*.jsonl.
        progress: called with (items scored, items), and at the end for each interval and comparison with all of them;
            what it raises, as at Cancel, ends the scoring.

    Raises:
        UserError: there are no items, or no answers, or the result cannot be written.
    """
    folder = Path(job_folder)
    rows = read_rows(folder)
    table = ScoreTable(len(rows.names), rows.need_intl())
    for done, (item, answers) in enumerate(rows):
        table.add(item, answers)
        if progress and done % 256 == 0:
            progress(done, len(rows))
    table.close(lambda: progress(len(rows), len(rows)) if progress else None)
    scores = _scores(folder, rows, table)
    try:
        files.write_atomically(folder / SCORES, files.dump_pretty(scores))
    except OSError as error:
        raise from_os_error(error, "write the scores") from error
    return scores


def row_scores(job_folder: Path | str) -> list[Row]:
    """All items with the answers and scores of each model, in the order of the test set.

    Raises:
        UserError: there are no items, or no answers.
    """
    return read_rows(Path(job_folder)).scored()


def _scores(folder: Path, rows: Rows, table: ScoreTable) -> dict[str, Any]:
    models = [_model(rows, table, i) for i in range(len(rows.names))]
    comparisons = _comparisons(rows.names, table)
    judge = _judge(folder)
    return {"protocol": PROTOCOL, "created": time.time(), "test": _test(rows, table), "models": models,
            "comparisons": comparisons, "group_comparisons": _group_comparisons(rows.names, table), "judge": judge,
            "remarks": _remarks(rows, table, comparisons)}


def _judge(folder: Path) -> dict[str, Any] | None:
    """What the judge said, and how far it agrees with the user's votes; None where none was asked."""
    lines = list(files.LineReader(folder / JUDGE).read())
    if not lines:
        return None
    said = judge_summary(lines)
    voted = list(files.LineReader(folder / JUDGE_VOTES).read())
    pairs = voted_pairs(votes.read()[0]) if voted else []
    return {**said, "agreement": agreement(pairs, voted) if voted else None}


def _test(rows: Rows, table: ScoreTable) -> dict[str, Any]:
    path = rows.request.get("test") or (rows.request.get("benchmark") or {}).get("data")
    digest = rows.request.get("sha256")
    if digest is None and path and Path(path).is_file():
        digest = files.sha256_of(Path(path))
    return {"path": path, "sha256": digest, "rows": len(rows), "kinds": dict(table.kinds),
            "trained_on": table.trained_on}


def _model(rows: Rows, table: ScoreTable, model: int) -> dict[str, Any]:
    groups = {f"by_{name}": {group: _group(table, model, members) for group, members in table.groups(name).items()}
              for name in GROUPED_BY}
    return {"name": rows.names[model], "rows": table.answered(model), "skipped": table.skipped[model],
            "scores": _group(table, model), **groups, "speed": table.speeds[model].to_dict()}


def _group(table: ScoreTable, model: int, members: Any = None) -> dict[str, dict[str, Any]]:
    """The scores of all rows, or of those in `members`."""
    found = {}
    for metric in METRICS.values():
        counts = table.counts(metric, model, members)
        if len(counts):
            its = interval(counts, metric)
            found[metric.key] = {"value": _rounded(its.value), "low": _rounded(its.low), "high": _rounded(its.high),
                                 "rows": its.rows}
    return found


def _comparisons(names: list[str], table: ScoreTable) -> list[dict[str, Any]]:
    """Each model against the first, score by score. Perplexity is left out: it is the loss, said otherwise."""
    found = []
    for metric in METRICS.values():
        if metric.key == "perplexity":
            continue
        pairs = [pair for model in range(1, len(names)) if (pair := _pair(metric, table, model))]
        corrected = verdicts.holm([pair.found.p for pair in pairs])
        for pair, p in zip(pairs, corrected, strict=True):
            found.append({"of": names[pair.model], "with": names[0], "metric": metric.key, **pair.said(p, len(pairs))})
    main = main_metric({each["metric"]: None for each in found}, [kind for kind, _ in table.kinds.most_common()])
    return [{**each, "main": each["metric"] == main} for each in found]


def _group_comparisons(names: list[str], table: ScoreTable) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Each model against the first in each group of `GROUPED_BY`, by the score that decides there; p is corrected for
    the number of groups and models. Left out where there is one group or more than `MOST_GROUPS`."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name in GROUPED_BY:
        groups = table.groups(name)
        if not 2 <= len(groups) <= MOST_GROUPS:
            continue
        pairs = [(group, pair) for group, members in groups.items() for model in range(1, len(names))
                 if (pair := _deciding_pair(table, model, members))]
        corrected = verdicts.holm([pair.found.p for _, pair in pairs])
        for (group, pair), p in zip(pairs, corrected, strict=True):
            found.setdefault(name, {}).setdefault(group, []).append(
                {"of": names[pair.model], "with": names[0], "metric": pair.metric.key, **pair.said(p, len(pairs))})
    return found


def _deciding_pair(table: ScoreTable, model: int, members: Any) -> _Pair | None:
    """The comparison of a group by the score that decides for most of its rows."""
    kinds = table.kinds_of(members)
    there = {key: None for key, metric in METRICS.items() if len(table.common(metric, 0, model, members))}
    metric = main_metric(there, [kind for kind, _ in kinds.most_common()])
    return _pair(METRICS[metric], table, model, members) if metric else None


@dataclass(frozen=True)
class _Pair:
    """A model's difference from the first model in one metric."""

    metric: Metric
    model: int
    of: float
    with_: float
    found: Difference
    same: str
    left_out: int

    def said(self, p: float, tests: int) -> dict[str, Any]:
        verdict = verdicts.verdict(self.metric, self.of, self.with_, self.found, p)
        sentence = verdicts.sentence(self.metric, self.of, self.with_, self.found, p, tests)
        needed = self.found.rows_needed
        open_ = verdict == verdicts.UNKNOWN and needed is not None and needed > self.found.rows
        return {"difference": _rounded(self.found.value), "low": _rounded(self.found.low),
                "high": _rounded(self.found.high), "p": p, "p_uncorrected": self.found.p, "rows": self.found.rows,
                "left_out": self.left_out, "rows_needed": needed if open_ else None, "verdict": verdict,
                "sentence": self.same or sentence}


def _pair(metric: Metric, table: ScoreTable, model: int, members: Any = None) -> _Pair | None:
    """In all rows, or in `members`."""
    common = table.common(metric, 0, model, members)
    if not len(common):
        return None
    first, second = table.counts(metric, 0, common), table.counts(metric, model, common)
    same = ""
    if table.same_as_first(metric, model, common):
        same = verdicts.SAME_ANSWERS
    elif (first == second).all():
        same = verdicts.SAME_SCORES
    return _Pair(metric, model, float(metric.score(second.sum(0))), float(metric.score(first.sum(0))),
                 compare(second, first, metric), same, table.left_out(metric, 0, model))


def _rounded(value: float) -> float | None:
    """Six digits behind the point, more than any score means; None for what has no bound."""
    return round(value, 6) if math.isfinite(value) else None


def _remarks(rows: Rows, table: ScoreTable, comparisons: list[dict[str, Any]]) -> list[str]:
    """What a reader of the scores should know beside them, in sentences."""
    found = []
    left_out = max((each["left_out"] for each in comparisons), default=0)
    if left_out:
        found.append(f"Comparisons leave out {left_out:,} of {len(rows):,} rows that one of the models did not answer.")
    if table.trained_on:
        found.append(f"{table.trained_on:,} of {len(rows):,} rows were in the training data; "
                     "a good answer to them shows memory, not skill.")
    if rows.damaged:
        found.append(f"{rows.damaged:,} damaged lines were passed over.")
    main = next((METRICS[each["metric"]].name for each in comparisons if each["main"]), None)
    if main and len({each["metric"] for each in comparisons}) > 1:
        found.append(f"Judge by {main}, which was chosen before anything was measured: of 20 scores that are equal in "
                     "truth, one differs by chance.")
    return found
