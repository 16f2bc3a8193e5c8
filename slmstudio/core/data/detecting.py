"""Detects how the rows of a file may be read, from the first of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    if not is_given:
        return [*(found or _by_length(mapper, options)), *part.others]
    return found or _by_length(mapper, options)


def _by_length(mapper: Mapper, options: ReadOptions) -> list[Candidate]:
    """Of columns that tell nothing: the longest texts as the answers, and those of another column as the questions."""
    lengths = mapper.lengths_of_texts()
    if not lengths:
        return []
    longest = max(lengths, key=lambda name: lengths[name])
    others = [name for name in lengths if name != longest]
    return _proposed(others, longest, options) or [Candidate("text", {"text": longest}, options, UNKNOWN)]


def _proposed(asked: Sequence[str], answer: str, options: ReadOptions) -> list[Candidate]:
    def pair(columns: Mapping[str, str], certainty: float) -> Candidate:
        return Candidate("question_answer", columns, options, certainty,
                         (Evidence("longest", {"column": answer}),) if columns["output"] == answer else ())

    found = [pair({"instruction": each, "output": answer}, UNKNOWN) for each in asked[:3]]
    return [*found[:1], *([pair({"instruction": answer, "output": asked[0]}, UNKNOWN / 2)] if len(asked) == 1 else []),
            *found[1:]]
