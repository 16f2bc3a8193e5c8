"""From rows to token ids and labels, by the same function that the window's preview uses."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow
import pyarrow.compute

from slmstudio.core import files
from slmstudio.core.data.reader import ReadingCancelled, Record
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import join_sentences, ntr, tr
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.run import checkpoints, folder
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.rows import run_rows, saving_rows
from slmstudio.core.run.rows.disk_rows import RowWriter
from slmstudio.core.run.rows.row_tokens import RowEncoder, RowTokens, count_answers
from slmstudio.core.run.rows.run_rows import SavedRows, SourceFile
from slmstudio.core.run.rows.saving_rows import SourceRows
from slmstudio.core.run.run_fields import LEAVE_OUT
from slmstudio.worker.runtime.context import Cancelled, JobContext
from slmstudio.worker.training.batches import IGNORED

BATCH = 1000
"""Encoded rows that are put together."""


class NothingLearned(UserError):
    """No row has anything to learn within the sequence length."""


def read_rows(config: RunConfig, job: JobContext) -> SavedRows | SourceRows:
    """Training and evaluation rows: those that the run keeps, else those of its files, which are kept then.

    Raises:
        UserError: a file can't be used, or what was kept is damaged and its file is another one now.
        Cancelled: the user asked to end.
    """

    def progress(done: int, total: int) -> None:
        job.progress(done, total, "bytes", "reading")

    try:
        try:
            kept = run_rows.read(job.folder)
        except run_rows.DamagedRows as damage:
            kept = saving_rows.repair(job.folder, config, damage, progress, job.cancelled)
            job.warn("kept_rows_mended",
                     join_sentences(damage.what, tr("They were read from {file} again, which is unchanged.",
                                                    file=kept.source.name)))
        # A run that hasn't learned anything yet may be given other rows.
        if kept is not None and (kept.manifest.is_of(config) or _has_learned(job)):
            return kept
        with saving_rows.spooling(job.folder) as store:
            return _from_files(config, job, progress, store)
    except ReadingCancelled as error:
        raise Cancelled from error


def _from_files(config: RunConfig, job: JobContext, progress: saving_rows.Progress,
                store: Callable[[], RowWriter]) -> SavedRows | SourceRows:
    """The rows, kept; those of a file that is another one than earlier steps have learned from aren't, and are in
    memory."""
    known = job.request.get("hashes") or {}
    paths = {name: Path(path) for name in ("train_file", "eval_file") if (path := getattr(config, name))}
    keeps = not _has_learned(job) or all(
        path.is_file() and known.get(name) == files.sha256_of(path) for name, path in paths.items())
    key = saving_rows.cache_key(config) if keeps else None
    if key is not None and (kept := saving_rows.take_cached(job.folder, key, config)):
        job.log(f"The {len(kept.train):,} rows to learn were read by an earlier run.")
        _report(job, known, kept.manifest.sources)
        return kept
    rows = saving_rows.read(config, progress, job.cancelled, store if keeps else None)
    _report(job, known, {name: SourceFile.of(dataset) for name, dataset in rows.files.items()})
    if config.eval_file and (seen := _seen(rows)):
        job.warn("test_rows_learned", ntr(
            "{n} of {rows} test rows is among the training rows: eval loss will look better than it is.",
            "{n} of {rows} test rows are among the training rows: eval loss will look better than it is.",
            seen, rows=len(rows.evaluation)))
    if not keeps:
        return rows
    kept = saving_rows.write(job.folder, config, rows, job.cancelled)
    if key is not None:
        saving_rows.put_into_cache(job.folder, key)
    return kept


def _report(job: JobContext, known: dict[str, str], sources: Mapping[str, SourceFile]) -> None:
    """Warn of rows that were left out, and of a file that was changed since the run was made."""
    for name, file in sources.items():
        if file.problems:
            job.warn("rows_left_out", ntr(
                "{n:,} problem in {file}: that row is left out.", "{n:,} problems in {file}: those rows are left out.",
                file.problems, file=file.name))
        if known.get(name) not in (None, file.sha256):
            job.warn("data_changed", tr(
                "{file} has changed since this run was created, so the run doesn't repeat exactly. To learn from new "
                "rows, continue from the finished run instead.", file=file.name))


def _seen(rows: SourceRows) -> int:
    """How many rows of the test file are also training rows."""
    test = [(row.prompt, row.contents, row.desirable) for row in rows.evaluation]
    unseen = set(test)
    unseen.difference_update((row.prompt, row.contents, row.desirable) for row in rows.train)
    return sum(row not in unseen for row in test)


def _has_learned(job: JobContext) -> bool:
    return bool(checkpoints.all_checkpoints(job.folder / folder.CHECKPOINTS))


@dataclass
class Losses:
    """What is lost of rows as they become tokens.

    Attributes:
        overlong: how many are longer than the sequence length, and were cut or left out.
        empty: how many have nothing to learn within it, or were left out.
    """

    rows: int
    overlong: int = 0
    empty: int = 0


def encode_rows(rows: Sequence[Record], tokenizer: Any, template: ChatTemplate, config: RunConfig, job: JobContext,
                phase: str, losses: Losses) -> Iterator[pyarrow.RecordBatch]:
    """Token ids and labels of every row that has something to learn, some rows at a time.

    Args:
        tokenizer: a transformers tokenizer; its backend does the work.

    Returns:
        Columns `input_ids` and `labels`, lists of equal length up to `config.max_length`, and `row`, the row's line.

    Raises:
        Cancelled: the user asked to end.
    """

    encoder = RowEncoder(tokenizer.backend_tokenizer, template, config.objective, config.completion_only_loss)

    def encoded() -> Iterator[dict[str, Any]]:
        for row, ids, learned in encoder.encode_all(told(rows, job, phase)):
            about = RowTokens.of(learned, row.text is not None)
            count, length = about.learned(config), config.max_length
            losses.overlong += about.is_overlong(length)
            losses.empty += not count
            for begin in range(0, count * length, length):
                part = slice(begin, begin + length)
                labels = [t if wanted else IGNORED for t, wanted in zip(ids[part], learned[part], strict=True)]
                yield {"input_ids": ids[part], "labels": labels, "row": row.line}

    return in_batches(encoded())


def in_batches(rows: Iterable[dict[str, Any]]) -> Iterator[pyarrow.RecordBatch]:
    """Rows as Arrow has them; tokens, which are lists of whole numbers, take 4 bytes each."""
    waiting, schema = iter(rows), None
    while some := list(islice(waiting, BATCH)):
        schema = schema or pyarrow.schema({name: _type(value) for name, value in some[0].items()})
        yield pyarrow.RecordBatch.from_pylist(some, schema)


def _type(value: Any) -> pyarrow.DataType:
    if isinstance(value, list):
        return pyarrow.list_(pyarrow.int32())
    return pyarrow.bool_() if isinstance(value, bool) else pyarrow.int64()


def lengths(rows: datasets.Dataset) -> np.ndarray[Any, Any]:
    """Tokens of each encoded row, [rows]: as its column says, else of the row itself, without looking at the tokens."""
    table = rows.with_format("arrow")[:] if rows._indices is not None else rows.data.table
    column = table["length"] if "length" in table.column_names else pyarrow.compute.list_value_length(
        table["input_ids"])
    return np.asarray(column.to_numpy(), dtype=np.int64)


def told(rows: Sequence[Record], job: JobContext, phase: str) -> Iterator[Record]:
    """The rows one by one, with progress, and with an ear for Cancel."""
    for done, row in enumerate(rows, 1):
        yield row
        if done % 200 == 0:
            job.check_cancelled()
            job.progress(done, len(rows), "rows", phase)


def report_losses(job: JobContext, config: RunConfig, losses: Losses, any_left: bool) -> None:
    """Warn of rows that were cut or left out.

    Raises:
        NothingLearned: none is left.
    """
    leaves_out = config.overlong_rows == LEAVE_OUT
    if losses.overlong and leaves_out:
        job.warn("rows_overlong", ntr(
            "{n} of {rows} rows is longer than {length} tokens and was left out.",
            "{n} of {rows} rows are longer than {length} tokens and were left out.",
            losses.overlong, rows=losses.rows, length=config.max_length), overlong=losses.overlong, rows=losses.rows)
    elif losses.overlong:
        job.warn("rows_cut", ntr(
            "{n} of {rows} rows is longer than {length} tokens and was cut at the end.",
            "{n} of {rows} rows are longer than {length} tokens and were cut at the end.",
            losses.overlong, rows=losses.rows, length=config.max_length), cut=losses.overlong, rows=losses.rows)
    if empty := losses.empty - losses.overlong * leaves_out:
        job.warn("rows_without_answer", ntr(
            "{n} of {rows} rows has no answer within {length} tokens and was left out.",
            "{n} of {rows} rows have no answer within {length} tokens and were left out.",
            empty, rows=losses.rows, length=config.max_length))
    if not any_left:
        raise NothingLearned(tr("No row is left to train on."),
                             tr("No row is short enough: {count:,} tokens are allowed.", count=config.max_length)
                             if leaves_out else
                             tr("No answer starts within {count:,} tokens.", count=config.max_length),
                             tr("Raise the sequence length."))


# -- Pairs of answers, and answers marked good or bad, as token ids in the columns that TRL's trainers read.


def encode_preferences(rows: Sequence[Record], tokenizer: Any, template: ChatTemplate, config: RunConfig,
                       job: JobContext, phase: str, losses: Losses) -> Iterator[pyarrow.RecordBatch]:
    """
    Returns:
        For dpo the columns `prompt_ids`, `chosen_ids`, `rejected_ids`; for orpo its own; for kto `prompt_ids`,
        `completion_ids`, `KL_completion_ids`, `label`. All have `row` (the line) and `length` (tokens). Some rows
        at a time, except for kto, whose rows are put together in memory.

    Raises:
        UserError: the rows are of another kind.
        Cancelled: the user asked to end.
    """
    _check_kind(rows, config)
    encoder = RowEncoder(tokenizer.backend_tokenizer, template, config.objective)

    def encoded() -> Iterator[dict[str, Any]]:
        for row, found in encoder.answers_all(told(rows, job, phase)):
            about = count_answers(found)
            losses.overlong += about.is_overlong(config.max_length)
            if not about.learned(config):
                losses.empty += 1
                continue
            answers = [found[name] for name in ("chosen_ids", "rejected_ids", "completion_ids") if name in found]
            room = config.max_length - len(found["prompt_ids"])
            found |= {name: ids[:room] for name, ids in found.items() if name.endswith("_ids") and name != "prompt_ids"}
            length = sum(len(found["prompt_ids"]) + min(len(answer), room) for answer in answers)
            yield {**found, "row": row.line, "length": length}

    if config.objective == "orpo":
        return in_batches(map(_orpo_columns, encoded()))
    return in_batches(_with_other_answers(list(encoded()), config) if config.objective == "kto" else encoded())


def _check_kind(rows: Sequence[Record], config: RunConfig) -> None:
    labelled = config.objective == "kto"
    if all((row.desirable if labelled else row.rejected) is not None for row in rows):
        return
    raise UserError(
        tr("These rows can't be used with {objective}.", objective=config.objective.upper()),
        tr("They have no label.") if labelled else tr("They have no rejected answer."),
        tr("A row looks like this: {row}", row='{"prompt": …, "completion": …, "label": true}') if labelled else
        tr("A row looks like this: {row}", row='{"prompt": …, "chosen": …, "rejected": …}'))


def _orpo_columns(row: dict[str, Any]) -> dict[str, Any]:
    prompt = row["prompt_ids"]
    columns: dict[str, Any] = {"row": row["row"], "length": row["length"], "prompt_input_ids": prompt,
                               "prompt_attention_mask": [1] * len(prompt)}
    for name in ("chosen", "rejected"):
        answer = row[f"{name}_ids"]
        columns |= {f"{name}_input_ids": prompt + answer, f"{name}_attention_mask": [1] * (len(prompt) + len(answer)),
                    f"{name}_labels": [IGNORED] * len(prompt) + answer}
    return columns


def _with_other_answers(rows: list[dict[str, Any]], config: RunConfig) -> list[dict[str, Any]]:
    """KTO's estimate of the KL divergence: each question with the answer of the row before it in its micro-batch.

    Shuffled here once, because the trainer must keep the micro-batches together (TRL's KTOTrainer does it likewise).
    """
    order = list(rows)
    random.Random(config.seed).shuffle(order)
    size, found = config.micro_batch_size, []
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        found += [{**row, "KL_completion_ids": batch[i - 1]["completion_ids"]} for i, row in enumerate(batch)]
    return found
