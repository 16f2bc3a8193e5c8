"""How long the rows of a dataset are in a model's tokens, and what a word of each script costs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slmstudio.core.data.record import Record
from slmstudio.core.data.source import ReadingCancelled
from slmstudio.core.data.statistics import script_of
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model import named_templates, tokens
from slmstudio.core.run.rows.row_tokens import RowEncoder

MOST_ROWS = 50_000
"""Rows that are measured; of more, every second, third … one is."""
WORDS_FROM = 2_000
"""Rows by which the tokens of a word are counted."""


@dataclass(frozen=True)
class TokenCounts:
    """
    Attributes:
        model: name of the model whose tokenizer counted.
        measured: rows that were.
        min, median, p95, p99, max: tokens of a row in the model's chat template, of all measured.
        per_word: by script, tokens of a word of the texts alone.
        lengths: of each measured row, in the rows' order.
    """

    model: str
    measured: int
    min: int
    median: int
    p95: int
    p99: int
    max: int
    per_word: dict[str, float]
    lengths: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without the length of each row."""
        return {name: value for name, value in asdict(self).items() if name != "lengths"}


def count_tokens(records: Sequence[Record], folder: Path, progress: Callable[[int, int], None] | None = None,
                 cancelled: Callable[[], bool] | None = None) -> TokenCounts:
    """Measure rows with the tokenizer and the chat template of a model folder.

    A folder without a template is measured with the one that would be proposed; plain text needs none.

    Raises:
        UserError: the tokenizer or the template can't be used, or the template refuses a row.
        ReadingCancelled: `cancelled` said so.
    """
    tokenizer = tokens.load_tokenizer(folder)
    named = named_templates.chosen_or_proposed(folder, "") if any(record.text is None for record in records) else ""
    encoders = {each: RowEncoder(tokenizer, named_templates.optional_template(folder, named), each)
                for each in ("sft", "dpo")}
    measured = records[::1 + len(records) // MOST_ROWS]
    lengths = []
    for done, record in enumerate(measured):
        if done % 64 == 0:
            if cancelled is not None and cancelled():
                raise ReadingCancelled(tr("Counting tokens was cancelled."))
            if progress is not None:
                progress(done, len(measured))
        lengths.append(encoders["dpo" if record.rejected is not None else "sft"].count(record).length)
    if not lengths:
        raise UserError(tr("There are no rows to measure."), "", tr("Choose a dataset with rows."))
    ordered = sorted(lengths)
    return TokenCounts(folder.name, len(ordered), ordered[0], _at(ordered, 0.5), _at(ordered, 0.95),
                       _at(ordered, 0.99), ordered[-1], _per_word(records, tokenizer), tuple(lengths))


def _at(ordered: Sequence[int], share: float) -> int:
    """The smallest length that this many rows don't exceed."""
    return ordered[max(0, math.ceil(round(share * len(ordered), 6)) - 1)]


def _per_word(records: Sequence[Record], tokenizer: Any) -> dict[str, float]:
    """Tokens a word of each script, by the texts whose letters are mostly of it; the script with most words first."""
    words: Counter[str] = Counter()
    pieces: Counter[str] = Counter()
    for record in records[::1 + len(records) // WORDS_FROM]:
        for text in record.contents:
            count = len(text.split())
            scripts = Counter(script for character in text[:200] if (script := script_of(character)))
            if count and scripts:
                script = max(scripts, key=lambda each: scripts[each])
                words[script] += count
                pieces[script] += len(tokenizer.encode(text, add_special_tokens=False).ids)
    return {script: round(pieces[script] / count, 2) for script, count in words.most_common()}


def special_tokens(folder: Path) -> tuple[str, ...]:
    """The special tokens of a model folder's tokenizer, which no text should hold. Raises UserError."""
    added = tokens.load_tokenizer(folder).get_added_tokens_decoder().values()
    return tuple(token.content for token in added if token.special)
