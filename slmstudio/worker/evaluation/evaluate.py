"""Lets models answer a test set, and scores the answers; or runs a benchmark of the field.

The request is described in `core.evaluation.request`. The files of the job folder:

    items.json        of which file the items are, and whether models are to think (`core.evaluation.answer_rows`)
    items.jsonl       what is asked, in the order of the file; written once
    answers-N.jsonl   what model N answered, a line an item, appended batch by batch: a killed one continues there
    general-N.jsonl   what it answered to the general questions (`core.evaluation.general`)
    scores.json       at the end
    benchmark-rows.jsonl    at the end of a benchmark: what each model chose at each question
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from slmstudio.core import files, jobs
from slmstudio.core.data.conversations import Message
from slmstudio.core.data.source import ReadingCancelled
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import answer_rows, general, scoring
from slmstudio.core.evaluation.answer_rows import ITEMS, have_thoughts
from slmstudio.core.evaluation.held_out import learned_rows
from slmstudio.core.evaluation.testset.item import TestItem, TestSet
from slmstudio.core.evaluation.testset.overlap import find_overlap
from slmstudio.core.evaluation.testset.reader import read_test_set
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.i18n import join_sentences, ntr, tr
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.model.facts import read_model
from slmstudio.core.model.named_templates import template_of
from slmstudio.core.model.tokens import Encoder, answer_shown, local_tokenizer
from slmstudio.core.run import measured, time_estimate
from slmstudio.core.run.time_estimate import Timing
from slmstudio.worker.answering.control import EvaluationControl, LineLog
from slmstudio.worker.answering.model_loader import Models
from slmstudio.worker.answering.rows import BROKEN, MOST_ROWS
from slmstudio.worker.evaluation.asking import Asking, answer_all, in_order, weights
from slmstudio.worker.runtime import threads
from slmstudio.worker.runtime.context import Cancelled, JobContext, running_seconds

# -- What is asked: the test set of a request, written down once, so that every attempt asks the same.

NAMED = 5
"""Problems of a test file that the warning names; all of them are counted."""


def read_items(job: JobContext) -> list[dict[str, Any]]:
    """The lines of items.jsonl; made from the test file where they aren't there yet.

    Raises:
        UserError: the test file can't be used.
        Cancelled: the user asked this job to end.
    """
    path = job.folder / ITEMS
    if not path.exists():
        try:
            items, about = _made(job)
            files.write_atomically(job.folder / answer_rows.ITEMS_FACTS, about)
            files.write_atomically(path, b"".join(map(files.dump_line, items)))
        except ReadingCancelled as error:
            raise Cancelled from error
    with open(path, "rb", opener=files.regular) as file:
        return [json.loads(line) for line in file if line.strip()]


def _made(job: JobContext) -> tuple[list[dict[str, Any]], bytes]:
    """The lines of items.jsonl, and what items.json says about them."""
    request = job.request
    path = Path(request["test"])
    job.phase("reading", path.name)
    test = read_test_set(path, lambda done, total: job.progress(done, total, "bytes", "reading"), job.cancelled,
                         request.get("test_columns"))
    _warn_problems(job, test)
    items = sample(test.items, request.get("limit"), request.get("seed") or 0)
    if request.get("train_file"):
        items = _marked(job, test, items, Path(request["train_file"]))
    items = _as_written(items, request["models"])
    about = answer_rows.items_facts(test.sha256, len(test.items),
                            have_thoughts(text for item in items for text in item.references))
    return [with_system(item.to_dict(), request.get("system")) for item in items], about


def _warn_problems(job: JobContext, test: TestSet) -> None:
    for note in test.notes:
        job.log(note)
    if test.problems:
        named = "; ".join(str(problem).rstrip(".।") for problem in test.problems[:NAMED])
        if len(test.problems) > NAMED:
            named = ntr("{names} and {n:,} more", "{names} and {n:,} more", len(test.problems) - NAMED, names=named)
        job.warn("test_problems", ntr("{n:,} row of {file} is left out: {problems}.",
                                      "{n:,} rows of {file} are left out: {problems}.", len(test.problems),
                                      file=test.path.name, problems=named))


def sample(items: list[TestItem], limit: int | None, seed: int) -> list[TestItem]:
    """`limit` items drawn by the seed, in the order of the file, numbered again; all for None."""
    if limit and limit < len(items):
        chosen = sorted(random.Random(seed).sample(range(len(items)), limit))
        items = [items[at] for at in chosen]
    return [replace(item, id=number) for number, item in enumerate(items)]


def _marked(job: JobContext, test: TestSet, items: list[TestItem], train_file: Path) -> list[TestItem]:
    """The items, with those marked that were trained on. Without the training data nothing can be said, and that is
    told."""
    job.phase("comparing with the training data", train_file.name)
    try:
        rows, sha256 = learned_rows(job.request, job.cancelled)
    except ReadingCancelled:
        raise
    except UserError as error:
        job.warn("overlap_unknown", tr("It isn't known whether the model was trained on test rows: {reason}",
                                       reason=error.what))
        return items
    found = find_overlap(items, rows, same_file=sha256 == test.sha256, cancelled=job.cancelled)
    if sentence := found.sentence():
        job.warn("overlap", sentence)
    return [replace(item, trained_on=item.id in found.ids) for item in items]


def _as_written(items: list[TestItem], models: list[dict[str, Any]]) -> list[TestItem]:
    """The items with calls of tools in their references as the first model folder is to write them, which is what its
    answer is compared with. Where there is none, or its template takes no tools, they stay as people read them."""
    first = next((model for model in models if model.get("model")), None)
    if first is None or not any(item.reply for item in items):
        return items
    tokenizer = local_tokenizer(first["model"])
    template = template_of(first["model"], first.get("chat_template") or "", first.get("adapter"))
    if not template.takes_tools():
        return items
    return [replace(item, references=(_written(item, item.reply, tokenizer, template),)) if item.reply else item
            for item in items]


def _written(item: TestItem, reply: Message, tokenizer: Encoder, template: ChatTemplate) -> str:
    try:
        return answer_shown([*item.messages, reply], tokenizer, template, item.tools)
    except UserError:  # the row is skipped when it is asked, with the reason
        return item.references[0]


def with_system(item: dict[str, Any], system: str | None) -> dict[str, Any]:
    """The item with a system prompt before its messages, unless it has its own."""
    if not system or item["messages"][0]["role"] == "system":
        return item
    return {**item, "messages": [{"role": "system", "content": system}, *item["messages"]]}


MAX_NEW_TOKENS = 256


def run(job: JobContext) -> dict[str, Any]:
    """
    Returns:
        {"rows": items of the test set, "scores": path of scores.json, "models": {name: {metric: value}},
        "verdict": the sentence on the metric that counts, or None}.

    Raises:
        UserError: something in the request can't be used, or no model answered anything.
    """
    with contextlib.closing(threads.GivingWay()):
        return _run(job)


def _run(job: JobContext) -> dict[str, Any]:
    benchmark_request = job.request.get("benchmark") or {}
    prepared = None
    if benchmark_request:
        from slmstudio.worker.benchmark import lm_eval_run

        prepared = lm_eval_run.prepare(job)  # first: what it may fail of must not come after hours of work
    models = Models(job)
    scores: dict[str, Any] = {}
    try:
        items = []
        if job.request.get("test"):
            items = read_items(job)
            _answer(job, models, items)
            _warn_cut_thinking(job)
            if job.request.get("judge"):
                from slmstudio.worker.evaluation import judge

                judge.run(job, models, items)
            job.phase("scoring")
            scores = scoring.score(job.folder, lambda done, total: _report_scored(job, done, total))
        if benchmark_request:
            scores = lm_eval_run.run(job, models, prepared)
    finally:
        models.close()
    return {"rows": len(items), "scores": str(job.folder / scoring.SCORES), **_summary(scores)}


def _report_scored(job: JobContext, done: int, total: int) -> None:
    job.check_cancelled()
    if done < total:  # what comes then has no number
        job.progress(done, total, "rows", "scoring")


def _summary(scores: dict[str, Any]) -> dict[str, Any]:
    values = {model["name"]: {key: score["value"] for key, score in model["scores"].items()}
              for model in scores["models"]}
    main = next((each["sentence"] for each in scores["comparisons"] if each.get("main")), None)
    return {"models": values, "verdict": main}


def _answer(job: JobContext, models: Models, items: list[dict[str, Any]]) -> None:
    specs = job.request["models"]
    kept = [LineLog(job.folder / f"answers-{number}.jsonl") for number in range(len(specs))]
    thinks = answer_rows.may_think(job.folder)
    others = {number: LineLog(job.folder / general.answers_file(number)) for number in general.asked(job.request)}
    control = EvaluationControl(job, len(items) * len(specs) + len(others) * len(general.questions()))
    most = job.request.get("max_new_tokens") or MAX_NEW_TOKENS
    opened: tuple[int, Asking] | None = None
    first = job.request.get("first") or 0
    shown = {item["id"] for item in items[:first]}
    spent = [_Spent() for _ in specs]
    try:
        parts = _parts(items, in_order(specs), first, job.request.get("batch_size") or MOST_ROWS)
        for number, part, log in _with_general(list(parts), kept, others):
            if {item["id"] for item in part} <= log.keys:
                control.skip(len(part))
            else:
                if opened is None or opened[0] != number:
                    job.phase(jobs.LOADING, specs[number]["name"])
                    since = running_seconds()
                    same = opened is not None and weights(specs[opened[0]]) == weights(specs[number])
                    model = opened[1].model if opened and same else models.open(specs[number], thinks)
                    opened = number, Asking(job, specs[number], model, most)
                    spent[number].loading += running_seconds() - since
                    job.check_cancelled()
                ready, paused = running_seconds(), control.paused_seconds
                ours, fresh = log is kept[number], not log.keys
                tokens = answer_all(job, opened[1], part, log, control, shown if ours else ())
                took = running_seconds() - ready - (control.paused_seconds - paused)
                if ours:
                    spent[number].tokens += tokens
                    spent[number].answering += took
                elif fresh:
                    _keep_time(specs[number], _Spent(1, took), time_estimate.GENERAL)
            if log is kept[number] and {item["id"] for item in items} <= log.keys:
                _warn_no_answers(job, number)
        for spec, took in zip(specs, spent, strict=True):
            _keep_time(spec, took)
    finally:
        control.close()
    _need_answers(job)


def _parts(items: list[dict[str, Any]], numbers: list[int], first: int, at_once: int
           ) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Whose turn it is: (number of the model, items).

    Where more is asked than a model answers at once, every model answers the first few items before any answers the
    others. That begins with the model that is loaded then: one less is loaded twice.
    """
    if not 0 < first < at_once < len(items):
        yield from ((number, items) for number in numbers)
        return
    yield from ((number, items[:first]) for number in numbers)
    yield from ((number, items[first:]) for number in reversed(numbers))


def _with_general(parts: list[tuple[int, list[dict[str, Any]]]], kept: list[LineLog], others: dict[int, LineLog]
                  ) -> Iterator[tuple[int, list[dict[str, Any]], LineLog]]:
    """The parts, each with where its answers go; and behind a model's last one the general questions, where it is asked
    these: it is loaded then."""
    last = {number: at for at, (number, _) in enumerate(parts)}
    for at, (number, part) in enumerate(parts):
        yield number, part, kept[number]
        if number in others and at == last[number]:
            yield number, general.questions(), others[number]


@dataclass
class _Spent:
    """What a model's answers took: tokens of questions with their references, and seconds."""

    tokens: int = 0
    answering: float = 0.0
    loading: float = 0.0


def _keep_time(spec: dict[str, Any], took: _Spent, kind: str = "") -> None:
    """Keep how long the answers of a model folder took, or work of another kind, for the estimates of evaluations."""
    if spec.get("model") and took.tokens:
        facts = read_model(Path(spec["model"]))
        key = measured.device_key("cuda" if torch.cuda.is_available() else "cpu", read_machine())
        time_estimate.record(Timing.now(
            kind or (time_estimate.TUNED if spec.get("adapter") else time_estimate.ANSWERING), took.tokens,
            took.answering, machine=key, before=took.loading, model=measured.model_key(facts), cost=facts.parameters))


def _warn_no_answers(job: JobContext, number: int) -> None:
    """A warning where a model answered nothing, told before the others take their hours; their answers are kept."""
    models, lines = job.request["models"], _lines(job, number)
    if len(models) < 2 or not _is_silent(lines):
        return
    said = [tr("{model} answered none of the {rows:,} rows, so it has no scores.", model=models[number]["name"],
               rows=len(lines)), tr(str(lines[0]["skipped"]))]
    if not number:
        said.append(tr("The other models are compared with it, so there will be no comparisons."))
    job.warn("no_answers", join_sentences(*said, _remedy(job, lines)))


def _need_answers(job: JobContext) -> None:
    models = job.request["models"]
    answers = [_lines(job, number) for number in range(len(models))]
    if not all(map(_is_silent, answers)):
        return
    lines = answers[0]
    raise UserError(tr("{model} answered none of the {rows:,} rows.", model=models[0]["name"], rows=len(lines))
                    if len(models) == 1 else
                    tr("No model answered any of the {rows:,} rows.", rows=len(lines)), tr(str(lines[0]["skipped"])),
                    _remedy(job, lines))


def _is_silent(lines: list[dict[str, Any]]) -> bool:
    return bool(lines) and all(line.get("skipped") for line in lines)


def _remedy(job: JobContext, lines: list[dict[str, Any]]) -> str:
    if any(line["skipped"] == BROKEN for line in lines):
        return tr("Evaluate in another precision, or choose an earlier checkpoint.")
    if job.request.get("system"):
        return tr("Leave the system prompt out, or choose another model.")
    return tr("Choose another model, or other rows.")


def _warn_cut_thinking(job: JobContext) -> None:
    """One warning of the answers that ended in the middle of a thought."""
    told = []
    for number, spec in enumerate(job.request["models"]):
        lines = _lines(job, number)
        if cut := sum(map(answer_rows.is_cut, lines)):
            told.append(tr("{model}: {cut:,} of {answers:,}", model=spec["name"], cut=cut, answers=len(lines)))
    if told:
        most = job.request.get("max_new_tokens") or MAX_NEW_TOKENS
        job.warn("cut_thinking", tr("Answers that were cut off while the model was still thinking count as empty "
                                    "({counts}). Allow more than {most:,} tokens per answer.", counts=", ".join(told),
                                    most=most))


def _lines(job: JobContext, number: int) -> list[dict[str, Any]]:
    return list(files.LineReader(job.folder / f"answers-{number}.jsonl").read())
