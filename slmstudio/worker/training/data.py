"""From rows to token ids and labels, by the same function that the window's preview uses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import datasets

from slmstudio.core.data.reader import ReadingCancelled, Record
from slmstudio.core.errors import UserError
from slmstudio.core.model import tokens
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.run import checkpoints, folder
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.rows import kept_rows, source_rows
from slmstudio.core.run.rows.kept_rows import Kept
from slmstudio.core.run.rows.source_rows import SourceRows
from slmstudio.core.units import counted
from slmstudio.worker.runtime import ranks
from slmstudio.worker.runtime.context import Cancelled, JobContext
from slmstudio.worker.training.batches import IGNORED


class NothingLearned(UserError):
    """No row has anything to learn within the sequence length."""


def read_rows(config: RunConfig, job: JobContext) -> Kept | SourceRows:
    """Training and evaluation rows: those that the run keeps, else those of its files, which are kept then.

    Raises:
        UserError: a file cannot be used, or what was kept is damaged and its file is another one now.
        Cancelled: the user asked to end.
    """

    def progress(done: int, total: int) -> None:
        job.progress(done, total, "bytes", "reading")

    try:
        try:
            kept = kept_rows.read(job.folder)
        except kept_rows.Damaged as damage:
            kept = kept_rows.mend(job.folder, config, damage, progress, job.cancelled)
            job.warn("kept_rows_mended",
                     f"{damage.what} They were read from {kept.source.name} again, which is unchanged.")
        # A run that has not learned anything yet may be given other rows.
        if kept is not None and (kept.manifest.is_of(config) or _has_learned(job)):
            return kept
        return _from_files(config, job, source_rows.read(config, progress, job.cancelled))
    except ReadingCancelled as error:
        raise Cancelled from error


def _from_files(config: RunConfig, job: JobContext, rows: SourceRows) -> Kept | SourceRows:
    """The rows, kept; those of a file that is another one than earlier steps have learned from are not."""
    known = job.request.get("hashes") or {}
    for name, dataset in rows.files.items():
        if dataset.problems:
            job.warn("rows_left_out",
                     f"{counted(len(dataset.problems), 'problem')} in {dataset.path.name}: those rows are left out.")
        if known.get(name) not in (None, dataset.sha256):
            job.warn("data_changed", f"{dataset.path.name} was changed since this run was made, so it does not repeat "
                                     "it. To learn from new rows, continue from the finished run instead.")
    if config.eval_file:
        learned = {(row.prompt, row.contents, row.desirable) for row in rows.train}
        seen = sum((row.prompt, row.contents, row.desirable) in learned for row in rows.evaluation)
        if seen:
            job.warn("test_rows_learned", f"{seen} of {len(rows.evaluation)} test rows are among the rows to learn: "
                                          "eval loss will look better than it is.")
    proven = all(known.get(name) == dataset.sha256 for name, dataset in rows.files.items())
    if not ranks.is_first() or (_has_learned(job) and not proven):
        return rows
    return kept_rows.write(job.folder, config, rows, job.cancelled)


def _has_learned(job: JobContext) -> bool:
    return bool(checkpoints.all_checkpoints(job.folder / folder.CHECKPOINTS))


@dataclass(frozen=True)
class Losses:
    """What is lost of rows as they become tokens.

    Attributes:
        cut: how many were cut at the end.
        empty: how many have nothing to learn within the length, and were left out.
    """

    rows: int
    cut: int
    empty: int


def encode_rows(rows: list[Record], tokenizer: Any, template: ChatTemplate, config: RunConfig, job: JobContext,
                phase: str) -> tuple[datasets.Dataset, Losses]:
    """Token ids and labels of every row that has something to learn.

    Args:
        tokenizer: a transformers tokenizer; its backend does the work.

    Returns:
        Columns `input_ids` and `labels`, lists of equal length up to `config.max_length`, and `row`, the row's line;
        and what was lost.

    Raises:
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
    return datasets.Dataset.from_dict(columns), Losses(len(rows), cut, empty)


def told(rows: list[Record], job: JobContext, phase: str) -> Iterator[Record]:
    """The rows one by one, with progress, and with an ear for Cancel."""
    for done, row in enumerate(rows, 1):
        yield row
        if done % 200 == 0:
            job.check_cancelled()
            job.progress(done, len(rows), "rows", phase)


def _pieces(row: Record, tokenizer: Any, template: ChatTemplate,
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


def tell_losses(job: JobContext, config: RunConfig, losses: Losses, any_left: bool) -> None:
    """Warn of rows that were cut or left out.

    Raises:
        NothingLearned: none is left.
    """
    if losses.cut:
        job.warn("rows_cut", f"{losses.cut} of {losses.rows} rows are longer than {config.max_length} tokens and were "
                             "cut at the end.")
    if losses.empty:
        job.warn("rows_without_answer", f"{losses.empty} of {losses.rows} rows have no answer within "
                                        f"{config.max_length} tokens and were left out.")
    if not any_left:
        raise NothingLearned("No row is left to learn from.", f"No answer begins within {config.max_length} tokens.",
                             "Raise the sequence length.")
