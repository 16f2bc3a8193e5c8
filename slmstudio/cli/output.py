"""How the terminal prints results and errors."""

from __future__ import annotations

import json
import math
import sys
from typing import Annotated, Any, TextIO

import typer

from slmstudio.cli import problems
from slmstudio.core import files, i18n
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import noop, number_text, tr
from slmstudio.core.report.text import HIDDEN, visible

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]
"""The option that each command has."""
OUTCOMES = dict(zip(
    ("finished", "stopped", "paused", "cancelled", "failed", "crashed", "running", "waiting", "new"),
    (noop("finished"), noop("stopped"), noop("paused"), noop("cancelled"), noop("failed"), noop("crashed"),
     noop("running"), noop("waiting"), noop("new")), strict=True))
"""How a run, a job or an entry of the queue is, in words."""


def say(text: object = "", end: str = "\n", file: TextIO | None = None, flush: bool = False) -> None:
    """Print a line. All that the terminal prints goes through here or through a table, because names of files, rows
    and answers may hold characters that a terminal obeys: they are written out."""
    print(visible(str(text)), end=end, file=file, flush=flush)


def figure(value: float | None, form: str = ".3f") -> str:
    """A figure of a result. NaN and Inf come as themselves, or from a file as None."""
    return number_text(value, form) if value is not None and math.isfinite(value) else tr("not a number")


def print_json(value: dict[str, Any]) -> None:
    line = json.dumps(files.without_non_finite(i18n.bare(value)), ensure_ascii=False)
    print(HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", line), flush=True)


def print_error(error: UserError, as_json: bool) -> None:
    """The sentences of an error on stderr; with --json also the object on stdout."""
    say(tr("error: {text}", text=error), file=sys.stderr)
    if as_json:
        print_json({"error": {**error.to_dict(), **problems.for_json(error.problems)}})


def warning(text: object) -> str:
    return tr("warning: {text}", text=text)


def print_warning(text: object) -> None:
    say(warning(text), file=sys.stderr)


def print_next(command: str) -> None:
    say("\n" + tr("Next: {command}", command=command))


def outcome_word(state: str) -> str:
    """A state as people read it; that of a later version as it is."""
    return tr(OUTCOMES.get(state, state))


def print_table(title: str, rows: list[Any], headers: tuple[str, ...] | None = None) -> None:
    if not rows:
        say(tr("{title}: none", title=title))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=visible(title), show_header=headers is not None, title_justify="left")
    for i in range(len(rows[0])):
        table.add_column(visible(headers[i]) if headers else "", overflow="fold")
    for row in rows:
        table.add_row(*map(visible, row))
    Console(markup=False, emoji=False).print(table)
