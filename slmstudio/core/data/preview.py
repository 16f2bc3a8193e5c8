"""The first rows of a file, as it has them and as a model will see them, long before all of it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from slmstudio.core.data import candidates
from slmstudio.core.data.collector import Rows
from slmstudio.core.data.dataset import Dataset
from slmstudio.core.data.mapping.mapper import Mapper
from slmstudio.core.data.opening import DataFile, first_rows
from slmstudio.core.data.read_options import NO_OPTIONS, ReadOptions
from slmstudio.core.data.reader import describe
from slmstudio.core.data.sources.row import with_words

MOST = 3
"""Rows that are shown as the model will see them."""


@dataclass
class Preview(Dataset):
    """What is known of a file by its first rows.

    Attributes:
        rows: the first rows, by column; a row may lack some.
        records: the first `MOST` rows as a model will see them; none if no row can be used.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def trouble(self) -> str:
        """Why the first row that can't be used can't; "" if all can be."""
        return self.problems[0].message if self.problems else ""

    @property
    def is_sure(self) -> bool:
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
    found, kept = Preview(file.path, options=options, given=dict(columns or {})), Rows()
    with closing(file.parts()) as parts:
        for part in islice(parts, 1):
            sample = first_rows(part)
            mapper = Mapper([each.value for each in sample], columns, options)
            for each in sample:
                kept.add(each, mapper, part.name)
            describe(found, part, mapper)
            rows = [each.value for each in sample if isinstance(each.value, dict)]
            found.rows = rows[:most]
            found.columns = part.columns or tuple(dict.fromkeys(name for row in rows for name in row))
            found.records, found.problems = list(islice(kept.records, MOST)), kept.all_problems()
            found.candidates = candidates.ranked(found.candidates)
            found.unused_words = with_words(mapper.sample, kept.unused) if kept.count else ()
    return found
