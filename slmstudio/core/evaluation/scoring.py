"""Scores a job folder: items and answers in, scores.json out.

The same answers give the same scores, bit by bit, in whatever order and in however many attempts they were written.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slmstudio.core import files, formats
from slmstudio.core.errors import os_errors_as
from slmstudio.core.evaluation import corrections, items_file
from slmstudio.core.evaluation.answer_rows import Row, Rows, read_rows
from slmstudio.core.evaluation.scores import model_pairs, sentences
from slmstudio.core.evaluation.scores.intervals import interval
from slmstudio.core.evaluation.scores.judging import agreement, judge_summary, voted_pairs
from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.evaluation.scores.model_pairs import GROUPED_BY, rounded
from slmstudio.core.evaluation.scores.score_table import ScoreTable
from slmstudio.core.i18n import tr
from slmstudio.core.votes import store as votes

__all__ = ["SCORES", "Row", "read_scores", "row_scores", "score"]

PROTOCOL = formats.KINDS["scores"].format
SCORES = "scores.json"
JUDGE, JUDGE_VOTES = "judge.jsonl", "judge-votes.jsonl"
"""What a judge said about the models' answers; and of pairs that the user has voted on, with `VotedPair.id` as id."""

Progress = Callable[[int, int], None]


def score(job_folder: Path | str, progress: Progress | None = None) -> dict[str, Any]:
    """Score all answers that are there, and write scores.json, whole or not at all.

    Args:
        job_folder: with request.json, items.jsonl and answers-*.jsonl.
        progress: called with (items scored, items), and at the end for each interval and comparison with all of them;
            what it raises, as at Cancel, ends the scoring.

    Raises:
        UserError: there are no items, or no answers, or the result can't be written.
    """
    folder = Path(job_folder)
    rows = read_rows(folder)
    table = rows.table(progress)
    scores = _scores(folder, rows, table)
    with os_errors_as(tr("Could not write the scores.")):
        files.write_atomically(folder / SCORES, files.dump_pretty(scores))
    return scores


def read_scores(job_folder: Path) -> dict[str, Any] | None:
    """What scores.json holds, with its sentences in the language that is spoken now; None if there is none.

    Raises:
        UserError: a newer program wrote it.
    """
    found = formats.read("scores", job_folder / SCORES)
    return None if found is None else sentences.retranslate(found)


def row_scores(job_folder: Path | str) -> list[Row]:
    """All items with the answers and scores of each model, in the order of the test set.

    Raises:
        UserError: there are no items, or no answers.
    """
    return read_rows(Path(job_folder)).scored()


def _scores(folder: Path, rows: Rows, table: ScoreTable) -> dict[str, Any]:
    models = [_model(rows, table, i) for i in range(len(rows.names))]
    found = {"protocol": PROTOCOL, "created": time.time(), "test": _test(folder, rows, table), "models": models,
             "comparisons": sentences.with_losses(model_pairs.comparisons(rows.names, table)),
             "group_comparisons": model_pairs.group_comparisons(rows.names, table), "judge": _judge(folder)}
    return {**found, "remarks": sentences.remarks(found)}


def _judge(folder: Path) -> dict[str, Any] | None:
    """What the judge said, and how far it agrees with the user's votes; None if none was asked."""
    found = corrections.read(folder)
    lines = [line for line in files.LineReader(folder / JUDGE).read() if found.counts(line.get("id"))]
    if not lines:
        return None
    said = judge_summary(lines)
    voted = list(files.LineReader(folder / JUDGE_VOTES).read())
    pairs = voted_pairs(votes.of_chat()) if voted else []
    return {**said, "agreement": agreement(pairs, voted) if voted else None}


def _test(folder: Path, rows: Rows, table: ScoreTable) -> dict[str, Any]:
    path = rows.request.get("test") or (rows.request.get("benchmark") or {}).get("data")
    return {"path": path, "sha256": rows.sha256, "rows": len(rows), "rows_in_file": items_file.rows(folder),
            "kinds": dict(table.kinds),
            "trained_on": table.trained_on, "references_alike": table.references_alike(), "damaged": rows.damaged,
            "groups": {name: len(table.groups(name)) for name in GROUPED_BY}}


def _model(rows: Rows, table: ScoreTable, model: int) -> dict[str, Any]:
    groups = {f"by_{name}": {group: _group(table, model, members)
                             for group, members in model_pairs.groups(table, name).items()} for name in GROUPED_BY}
    return {"name": rows.names[model], "rows": table.answered(model), "skipped": table.skipped[model],
            "same_tokens": table.same_tokens(model), "scores": _group(table, model), **groups,
            "speed": table.speeds[model].to_dict()}


def _group(table: ScoreTable, model: int, members: Any = None) -> dict[str, dict[str, Any]]:
    found = {}
    for metric in METRICS.values():
        counts = table.counts(metric, model, members)
        if len(counts):
            its = interval(counts, metric)
            found[metric.key] = {"value": rounded(its.value), "low": rounded(its.low), "high": rounded(its.high),
                                 "rows": its.rows}
    return found
