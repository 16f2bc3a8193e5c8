"""How many rows of a dataset a run learns, and what is lost of them at its sequence length: what the worker will count.

Every row of a usual dataset is turned into tokens. Of a large one a fair sample is, and the rows with the most text: if
these fit, so do the others.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from slmstudio.core import units
from slmstudio.core.data import split
from slmstudio.core.data.record import Record, message_text
from slmstudio.core.hardware.machine import Machine
from slmstudio.core.i18n import join_sentences, ntr, tr
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run import measured as measurements
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.curves import total_steps
from slmstudio.core.run.memory import outlook
from slmstudio.core.run.rows.row_tokens import RowEncoder, RowTokens
from slmstudio.core.run.run_fields import LEAVE_OUT

MOST_MEASURED = 10_000
"""Rows that are all measured, which takes some seconds."""
SAMPLED, LARGEST = 2_000, 2_000
"""Of more rows, how many are measured of all, evenly spread, and of those with the most text."""
STEP = 64
"""Sequence lengths are proposed in multiples of this."""


@dataclass(frozen=True)
class MeasuredRows:
    """
    Attributes:
        found: rows as tokens, by their place in the dataset.
        rows: rows of the dataset.
        every: each such row is in `found`; with 1 all are.
    """

    found: Mapping[int, RowTokens]
    rows: int
    every: int = 1

    @cached_property
    def sample(self) -> list[RowTokens]:
        """What the dataset is like on average."""
        return [self.found[place] for place in range(0, self.rows, self.every)]

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each measured row, rising."""
        return sorted(row.length for row in self.found.values())

    @property
    def is_text(self) -> bool:
        """Whether nothing is lost of long rows, since they are split."""
        return all(row.is_text for row in self.sample)

    def has_all_above(self, max_length: int) -> bool:
        """Whether all longer rows were measured: of those with the most text, some are shorter."""
        return any(row.length <= max_length for place, row in self.found.items() if place % self.every)


def measure(records: Sequence[Record], encoder: RowEncoder) -> MeasuredRows:
    """Rows as tokens. Raises UserError, as `tokens.encode` does."""
    every = 1 if len(records) <= MOST_MEASURED else len(records) // SAMPLED
    places = set(range(0, len(records), every))
    if every > 1:
        places |= set(heapq.nlargest(LARGEST, range(len(records)), key=lambda place: _size(records[place])))
    return MeasuredRows({place: encoder.count(records[place]) for place in sorted(places)}, len(records), every)


def _size(row: Record) -> int:
    """Tokens come of bytes: a letter of an Indian script has three."""
    return sum(len(text.encode(errors="surrogatepass")) for text in row.contents)


@dataclass(frozen=True)
class RowCounts:
    """
    Attributes:
        learned: rows to train on, the pieces of long texts each; what the worker's event `plan` has as `train_rows`.
        evaluated: rows split off the dataset that are evaluated.
        cut: training rows longer than the sequence length, whose end is lost, or all of them; `left_out`: those that
            aren't trained on, since the run leaves them out, or nothing to learn is within the length.
        steps: of the whole run; `tokens`: of an epoch.
        exact: whether every row was measured.
        known_answers: of the evaluated rows, those whose answer is also that of a row to train on.
    """

    learned: int
    evaluated: int
    cut: int
    left_out: int
    steps: int
    exact: bool
    tokens: int = 0
    known_answers: int = 0

    @property
    def known_text(self) -> str:
        """What the known answers mean; "" if there are none."""
        return tr("{known:,} of {rows:,} held-out answers are learned too, so the verdict may look too good.",
                  known=self.known_answers, rows=self.evaluated) if self.known_answers else ""

    def to_dict(self) -> dict[str, Any]:
        return {"rows_learned": self.learned, "rows_evaluated": self.evaluated, "rows_cut": self.cut,
                "rows_left_out": self.left_out, "rows_exact": self.exact, "steps": self.steps,
                "tokens_per_epoch": self.tokens, "rows_with_known_answer": self.known_answers}


def count(records: Sequence[Record], measured: MeasuredRows, config: RunConfig) -> RowCounts:
    """Rows and steps of a run on these rows."""
    held_out = [] if config.eval_file else split.held_out(
        records, config.eval_fraction, config.split_seed, config.split_by).tolist()
    return replace(count_split(measured, held_out, config), known_answers=_known_answers(records, held_out))


def _known_answers(records: Sequence[Record], held_out: Sequence[bool]) -> int:
    """Equal questions are on one side; rows that ask in other words for the same answer may be on both."""
    sides: dict[bool, list[int]] = {True: [], False: []}
    for record, is_held in zip(records, held_out, strict=False):
        answer = " ".join(message_text(record.messages[-1]).casefold().split()) if record.messages else ""
        if len(answer) >= 20:  # a shorter one is a label, which many rows have by nature
            sides[is_held].append(hash(answer))
    learned = set(sides[False])
    return sum(answer in learned for answer in sides[True])


def count_split(measured: MeasuredRows, held_out: Sequence[bool], config: RunConfig) -> RowCounts:
    """The same, where it is known which rows are evaluated.

    Args:
        held_out: of each row; empty if none is.
    """
    length, made, seen = config.max_length, {True: 0, False: 0}, {True: 0, False: 0}
    cut = left_out = 0
    for place, row in measured.found.items():
        is_held = bool(held_out) and held_out[place]
        made[is_held] += row.learned(config)
        seen[is_held] += 1
        cut += not is_held and row.is_overlong(length)
        left_out += not is_held and not row.learned(config)
    if measured.every > 1:
        usual = 1.0 if not measured.is_text and measured.has_all_above(length) else (
            sum(row.learned(config) for row in measured.sample) / len(measured.sample))
        for is_held, rows in ((True, sum(held_out)), (False, measured.rows - sum(held_out))):
            made[is_held] += round((rows - seen[is_held]) * usual)
    each = sum(row.length if row.is_text else min(row.length, length) for row in measured.sample if row.learned(config))
    tokens = each * made[False] // max(1, sum(row.learned(config) for row in measured.sample))
    return RowCounts(made[False], made[True], cut, left_out, total_steps(config, made[False]), measured.every == 1,
                     tokens)


@dataclass(frozen=True)
class LostRows:
    """What a run would lose of its rows, and what would keep it.

    Attributes:
        counts: what is lost.
        leaves_out: whether the run leaves out rows that it would cut otherwise.
        max_length: of the run; `longer`: at which less is lost, None if the model reads no more; `whole`: of the rows
            that are cut those that fit then.
        needs: bytes that the run takes at most with `longer`; `free`: bytes that are free, None if nobody says.
        context: tokens that the model reads; `longest`: of the longest row.
    """

    counts: RowCounts
    leaves_out: bool
    max_length: int
    longer: int | None
    whole: int
    needs: int
    free: int | None
    context: int
    longest: int

    @property
    def what(self) -> str:
        """What is lost, in a sentence or two."""
        counts, parts = self.counts, []
        rows, overlong = counts.learned + counts.left_out, counts.cut if self.leaves_out else 0
        if no_answer := counts.left_out - overlong:
            parts.append(ntr(
                "{n:,} of {rows:,} rows has no answer within {length:,} tokens and won't be trained on.",
                "{n:,} of {rows:,} rows have no answer within {length:,} tokens and won't be trained on.",
                no_answer, rows=rows, length=self.max_length))
        if overlong:
            parts.append(ntr(
                "{n:,} of {rows:,} rows is longer than {length:,} tokens and won't be trained on.",
                "{n:,} of {rows:,} rows are longer than {length:,} tokens and won't be trained on.", overlong,
                rows=rows, length=self.max_length))
        if ends := self.can_leave_out:
            parts.append(ntr(
                "{n:,} of {rows:,} rows is longer than {length:,} tokens and will be cut at its end.",
                "{n:,} of {rows:,} rows are longer than {length:,} tokens and will be cut at their end.", ends,
                rows=rows, length=self.max_length))
        return join_sentences(*parts)

    @property
    def fits_longer(self) -> bool:
        """Whether there is memory for `longer`, as far as is known."""
        return self.longer is not None and (self.free is None or self.needs <= self.free)

    @property
    def can_leave_out(self) -> int:
        """Rows that are trained on without their end, which the run could leave out."""
        return 0 if self.leaves_out else self.counts.cut - self.counts.left_out

    @property
    def ways(self) -> str:
        """The ways out, in sentences."""
        parts = []
        if self.longest > self.context:
            parts.append(tr("The longest row has {longest:,} tokens, and this model reads at most {context:,}: shorten "
                            "the long rows, or choose a model that reads more.", longest=self.longest,
                            context=self.context))
        if self.longer is not None:
            needs, free = units.format_bytes(self.needs), self.free
            more = ntr("With a sequence length of {longer:,}, {n:,} of these rows is kept whole.",
                       "With a sequence length of {longer:,}, {n:,} of these rows are kept whole.", self.whole,
                       longer=self.longer)
            parts += [more, tr("That needs about {needs} of memory.", needs=needs) if free is None else
                      tr("That needs about {needs} of memory, and {free} is free.", needs=needs,
                         free=units.format_bytes(free))]
        return join_sentences(*parts, tr("Or leave these rows out, or start anyway; what doesn't fit is cut off.")
                              if self.can_leave_out else tr("Or start anyway; what doesn't fit is left out."))


def lost(records: Sequence[Record], measured: MeasuredRows, counts: RowCounts, facts: ModelFacts, config: RunConfig,
         machine: Machine) -> LostRows | None:
    """What a run would lose of its rows; None if nothing."""
    if not counts.cut:
        return None
    context, longest = facts.context_length or 10**9, measured.lengths[-1]
    longer = min(context, covering(longest))
    whole = counts.cut - count(records, measured, replace(config, max_length=longer)).cut
    keeps = longer > config.max_length and whole > 0
    needs = outlook.best_estimate(facts, replace(config, max_length=longer), machine).estimate.high if keeps else 0
    return LostRows(counts, config.overlong_rows == LEAVE_OUT, config.max_length, longer if keeps else None, whole,
                    needs, measurements.free_on(config, machine)[1], context, longest)


def covering(longest: int) -> int:
    """The sequence length for rows of up to this many tokens."""
    return max(STEP, math.ceil(longest / STEP) * STEP)
