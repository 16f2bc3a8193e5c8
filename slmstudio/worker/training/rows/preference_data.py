"""Pairs of answers, and answers marked good or bad, as token ids in the columns that TRL's trainers read.

TRL would render and tokenize by itself, for ORPO with a BOS and an EOS of its own. Ours come from the function that the
preview and the chat training share, so that the model learns the very tokens it will be asked with.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow

from slmstudio.core.data import reader
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.rows.row_tokens import RowEncoder, count_answers
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training.rows.batches import IGNORED
from slmstudio.worker.training.rows.data import Losses, in_batches, told


def encode_preferences(rows: Sequence[reader.Record], tokenizer: Any, template: ChatTemplate, config: RunConfig,
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


def _check_kind(rows: Sequence[reader.Record], config: RunConfig) -> None:
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
