"""From rows to token ids and labels, by the same function that the window's preview uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets

from slmstudio.core.data import layouts, reader
from slmstudio.core.errors import UserError
from slmstudio.core.model import tokens
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.run import schedule
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.runtime.context import Cancelled, JobContext
from slmstudio.worker.training.batches import IGNORED


class NothingLearned(UserError):
    """No row has anything to learn within the sequence length."""


def read_rows(config: RunConfig, job: JobContext) -> tuple[list[reader.Record], list[reader.Record]]:
    """Training and evaluation rows, as the configuration splits them.

    Raises:
        UserError: a file cannot be used.
        Cancelled: the user asked to end.
    """

    def load(path: str) -> reader.Dataset:
        try:
            dataset = reader.read_dataset(
                Path(path),
                progress=lambda done, total: job.progress(done, total, "bytes", "reading"),
                cancelled=job.cancelled,
            )
        except reader.ReadingCancelled as error:
            raise Cancelled from error
        if dataset.problems:
            job.warn(
                "rows_left_out", f"{len(dataset.problems)} problems in {dataset.path.name}: those rows are left out."
            )
        return dataset

    whole = load(config.train_file)
    _tell_other_file(job, "train_file", whole)
    train = whole.records
    if config.eval_file:
        evaluated = load(config.eval_file)
        _tell_other_file(job, "eval_file", evaluated)
        held_out = evaluated.records
        if layouts.kind(evaluated.layout) != layouts.kind(whole.layout):
            raise UserError(f"{evaluated.path.name} cannot evaluate what {whole.path.name} teaches.",
                            f"{layouts.sentence(whole.layout)} Of the other file: {layouts.sentence(evaluated.layout)}",
                            "Choose evaluation rows of the same kind, or let them be split off.")
        learned = {(row.prompt, row.contents, row.desirable) for row in train}
        seen = sum((row.prompt, row.contents, row.desirable) in learned for row in held_out)
        if seen:
            job.warn("test_rows_learned", f"{seen} of {len(held_out)} test rows are among the rows to learn: eval loss "
                                          "will look better than it is.")
        return train, held_out
    return schedule.divided(train, config)


def _tell_other_file(job: JobContext, name: str, dataset: reader.Dataset) -> None:
    """Say so when a file is no longer the one that the run was made with: a resumed run then sees other rows."""
    known = (job.request.get("hashes") or {}).get(name)
    if known is not None and known != dataset.sha256:
        job.warn("data_changed", f"{dataset.path.name} was changed since this run was made, so it does not repeat it. "
                                 "To learn from new rows, go on from the finished run instead.")


def encode_rows(
    rows: list[reader.Record], tokenizer: Any, template: ChatTemplate, config: RunConfig, job: JobContext, phase: str
) -> datasets.Dataset:
    """Token ids and labels of every row that has something to learn.

    Args:
        tokenizer: a transformers tokenizer; its backend does the work.

    Returns:
        Columns `input_ids` and `labels`, lists of equal length up to `config.max_length`, and `row`, the row's line.

    Raises:
        NothingLearned: no row is left.
        Cancelled: the user asked to end.
    """
    columns: dict[str, list[Any]] = {"input_ids": [], "labels": [], "row": []}
    cut = empty = 0
    for row in told(rows, job, phase):
        parts = list(_pieces(row, tokenizer, template, config))
        cut += row.text is None and len(parts[0][0]) > config.max_length
        for ids, learned in parts:
            ids, learned = ids[: config.max_length], learned[: config.max_length]
            if not any(learned[1:]):
                empty += 1
                continue
            columns["input_ids"].append(ids)
            columns["labels"].append([t if wanted else IGNORED for t, wanted in zip(ids, learned, strict=True)])
            columns["row"].append(row.line)
    tell_losses(job, config, len(rows), cut, empty, bool(columns["row"]))
    return datasets.Dataset.from_dict(columns)


def told(rows: list[reader.Record], job: JobContext, phase: str) -> Iterator[reader.Record]:
    """The rows one by one, with progress, and with an ear for Cancel."""
    for done, row in enumerate(rows, 1):
        yield row
        if done % 200 == 0:
            job.check_cancelled()
            job.progress(done, len(rows), "rows", phase)


def _pieces(row: reader.Record, tokenizer: Any, template: ChatTemplate,
            config: RunConfig) -> Iterator[tuple[list[int], list[bool]]]:
    """A conversation is one piece, whole. A text is as many as its length takes, with nothing lost between them."""
    backend = tokenizer.backend_tokenizer
    if row.text is None:
        whole = config.objective == "text" or not config.completion_only_loss
        encoded = tokens.encode(list(row.messages), backend, template, completion_only=not whole, tools=row.tools)
        yield encoded.ids, encoded.learned
        return
    ids = backend.encode(row.text, add_special_tokens=True).ids
    if tokenizer.eos_token_id is not None and ids[-1:] != [tokenizer.eos_token_id]:
        ids = [*ids, tokenizer.eos_token_id]
    for start in range(0, len(ids), config.max_length):
        part = ids[start : start + config.max_length]
        yield part, [True] * len(part)


def tell_losses(job: JobContext, config: RunConfig, rows: int, cut: int, empty: int, any_left: bool) -> None:
    """Warn of rows that were cut or left out.

    Raises:
        NothingLearned: none is left.
    """
    if cut:
        job.warn("rows_cut",
                 f"{cut} of {rows} rows are longer than {config.max_length} tokens and were cut at the end.")
    if empty:
        job.warn("rows_without_answer",
                 f"{empty} of {rows} rows have no answer within {config.max_length} tokens and were left out.")
    if not any_left:
        raise NothingLearned("No row is left to learn from.", f"No answer begins within {config.max_length} tokens.",
                             "Raise the sequence length.")
