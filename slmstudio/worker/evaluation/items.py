"""What is asked: the test set of a request, written down once, so that every attempt asks the same.

`core.evaluation.items_file` tells what else is written down: of which file they are, and whether models are to think.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.data.conversations import Message
from slmstudio.core.data.source import ReadingCancelled
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import items_file
from slmstudio.core.evaluation.answer_rows import ITEMS
from slmstudio.core.evaluation.held_out import learned_rows
from slmstudio.core.evaluation.reasoning import hold_thoughts
from slmstudio.core.evaluation.testset.item import TestItem, TestSet
from slmstudio.core.evaluation.testset.overlap import find_overlap
from slmstudio.core.evaluation.testset.reader import read_test_set
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.model.named_templates import template_of
from slmstudio.core.model.tokens import Encoder, answer_shown, local_tokenizer
from slmstudio.worker.runtime.context import Cancelled, JobContext

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
            files.write_atomically(job.folder / items_file.ABOUT, about)
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
    _tell_problems(job, test)
    items = sample(test.items, request.get("limit"), request.get("seed") or 0)
    if request.get("train_file"):
        items = _marked(job, test, items, Path(request["train_file"]))
    items = _as_written(items, request["models"])
    about = items_file.dump(test.sha256, len(test.items),
                            hold_thoughts(text for item in items for text in item.references))
    return [with_system(item.to_dict(), request.get("system")) for item in items], about


def _tell_problems(job: JobContext, test: TestSet) -> None:
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
