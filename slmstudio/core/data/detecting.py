"""Detects how the rows of a file may be read, from the first of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import Any

from slmstudio.core.data.candidates import Candidate, Evidence
from slmstudio.core.data.mapping.mapper import SAMPLE, Mapper
from slmstudio.core.data.opening import Part
from slmstudio.core.data.read_options import NO_OPTIONS, ReadOptions
from slmstudio.core.data.sources.row import Raw

SAMPLE_BYTES = 8 << 20
"""About how much of a file is kept, at most, to guess its columns."""
_CUT_ALONE = ("question", "dialogue")
"""Cuts of a text that make columns, so that the cut says it all."""


def sampled(part: Part) -> tuple[list[Any], Iterator[Raw]]:
    """The values of a part's first rows, by which its columns are guessed, and all its rows."""
    everything = part.all_rows()
    sample = list(first_of(everything))
    return [raw.value for raw in sample], chain(sample, everything)


def first_of(rows: Iterator[Raw]) -> Iterator[Raw]:
    """The first rows, until they are enough for a guess, or long."""
    size = 0
    for raw in islice(rows, SAMPLE):
        yield raw
        size += len(str(raw.value)) if raw.problem is None else 0
        if size > SAMPLE_BYTES:
            return


def candidates_of(part: Part, mapper: Mapper, options: ReadOptions) -> list[Candidate]:
    """The ways in which a part may be read: by its columns, and cut in other ways; as a user said, that alone."""
    is_cut = options != NO_OPTIONS
    chosen = options if is_cut else part.options
    layout = mapper.published
    by = () if layout is None else (Evidence("published", {"layout": layout["name"]}),)
    found = []
    for each in mapper.maps:
        cut_says_all = chosen.text_by and not mapper.is_given and (
            each.said == {"text": "text"} or chosen.text_by in _CUT_ALONE)
        found.append(Candidate(
            each.name if layout is None else layout["id"], {} if cut_says_all else each.said, chosen,
            1.0 if mapper.is_given else each.certainty if is_cut else min(part.certainty, each.certainty),
            part.evidence if cut_says_all else (*by, *each.evidence)))
    if is_cut or mapper.is_given:
        return found
    best = found[0].certainty if found else 1.0  # what the rows are read as stays the first
    return [*found, *(replace(each, certainty=min(each.certainty, 0.9 * best)) for each in part.others)]
