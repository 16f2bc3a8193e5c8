"""The first rows of a file as they are, for a person who says what its columns hold."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from slmstudio.core.data.mapping.mapper import SAMPLE
from slmstudio.core.data.opening import NO_CHOICES, Choices, DataFile


class FirstRows(NamedTuple):
    """
    Attributes:
        columns: names of the columns, of a table in its order.
        rows: the first rows, by column; a row may lack some.
        format, encoding, assumed, text_by, sheets: as of `reader.Dataset`.
    """

    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    format: str = ""
    encoding: str = ""
    assumed: bool = False
    text_by: str = ""
    sheets: tuple[str, ...] = ()


def first_rows(path: Path, choices: Choices = NO_CHOICES, most: int = 20,
               cancelled: Callable[[], bool] | None = None) -> FirstRows:
    """The columns and a few rows of a file; of a folder or an archive, of the first file in it.

    Args:
        most: rows to return at most; the columns are those of more rows, as the reader's are.

    Raises:
        UserError: the file cannot be read.
        ReadingCancelled: `cancelled` said so.
    """
    with closing(DataFile(Path(path), choices, None, cancelled).parts()) as parts:
        for part in parts:
            with closing(part.first_rows()) as raw:
                rows = [each.value for each in islice(raw, SAMPLE) if isinstance(each.value, dict)]
            columns = part.columns or tuple(dict.fromkeys(name for row in rows for name in row))
            return FirstRows(columns, rows[:most], part.format, part.encoding, part.assumed, part.text_by, part.sheets)
    return FirstRows((), [])
