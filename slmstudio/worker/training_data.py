"""From rows to token ids and labels, by the same function that the window's preview uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import torch

from slmstudio.core import files
from slmstudio.core.data import reader, split
from slmstudio.core.errors import UserError
from slmstudio.core.model import tokens
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.context import Cancelled, JobContext

IGNORED = -100
"""Label of a position that is not learned."""


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

    train = load(config.train_file).records
    if config.eval_file:
        held_out = load(config.eval_file).records
        learned = {files.dump_line({"messages": row.messages}) for row in train}
        seen = sum(files.dump_line({"messages": row.messages}) in learned for row in held_out)
        if seen:
            job.warn("test_rows_learned", f"{seen} of {len(held_out)} test rows are among the rows to learn: eval loss "
                                          "will look better than it is.")
        return train, held_out
    return split.split(train, config.eval_fraction, config.split_seed)


def encode_rows(
    rows: list[reader.Record], tokenizer: Any, template: ChatTemplate, config: RunConfig, job: JobContext, phase: str
) -> datasets.Dataset:
    """Token ids and labels of every row that has something to learn.

    Args:
        tokenizer: a transformers tokenizer; its backend does the work.

    Returns:
        Columns `input_ids` and `labels`, lists of equal length up to `config.max_length`.
    """
    input_ids, labels, cut, empty = [], [], 0, 0
    for done, row in enumerate(rows, 1):
        encoded = tokens.encode(
            list(row.messages), tokenizer.backend_tokenizer, template, completion_only=config.completion_only_loss
        )
        cut += len(encoded.ids) > config.max_length
        ids, learned = encoded.ids[: config.max_length], encoded.learned[: config.max_length]
        if any(learned[1:]):
            input_ids.append(ids)
            labels.append([token if wanted else IGNORED for token, wanted in zip(ids, learned, strict=True)])
        else:
            empty += 1
        if done % 200 == 0:
            job.check_cancelled()
            job.progress(done, len(rows), "rows", phase)
    if cut:
        job.warn(
            "rows_cut", f"{cut} of {len(rows)} rows are longer than {config.max_length} tokens and were cut at the end."
        )
    if empty:
        job.warn(
            "rows_without_answer",
            f"{empty} of {len(rows)} rows have no answer within {config.max_length} tokens and were left out.",
        )
    if not input_ids:
        raise UserError(
            "No row is left to learn from.",
            f"No answer begins within {config.max_length} tokens.",
            "Raise the sequence length.",
        )
    return datasets.Dataset.from_dict({"input_ids": input_ids, "labels": labels})


class BatchOrder(torch.utils.data.Sampler[int]):
    """The order of the rows in each epoch: decided by seed and epoch alone, so that a resumed run repeats it.

    With `by_length`, rows are shuffled, then sorted by length within pools of 50 batches, and the batches
    are shuffled: little padding, still random.
    """

    def __init__(self, lengths: list[int], batch_size: int, seed: int, by_length: bool):
        self.lengths, self.batch_size, self.seed, self.by_length = lengths, batch_size, seed, by_length
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        if not self.by_length:
            return iter(order)
        pool = self.batch_size * 50
        batches = []
        for start in range(0, len(order), pool):
            rows = sorted(order[start : start + pool], key=lambda row: -self.lengths[row])
            batches += [rows[i : i + self.batch_size] for i in range(0, len(rows), self.batch_size)]
        full = [batch for batch in batches if len(batch) == self.batch_size]
        rest = [batch for batch in batches if len(batch) < self.batch_size]
        shuffled = [full[i] for i in torch.randperm(len(full), generator=generator).tolist()]
        return iter([row for batch in shuffled + rest for row in batch])
