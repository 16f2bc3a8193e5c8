"""The ways in which a file may be read, each with how sure it is and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from slmstudio.core.data.read_options import NO_OPTIONS, ReadOptions, written

SURE = 0.75
"""Certainty from which a file is read without a question. Below it, the user is asked, with the best candidate filled
in."""
MOST = 6
"""Candidates that are offered."""


class Evidence(NamedTuple):
    """Why a file may be read in a way: a code and its figures; `evidence.sentence` makes the sentence.

    Attributes:
        code: one of `evidence.SENTENCES`.
        values: what the sentence names: columns, counts, shares.
    """

    code: str
    values: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Candidate:
    """One way to read a file.

    Attributes:
        name: what it is read as: "question_answer", "conversation", "preference", "labelled", "classes", "choices",
            "text", or the id of a published layout in resources/importing ("chatgpt").
        columns: the column, or the joined columns, of each target, as `read_options.parse` gives them.
        options: sheet, header, list, cut, speakers.
        certainty: 0 to 1.
        evidence: for and against it.
    """

    name: str
    columns: Mapping[str, str] = field(default_factory=dict)
    options: ReadOptions = NO_OPTIONS
    certainty: float = 1.0
    evidence: tuple[Evidence, ...] = ()

    @property
    def line(self) -> str:
        """What chooses it by hand, as `--map` takes it; "" if there is nothing to say."""
        return written(self.columns, self.options) or ""

    @property
    def is_sure(self) -> bool:
        return self.certainty >= SURE


class Readable(Protocol):
    """What is known of how a file's rows are read, as of `opening.Part`; it grows while they are read.

    Attributes:
        certainty: how sure it is that these are the rows.
        options: what was chosen for the user, where others may be meant.
        others: other ways to read them.
        notes: sentences on how they were understood.
    """

    certainty: float
    options: ReadOptions
    others: list[Candidate]
    notes: list[str]


def ranked(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The surest first, none of them twice, at most `MOST`; of equally sure ones, the order stays."""
    best: dict[tuple[str, str], Candidate] = {}
    for each in candidates:
        known = best.get((each.name, each.line))
        if known is None or known.certainty < each.certainty:
            best[each.name, each.line] = each
    return tuple(sorted(best.values(), key=lambda each: -each.certainty)[:MOST])
