"""What a user says about a file, as one line of text: which column holds what, which sheet, how a text is cut.

    instruction=Question,output=Answer,sheet=2024
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from slmstudio.core.data.collector import Store
from slmstudio.core.data.opening import Choices
from slmstudio.core.data.reader import Dataset, read_dataset
from slmstudio.core.data.sources.texts import CUTS
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

SHEET, TEXT_BY = "sheet", "text_by"
_NEXT = re.compile(r",(?=[a-z_]+=)")
"""A comma between two of them; a column's name may contain others."""


def parse(text: str | None) -> tuple[dict[str, str], Choices]:
    """The column of each target, and the choices.

    Raises:
        UserError: it can't be read.
    """
    found: dict[str, str] = {}
    for part in _NEXT.split(text) if text else ():
        target, equals, column = part.partition("=")
        if not equals or not target.strip() or not column:
            raise UserError(tr('"{part}" doesn\'t name a column.', part=part), tr("It needs a target and a column."),
                            tr("Write it like this: {example}.", example="instruction=Question,output=Answer"))
        found[target.strip()] = column
    sheet, text_by = found.pop(SHEET, None), found.pop(TEXT_BY, None)
    if text_by is not None and text_by not in CUTS:
        raise UserError(tr('Text can\'t be split by "{text_by}".', text_by=text_by), "",
                        tr("Choose one of {ways}.", ways=", ".join(CUTS)))
    return found, Choices(sheet, text_by)


def written(columns: Mapping[str, str], choices: Choices) -> str | None:
    """As text; None if nothing was said."""
    said = {**columns, SHEET: choices.sheet, TEXT_BY: choices.text_by}
    return ",".join(f"{target}={value}" for target, value in said.items() if value) or None


def of(dataset: Dataset) -> str | None:
    """What was said about a dataset when it was read."""
    return written(dataset.given, dataset.choices)


def read(path: Path, text: str | None, progress: Callable[[int, int], None] | None = None,
         cancelled: Callable[[], bool] | None = None, store: Callable[[], Store] = list) -> Dataset:
    """Read a dataset as somebody said. Raises as `read_dataset`, and UserError where `text` can't be read."""
    columns, choices = parse(text)
    return read_dataset(path, progress, cancelled, columns or None, choices, store)
