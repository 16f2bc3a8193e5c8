"""The first rows of a file, as it has them and as a model will see them, long before all of it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, cast

from slmstudio.core.data import candidates
from slmstudio.core.data.candidates import Candidate
from slmstudio.core.data.collector import Rows
from slmstudio.core.data.mapping.mapper import Mapper
from slmstudio.core.data.opening import DataFile, first_rows
from slmstudio.core.data.read_options import NO_OPTIONS, ReadOptions
from slmstudio.core.data.reader import candidates_of
from slmstudio.core.data.record import Record
from slmstudio.core.data.sources.row import examples, with_words

MOST = 3
"""Rows that are shown as the model will see them."""


class Preview(NamedTuple):
    """
    Attributes:
        columns: names of the columns, of a table in its order.
        rows: the first rows, by column; a row may lack some.
        format, encoding, assumed, text_by, sheets: as of `Dataset`.
        records: the first `MOST` rows as a model will see them; none if no row can be used.
        trouble: why the first row that can't be used can't; "" if all can be.
        candidates, unused_words, examples: as of `Dataset`.
    """

    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    format: str = ""
    encoding: str = ""
    assumed: bool = False
    text_by: str = ""
    sheets: tuple[str, ...] = ()
    records: tuple[Record, ...] = ()
    trouble: str = ""
    candidates: tuple[Candidate, ...] = ()
    unused_words: tuple[str, ...] = ()
    examples: Mapping[str, str] = {}

    @property
    def is_sure(self) -> bool:
        """Whether it needn't be asked how the file is read."""
        return bool(self.candidates) and self.candidates[0].is_sure


def preview(path: Path, columns: Mapping[str, str] | None = None, options: ReadOptions = NO_OPTIONS, most: int = 20,
            cancelled: Callable[[], bool] | None = None) -> Preview:
    """The first rows of a file, read in a way; of a folder or an archive, of the first file in it.

    Args:
        columns, options: as of `read_dataset`.
        most: rows to return at most as the file has them; the columns are those of more rows, as the reader's are.

    Raises:
        UserError: the file can't be read, or not so.
        ReadingCancelled: `cancelled` said so.
    """
    file = DataFile(Path(path), options, None, cancelled, (columns or {}).values(), whole=False)
    with closing(file.parts()) as parts:
        for part in parts:
            sample = first_rows(part)
            values = [each.value for each in sample]
            mapper, kept = Mapper(values, columns, options), Rows()
            for each in sample:
                kept.add(each, mapper, part.name)
            rows = [value for value in values if isinstance(value, dict)]
            names = part.columns or tuple(dict.fromkeys(name for row in rows for name in row))
            problems = kept.all_problems()
            return Preview(
                names, rows[:most], part.format, part.encoding, part.assumed, part.text_by, part.sheets,
                tuple(cast(list[Record], islice(kept.records, MOST))), problems[0].message if problems else "",
                candidates.ranked(candidates_of(part, mapper, options)),
                with_words(mapper.sample, kept.unused) if kept.count else (), examples(mapper.sample))
    return Preview((), [])
