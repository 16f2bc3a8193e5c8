"""What a user says about a file's columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from slmstudio.core.data.mapping.look import TARGETS, ColumnMap, needed
from slmstudio.core.data.strict_json import printable
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

_ALIASES = {"question": "instruction", "answer": "output", "response": "output", "context": "input", "good": "chosen",
            "bad": "rejected", "better": "chosen", "worse": "rejected", "conversations": "messages"}


def given_map(given: Mapping[str, str], columns: Sequence[str]) -> ColumnMap:
    """What a user says about the columns.

    Args:
        given: the column of each target; "choices" may name several, with commas between.

    Raises:
        UserError: a target or a column that doesn't exist, or a target that is missing.
    """
    wanted = {_ALIASES.get(target.strip().casefold(), target.strip().casefold()): column
              for target, column in given.items()}
    layout = next((layout for layout, marks in (
        ("preference", {"chosen", "rejected", "ranked"}), ("labelled", {"label"}), ("messages", {"messages"}),
        ("text", {"text"})) if marks & wanted.keys()), "instruction")
    renamed = {("instruction", "preference"): "prompt", ("instruction", "labelled"): "prompt",
               ("output", "labelled"): "completion", ("messages", "labelled"): "completion",
               ("messages", "preference"): "prompt", ("prompt", "instruction"): "instruction",
               ("completion", "instruction"): "output"}
    wanted = {renamed.get((target, layout), target): column for target, column in wanted.items()}
    known = sorted({target for targets in TARGETS.values() for target in targets})
    for target in wanted:
        if target not in TARGETS[layout]:
            possible = (tr("Together with the other columns it can be {targets}.", targets=", ".join(TARGETS[layout]))
                        if target in known else tr("It can be {targets}.", targets=", ".join(known)))
            raise UserError(tr('A column can\'t be used as "{target}" here.', target=printable(target)), possible,
                            tr("Choose one of them, for example --map instruction=Question."))
    series = _series(wanted, columns)
    check_columns((*wanted.values(), *series), columns)
    missing = [target for target in needed(layout, wanted) if target not in wanted]
    if missing:
        raise UserError(tr('No column was chosen for "{target}".', target=missing[0]),
                        tr("Without it there is nothing to learn."),
                        tr("Choose one, for example --map {target}=COLUMN.", target=missing[0]))
    return ColumnMap(layout, wanted, series)


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
