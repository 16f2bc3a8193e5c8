"""Splits records into those that are learned and those that are only evaluated."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from itertools import compress
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any

from slmstudio.core.data.languages import script_shares
from slmstudio.core.data.record import Record
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

if TYPE_CHECKING:
    import numpy as np

BY = ROWS, LANGUAGE, SOURCE = ("rows", "language", "source")
"""What gets the same share held out: all rows together, those of each language, or those of each file."""
USUAL_SHARE, ENOUGH = 0.1, 2_000
"""What is held out unless a user says otherwise: one row in ten, and of a large dataset this many rows."""
DRAWN = 16
"""Bytes by which prompts are told apart and ordered."""


def usual_share(rows: int) -> float:
    """The share of this many rows that is held out unless a user says otherwise, to a hundredth of a percent.

    The mean loss of 2,000 rows is exact to about 2% of how far the losses of single rows lie apart. Ten times as many
    would take ten times as long at each evaluation, and say nothing more of overfitting.
    """
    return min(USUAL_SHARE, max(round(ENOUGH / max(rows, 1), 4), 0.0001))


def split_evenly(records: Sequence[Record], eval_fraction: float, seed: int,
                 by: str = ROWS) -> tuple[list[Record], list[Record]]:
    """Split off rows for evaluation: (train, eval), both in the records' order. Raises and takes what `held_out` does.

    train is empty only when `records` is; eval may be empty.
    """
    chosen = held_out(records, eval_fraction, seed, by)
    return list(compress(records, ~chosen)), list(compress(records, chosen))


def held_out(records: Iterable[Record], eval_fraction: float, seed: int, by: str = ROWS) -> np.ndarray[Any, Any]:
    """Which rows are evaluated: [rows] of bool.

    Rows with the same prompt stay together, so that no evaluated question was learned; so do rows of one
    `Record.group`, and all that these two join. Such rows are a family here. Which families are evaluated depends on
    the seed, the prompts' text and the groups alone: it is the same on every machine and for every order of the rows,
    and a few added rows move few others. The records are looked at once, and 24 bytes of each are kept.

    Args:
        records: all rows.
        eval_fraction: share of the rows to evaluate, 0 to below 1. Eval gets as many whole families as fit into
            that share, and at least one where there are two or more and one has at most half of the rows.
        seed: another seed chooses other families.
        by: one of `BY`, of whose groups each gets the same share held out; a family counts as its first row does.
            A row's language is the script of most of its letters, its source the file that it came from.

    Raises:
        UserError: `by` is something else.
    """
    import numpy as np

    if by not in BY:
        raise UserError(tr('Rows can\'t be split by "{by}".', by=by), "",
                        tr("Choose one of {ways}.", ways=", ".join(BY)))
    drawn, kinds, families = bytearray(), array("H"), _Families()
    names: dict[str, int] = {}
    for record in records:
        draw = _draw(seed, record.prompt)
        drawn += draw
        if record.group:
            families.join(record.group, draw)
        name = "" if by == ROWS else record.file if by == SOURCE else _script(record)
        kinds.append(names.setdefault(name, len(names)))
    families.rename(drawn)
    draws = np.frombuffer(drawn, dtype=">u8").reshape(-1, DRAWN // 8)
    chosen = np.zeros(len(draws), dtype=bool)
    if eval_fraction <= 0 or not names:
        return chosen
    of_row = np.frombuffer(kinds, dtype=np.uint16)
    if by != ROWS:
        order, begins, sizes = _in_families(draws)
        of_row[order] = np.repeat(of_row[order[begins]], sizes)
    for number in range(len(names)):
        rows = np.flatnonzero(of_row == number)
        if len(rows):
            chosen[rows] = _fill(draws[rows], max(1, round(eval_fraction * len(rows))))
    return chosen


class _Families:
    """Which prompts belong together since rows of a group have them, each by its draw."""

    def __init__(self) -> None:
        self._first: dict[str, bytes] = {}  # by group
        self._above: dict[bytes, bytes] = {}

    def join(self, group: str, draw: bytes) -> None:
        """A row of this group has this prompt."""
        # The end of a draw decides: its beginning gives the family its place, which must be any with equal chance.
        upper, lower = sorted(map(self._top, (draw, self._first.setdefault(group, draw))), key=lambda each: each[::-1])
        self._above[lower] = upper

    def rename(self, drawn: bytearray) -> None:
        """Give all rows of a family the draw of one of its prompts."""
        for at in range(0, len(drawn) if self._above else 0, DRAWN):
            drawn[at:at + DRAWN] = self._top(bytes(drawn[at:at + DRAWN]))

    def _top(self, draw: bytes) -> bytes:
        while (above := self._above.get(draw, draw)) != draw:
            draw = above
        return draw


def _draw(seed: int, prompt: tuple[str, ...]) -> bytes:
    """`DRAWN` bytes of the SHA-256 of the JSON list of seed and prompt: prompts go by their order."""
    said = ", ".join((str(seed), *map(encode_basestring_ascii, prompt)))
    return hashlib.sha256(f"[{said}]".encode()).digest()[:DRAWN]


def _in_families(draws: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], ...]:
    """The rows, one or more, in the order of their draws; where each family begins among them, and its size."""
    import numpy as np

    order = np.lexsort(draws.T[::-1])
    ordered = draws[order]
    begins = np.flatnonzero(np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)])
    return order, begins, np.diff(np.r_[begins, len(order)])


def _fill(draws: np.ndarray[Any, Any], wanted: int) -> np.ndarray[Any, Any]:
    """Whole families, in the order of their draws, of at most `wanted` rows; never all of them.

    Args:
        draws: [rows, 2], equal for rows of one family.

    Returns:
        [rows] of bool.
    """
    import numpy as np

    order, begins, sizes = _in_families(draws)
    chosen, room, taken = np.zeros(len(order), dtype=bool), wanted, 0
    for begin, size in zip(begins.tolist(), sizes.tolist(), strict=True):
        if room == 0 or taken == len(begins) - 1:
            break
        if size <= room:
            chosen[order[begin : begin + size]] = True
            room, taken = room - size, taken + 1
    if not taken and len(begins) > 1:
        smallest = int(sizes.argmin())
        if 2 * sizes[smallest] <= len(order):
            chosen[order[begins[smallest] : begins[smallest] + sizes[smallest]]] = True
    return chosen


def _script(record: Record) -> str:
    shares = script_shares([record])
    return next(iter(shares), "")
