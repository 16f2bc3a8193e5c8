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
UNKNOWN = 0.25
"""Certainty of columns that are proposed for the length of their texts alone: the rows aren't read so unasked."""
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
    is_given = bool(mapper.is_given or options != NO_OPTIONS)
    found = []
    for each in mapper.maps:
        cut_says_all = part.text_by and (each.said == {"text": "text"} or part.text_by in _CUT_ALONE)
        found.append(Candidate(
            each.name, {} if cut_says_all and not mapper.is_given else each.said,
            replace(options, text_by=part.text_by) if cut_says_all else options,
            1.0 if is_given else part.certainty * each.certainty, each.evidence))
    if is_given and found:
        return found
    is_clear = any(each.is_sure for each in found)
    return [*found, *([] if is_clear else _by_length(mapper, options)), *([] if is_given else part.others)]


def _by_length(mapper: Mapper, options: ReadOptions) -> list[Candidate]:
    """Of columns that tell nothing: the two with the longest texts, in the file's order, as questions and answers."""
    lengths = mapper.lengths_of_texts()
    longest = sorted(lengths, key=lambda name: -lengths[name])
    if len(longest) < 2:
        return [Candidate("text", {"text": name}, options, UNKNOWN) for name in longest]
    asked, answered = (name for name in lengths if name in longest[:2])
    pairs = [(asked, answered), (answered, asked), *((name, answered) for name in longest[2:4])]
    return [Candidate("question_answer", {"instruction": one, "output": other}, options, UNKNOWN / place,
                      (Evidence("longest_two", {"one": asked, "other": answered}),) if place == 1 else ())
            for place, (one, other) in enumerate(pairs, 1)]
