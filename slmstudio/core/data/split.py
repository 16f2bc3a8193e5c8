"""Splits records into those that are learned and those that are only evaluated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from slmstudio.core.data.record import Record
from slmstudio.core.data.statistics import script_shares
from slmstudio.core.errors import UserError

BY = ROWS, LANGUAGE, SOURCE = ("rows", "language", "source")
"""What gets the same share held out: all rows together, those of each language, or those of each file."""


def split(records: Sequence[Record], eval_fraction: float, seed: int) -> tuple[list[Record], list[Record]]:
    """Split off rows for evaluation: (train, eval), both in the records' order.

    Rows with the same prompt stay together, so that no evaluated question was learned. Which prompts are
    evaluated depends on the seed and the prompts' text alone: it is the same on every machine and for every
    order of the rows, and a few added rows move few others.

    Args:
        records: all rows.
        eval_fraction: share of the rows to evaluate, 0 to below 1. Eval gets as many whole prompts as fit into
            that share, and at least one prompt where there are two or more and one has at most half of the rows.
        seed: another seed chooses other prompts.

    Returns:
        train, which is empty only when `records` is, and eval, which may be empty.
    """
    by_prompt: dict[tuple[str, ...], list[int]] = {}
    for index, record in enumerate(records):
        by_prompt.setdefault(record.prompt, []).append(index)
    chosen: set[int] = set()
    if eval_fraction > 0 and len(by_prompt) > 1:
        order = sorted(by_prompt, key=lambda prompt: _draw(seed, prompt))
        chosen = _fill([by_prompt[prompt] for prompt in order], max(1, round(eval_fraction * len(records))))
    train = [record for index, record in enumerate(records) if index not in chosen]
    return train, [records[index] for index in sorted(chosen)]


def _draw(seed: int, prompt: tuple[str, ...]) -> bytes:
    return hashlib.sha256(json.dumps([seed, *prompt]).encode()).digest()


def _fill(groups: list[list[int]], wanted: int) -> set[int]:
    """Whole groups, in order, of at most `wanted` rows; never all of them."""
    chosen: list[list[int]] = []
    room = wanted
    for group in groups:
        if len(group) <= room and len(chosen) < len(groups) - 1:
            chosen.append(group)
            room -= len(group)
    if not chosen:
        smallest = min(groups, key=len)
        if 2 * len(smallest) <= sum(map(len, groups)):
            chosen = [smallest]
    return {index for group in chosen for index in group}


def split_evenly(records: Sequence[Record], eval_fraction: float, seed: int,
                 by: str = ROWS) -> tuple[list[Record], list[Record]]:
    """As `split`, with the same share of each group of rows; groups of one prompt are never torn apart.

    Args:
        by: one of `BY`; a row's language is the script of most of its letters, its source the file that it came from.

    Raises:
        UserError: `by` is something else.
    """
    if by == ROWS:
        return split(records, eval_fraction, seed)
    if by not in BY:
        raise UserError(f"Rows cannot be split by {by}.", "", f"Choose one of {', '.join(BY)}.")
    first: dict[tuple[str, ...], str] = {}
    groups: dict[str, list[Record]] = {}
    for record in records:
        group = first.setdefault(record.prompt, record.file if by == SOURCE else _script(record))
        groups.setdefault(group, []).append(record)
    held_out = {id(record) for rows in groups.values() for record in split(rows, eval_fraction, seed)[1]}
    return ([record for record in records if id(record) not in held_out],
            [record for record in records if id(record) in held_out])


def _script(record: Record) -> str:
    shares = script_shares([record])
    return next(iter(shares), "")
