"""Scores a job folder: items and answers in, scores.json out; and its sentences in the reader's language.

The same answers give the same scores, bit by bit, in whatever order and in however many attempts they were written.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slmstudio.core import files, formats
from slmstudio.core.errors import os_errors_as
from slmstudio.core.evaluation import answer_rows, gain, general, rivals
from slmstudio.core.evaluation.answer_rows import Row, Rows, read_rows
from slmstudio.core.evaluation.rival_models import NAMES
from slmstudio.core.evaluation.scores import judging, verdicts
from slmstudio.core.evaluation.scores.judging import agreement, judge_summary, voted_pairs
from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.evaluation.scores.score_table import ScoreTable
from slmstudio.core.evaluation.scores.statistics import interval
from slmstudio.core.evaluation.scores.verdicts import GROUPED_BY, MOST_GROUPS, rounded
from slmstudio.core.files import an_object
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.votes import store as votes

# -- What scores.json says, in the language of who reads it: its sentences are computed from the figures beside them.

State = dict[str, Any]


def retranslate(scores: State) -> State:
    """The scores with every sentence in the language that is spoken now.

    What an older program wrote without the figures for it, or what is damaged, stays as it is.
    """
    found = dict(scores)
    for key, write in _PARTS.items():
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            found[key] = write(found)
    return found


def remarks(scores: Mapping[str, Any]) -> list[str]:
    """What a reader of the scores should know beside them.

    Args:
        scores: {"test": {"rows", "trained_on", "groups": how many there are of each kind, "damaged": lines},
            "models": [{"name", "same_tokens": as the first, "rows", "speed"}], "comparisons"}, as in scores.json;
            "rows" and "speed" may be missing together.

    Raises:
        KeyError, TypeError, ValueError: they aren't whole.
    """
    test, compared, models, found = scores["test"], scores["comparisons"], scores["models"], []
    if left_out := max((each["left_out"] for each in compared), default=0):
        found.append(tr("Comparisons leave out {left_out:,} of {rows:,} rows, because one of the models didn't answer "
                        "them.", left_out=left_out, rows=test["rows"]))
    if others := [model["name"] for model in models if not model["same_tokens"]]:
        found.append(tr("The loss isn't compared: the two models split text into different tokens.")
                     if len(models) == 2 else
                     tr("The loss isn't compared with that of {first} for these models, which split text into "
                        "different tokens: {others}.", first=models[0]["name"], others=", ".join(others)))
    if test["trained_on"]:
        found.append(tr("{trained_on:,} of {rows:,} rows were in the training data. A good answer to them shows "
                        "memory, not skill.", trained_on=test["trained_on"], rows=test["rows"]))
    loops = [tr("{model}: {repeated:,} of {rows:,}", model=model["name"], repeated=repeated, rows=model["rows"])
             for model in models if (repeated := an_object(model.get("speed")).get("repeated"))]
    if loops:
        found.append(tr("Answers that repeated themselves were stopped ({counts}). A lower learning rate, fewer epochs "
                        "or more rows help a tuned model; in Chat, a repeat penalty helps any.",
                        counts=", ".join(loops)))
    main = next((METRICS[each["metric"]].name for each in compared if each["main"]), None)
    if main and len({each["metric"] for each in compared}) > 1:
        found.append(tr("Judge by {metric}, which was chosen before anything was measured: of 20 scores that are "
                        "really equal, one differs by chance.", metric=tr(main)))
    for name, count in test["groups"].items():
        if count > MOST_GROUPS:
            found.append(tr("“{column}” has {count:,} values. Only the {most} with the most rows are scored "
                            "separately, and none with a single row.", column=name, count=count, most=MOST_GROUPS))
    if test["damaged"]:
        found.append(ntr("{n:,} damaged line was skipped.", "{n:,} damaged lines were skipped.", test["damaged"]))
    return found


def with_losses(compared: list[State]) -> list[State]:
    """Where the score that decides tells nothing and the loss does, the sentence says that too: training lowers a loss
    long before the written answers are any better."""
    losses = {each["of"]: each for each in compared if each["metric"] == "loss" and each["verdict"] != verdicts.UNKNOWN}
    return [{**each, "sentence": tr("{verdict} The loss does show a difference. {loss_verdict}",
                                    verdict=each["sentence"], loss_verdict=losses[each["of"]]["sentence"])}
            if each["main"] and each["verdict"] == verdicts.UNKNOWN and each["of"] in losses else each
            for each in compared]


def _one_by_one(compared: list[State]) -> list[State]:
    return [{**each, "sentence": verdicts.sentence(each)} for each in compared]


def _groups(scores: State) -> dict[str, dict[str, list[State]]]:
    return {name: {group: _one_by_one(compared) for group, compared in groups.items()}
            for name, groups in scores["group_comparisons"].items()}


def _judge_sentences(scores: State) -> State | None:
    found = scores["judge"]
    if found is None:
        return None
    agreed = found["agreement"]
    return {**found, **judging.with_sentences(found["pairs"]),
            "agreement": {**agreed, "sentence": judging.agreement_sentence(agreed)} if agreed else None}


def _benchmarks(scores: State) -> list[State]:
    return [{**each, "sentence": benchmark_sentence(each["title"], each["comparisons"]) or each["sentence"]}
            for each in scores["benchmarks"]]


def benchmark_sentence(title: str, compared: list[State]) -> str:
    """What a benchmark says about each model against the first; "" of one that is alone."""
    several = len(compared) > 1
    return " ".join((f"{each['of']}: " if several else "") + verdicts.knowledge_sentence(title, each)
                    for each in compared)


_PARTS: dict[str, Callable[[State], Any]] = {
    "comparisons": lambda scores: with_losses(_one_by_one(scores["comparisons"])), "group_comparisons": _groups,
    "judge": _judge_sentences, "benchmarks": _benchmarks, "rivals": rivals.retranslated, "remarks": remarks}


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
    return None if found is None else retranslate(found)


def row_scores(job_folder: Path | str) -> list[Row]:
    """All items with the answers and scores of each model, in the order of the test set.

    Raises:
        UserError: there are no items, or no answers.
    """
    return read_rows(Path(job_folder)).scored()


def _scores(folder: Path, rows: Rows, table: ScoreTable) -> dict[str, Any]:
    models = [_model(rows, table, i) for i in range(len(rows.names))]
    # Rivals are a family of tests of their own: they make it no harder to show that a model is better than its base.
    others = [at for at, name in enumerate(rows.names) if at and name not in NAMES]
    compared = with_losses(verdicts.comparisons(rows.names, table, others))
    found = {"protocol": PROTOCOL, "created": time.time(), "test": _test(folder, rows, table), "models": models,
             "comparisons": compared, "group_comparisons": verdicts.group_comparisons(rows.names, table, others),
             "judge": _judge(folder)}
    if (against := rivals.compare(rows, table)) is not None:
        found["rivals"] = {**against, "sentence": rivals.sentence({"rivals": against})}
    main = next((each["metric"] for each in compared if each["main"]), None)
    besides = {gain.KEY: gain.measure(rows.request, table, main), general.KEY: general.score(folder, rows.request)}
    found |= {key: known for key, known in besides.items() if known is not None}
    return {**found, "remarks": remarks(found)}


def _judge(folder: Path) -> dict[str, Any] | None:
    """What the judge said, and how far it agrees with the user's votes; None if none was asked."""
    found = answer_rows.read_corrections(folder)
    lines = [line for line in files.LineReader(folder / JUDGE).read() if found.counts(line.get("id"))]
    if not lines:
        return None
    said = judge_summary(lines)
    voted = list(files.LineReader(folder / JUDGE_VOTES).read())
    pairs = voted_pairs(votes.of_chat()) if voted else []
    return {**said, "agreement": agreement(pairs, voted) if voted else None}


def _test(folder: Path, rows: Rows, table: ScoreTable) -> dict[str, Any]:
    path = rows.request.get("test") or (rows.request.get("benchmark") or {}).get("data")
    return {"path": path, "sha256": rows.sha256, "rows": len(rows), "rows_in_file": answer_rows.test_file_rows(folder),
            "kinds": dict(table.kinds),
            "trained_on": table.trained_on, "references_alike": table.references_alike(), "damaged": rows.damaged,
            "groups": {name: len(table.groups(name)) for name in GROUPED_BY}}


def _model(rows: Rows, table: ScoreTable, model: int) -> dict[str, Any]:
    groups = {f"by_{name}": {group: _group(table, model, members)
                             for group, members in verdicts.groups(table, name).items()} for name in GROUPED_BY}
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
