"""The conversations that a proof is made of: what the tokenizer makes of each, and which tokens answer."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs, paths
from slmstudio.core.data.reader import Record, read_as
from slmstudio.core.errors import UserError
from slmstudio.core.run import curves
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.rows import run_rows
from slmstudio.core.run.rows.run_rows import EVALUATION, TRAIN
from slmstudio.worker.model.gguf_vocabulary import Vocabulary
from slmstudio.worker.runtime.context import JobContext

Messages = list[dict[str, str]]
BEFORE, AFTER = 96, 96
"""Tokens of a long row that are kept in front of its last answer, and of the answer."""
LEAST_POSITIONS = 100
"""So that one of them is at most a hundredth."""
HEAD_BYTES = 4 * 2**20
"""The proof takes its rows from the first part of a dataset; a large one isn't read whole."""


@dataclass(frozen=True)
class Prompt:
    """A conversation up to the assistant's turn: its text and ids as training makes them.

    The text has in front what the tokenizer itself puts there (`Vocabulary.lead`).
    """

    messages: Messages
    text: str
    ids: list[int]


@dataclass(frozen=True)
class Span:
    """Tokens of a whole conversation, or of the part around its last answer.

    Attributes:
        answer: the first position that predicts a token of the answer; what comes before is given.
    """

    ids: list[int]
    answer: int
    own: bool

    @property
    def positions(self) -> list[int]:
        """Where a token of the answer is predicted: all of them are known, so that each has a likelihood."""
        return list(range(self.answer, len(self.ids) - 1))


class Renderer:
    """A model folder's tokenizer, as transformers has it, and the run's chat template."""

    def __init__(self, base: Path, vocabulary: Vocabulary):
        from transformers import PreTrainedTokenizerFast

        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(base, local_files_only=True)
        self._template, self._lead = vocabulary.template, vocabulary.lead()
        end = vocabulary.end_of_turn()
        self.end_of_turn = vocabulary.special[end] if end else None

    def ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def text(self, messages: Messages, prompt: bool) -> str | None:
        """None if the template doesn't take the conversation."""
        if self._template is None:
            return "\n".join(message["content"] for message in messages)
        with contextlib.suppress(UserError):
            return self._template.render(messages, prompt)
        return None

    def prompt(self, messages: Messages) -> Prompt | None:
        text = self.text(messages, prompt=True)
        return Prompt(messages, self._lead + text, self.ids(text)) if text else None

    def conversation(self, messages: Messages) -> tuple[str, list[int]] | None:
        """All of it, the answers too: text, with what the tokenizer puts in front, and ids."""
        text = self.text(messages, prompt=False)
        return (self._lead + text, self.ids(text)) if text else None

    def span(self, messages: Messages, own: bool) -> Span | None:
        """None if the template doesn't take the conversation, or nothing is answered."""
        text, prompt = self.text(messages, prompt=False), self.text(messages[:-1], prompt=True)
        if not text:
            return None
        ids = self.ids(text)
        answer = len(self.ids(prompt)) - 1 if prompt and text.startswith(prompt) else 0
        if self.end_of_turn in ids[answer + 1:]:
            ids = ids[:len(ids) - ids[::-1].index(self.end_of_turn)]  # the template's line break behind it isn't said
        start = max(0, answer - BEFORE)
        kept = ids[start:answer + 1 + AFTER]
        if start and ids[0] == self.tokenizer.bos_token_id:
            kept[0] = ids[0]  # models lean on their first token
        answer -= start
        return Span(kept, max(0, answer), own) if answer < len(kept) - 1 else None


def conversations() -> list[Messages]:
    """Our own, in several scripts: for a run without rows, and beside those of every other."""
    with open(paths.resources() / "parity" / "conversations.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def own_rows(job: JobContext, source: Any) -> list[Messages]:
    """The user's rows of an `export.Source`: those held out of training before those that were learned."""
    return [_messages_of(record) for record in _kept(job, source.folder) or _of_files(job, source)]


def _kept(job: JobContext, run: Path) -> list[Record]:
    try:
        if run_rows.read_manifest(run) is not None:
            return [record for side in (EVALUATION, TRAIN) for record in run_rows.head(run, side, HEAD_BYTES)]
    except UserError as error:
        job.log(f"the run's own rows are read from their file: {error}")
    return []


def _of_files(job: JobContext, source: Any) -> list[Record]:
    """The first rows of the files that the run names, of the first that can be read."""
    for path in source.rows:
        try:
            head = path
            if path.stat().st_size > HEAD_BYTES:
                head = job.folder / f"rows{path.suffix}"
                with open(path, "rb", opener=files.regular) as file:
                    files.write_atomically(head, file.read(HEAD_BYTES).rpartition(b"\n")[0] + b"\n")
            return _held_out_first(read_as(head, _said(source.folder, path)).records, source.folder, path)
        except (UserError, OSError) as error:
            job.log(f"no rows for the proof from {path.name}: {error}")
    return []


def _said(folder: Path, path: Path) -> str | None:
    """What the run was told about the columns of a file."""
    state = files.read_json(folder / jobs.RUN)
    config = RunConfig.from_dict(state) if state is not None else None
    if config is None:
        return None
    return config.train_map if Path(config.train_file) == path else config.eval_map


def _held_out_first(records: list[Record], folder: Path, path: Path) -> list[Record]:
    """As the run has split them. Rows of a file that was only learned stay as they are."""
    state = files.read_json(folder / jobs.RUN)
    if state is None:
        return records
    config = RunConfig.from_dict(state)
    if config.eval_file or Path(config.train_file) != path:
        return records
    learned, held_out = curves.divided(records, config)
    return [*held_out, *learned]


def _messages_of(record: Record) -> Messages:
    """The row as a conversation; of plain text the first half asks and the second answers, so that it is probed too."""
    if record.text is None:
        return [dict(message) for message in record.messages]
    half = len(record.text) // 2
    return [{"role": "user", "content": record.text[:half]}, {"role": "assistant", "content": record.text[half:]}]


def chosen(spans: Iterable[Span], most_tokens: int, most_positions: int) -> list[Span]:
    """The first of them, as far as they fit: rows run side by side, so that the longest counts for all of them.

    Until there are `LEAST_POSITIONS`, twice as many tokens are allowed.
    """
    found: list[Span] = []
    longest = positions = 0
    for span in spans:
        room = most_tokens if positions >= LEAST_POSITIONS else 2 * most_tokens
        if found and (len(found) + 1) * longest > room:
            break
        wide = max(longest, len(span.ids))
        if found and (len(found) + 1) * wide > room:
            continue
        kept = Span(span.ids[:span.answer + 1 + most_positions - positions], span.answer, span.own)
        found.append(kept)
        longest, positions = max(longest, len(kept.ids)), positions + len(kept.positions)
        if positions >= most_positions:
            break
    return found
