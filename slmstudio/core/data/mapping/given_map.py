"""What a user says about a file's columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slmstudio.core.data import column_names as names
from slmstudio.core.data.mapping.look import TARGETS, ColumnMap, needed
from slmstudio.core.data.mapping.made import MadeColumn, made_of
from slmstudio.core.data.read_options import JOIN, NO_OPTIONS, ReadOptions
from slmstudio.core.data.strict_json import printable
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

_ALIASES = {"question": "instruction", "answer": "output", "response": "output", "context": "input", "good": "chosen",
            "bad": "rejected", "better": "chosen", "worse": "rejected", "conversations": "messages"}
_MARKS = (("preference", {"chosen", "rejected", "ranked"}), ("labelled", {"label"}), ("messages", {"messages"}),
          ("text", {"text"}))
"""The layout of columns with one of these targets; that of others is "instruction"."""
_RENAMED = {("instruction", "preference"): "prompt", ("instruction", "labelled"): "prompt",
            ("output", "labelled"): "completion", ("messages", "labelled"): "completion",
            ("messages", "preference"): "prompt", ("prompt", "instruction"): "instruction",
            ("completion", "instruction"): "output"}
"""What a target is called in a layout."""


def given_map(given: Mapping[str, str], columns: Sequence[str], rows: Sequence[Mapping[str, Any]] = (),
              options: ReadOptions = NO_OPTIONS) -> ColumnMap:
    """What a user says about the columns.

    Args:
        given: the column of each target, or several joined by " + ", or a JMESPath expression for a part of one;
            "choices" may name several, with commas between.
        rows: some rows with the columns.

    Raises:
        UserError: a target or a column that doesn't exist, or has nothing to learn in it; or a target that is missing.
    """
    wanted = {_ALIASES.get(target.strip().casefold(), target.strip().casefold()): column
              for target, column in given.items()}
    layout = next((layout for layout, marks in _MARKS if marks & wanted.keys()), "instruction")
    wanted = {_RENAMED.get((target, layout), target): column for target, column in wanted.items()}
    _check_targets(wanted, layout)
    series = _series(wanted, columns)
    join = JOIN if options.join is None else options.join
    made = {name: found for name in wanted.values() if name not in columns
            and (found := made_of(name, columns, rows, join)) is not None}
    check_columns((name for name in (*wanted.values(), *series) if name not in made), columns)
    missing = [target for target in needed(layout, wanted) if target not in wanted]
    if missing:
        raise UserError(tr('No column was chosen for "{target}".', target=missing[0]),
                        tr("Without it there is nothing to learn."),
                        tr("Choose one, for example --map {target}=COLUMN.", target=missing[0]))
    _check_contents((wanted[target] for target in needed(layout, wanted)), made)
    return ColumnMap(layout, wanted, series, made)


def _check_targets(wanted: Mapping[str, str], layout: str) -> None:
    known = sorted({target for targets in TARGETS.values() for target in targets})
    for target in wanted:
        if target not in TARGETS[layout]:
            possible = (tr("Together with the other columns it can be {targets}.", targets=", ".join(TARGETS[layout]))
                        if target in known else tr("It can be {targets}.", targets=", ".join(known)))
            raise UserError(tr('A column can\'t be used as "{target}" here.', target=printable(target)), possible,
                            tr("Choose one of them, for example --map instruction=Question."))


def _check_contents(columns: Iterable[str], made: Mapping[str, MadeColumn]) -> None:
    for column in columns:
        if column not in made and names.column(column) in names.PICTURES:
            raise UserError(tr('"{column}" holds pictures, sounds or videos.', column=printable(column)),
                            tr("Models learn only from text here."), tr("Choose another column."))


def _series(wanted: dict[str, str], columns: Sequence[str]) -> tuple[str, ...]:
    """The columns with a choice each where "choices" names several, which are taken out of `wanted`."""
    said = wanted.get("choices", "")
    if said in columns or "," not in said:
        return ()
    return tuple(name.strip() for name in wanted.pop("choices").split(","))


def check_columns(wanted: Iterable[str], columns: Sequence[str]) -> None:
    """Raises UserError: one of those that a user named doesn't exist."""
    for column in wanted:
        if column not in columns:
            shown = ", ".join(f'"{printable(name)}"' for name in columns[:12])
            raise UserError(tr('There is no column "{column}".', column=printable(column)),
                            tr("The columns are {names}.", names=shown) if columns else tr("The file has no columns."),
                            tr("Choose one of them."))
