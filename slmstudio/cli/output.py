"""How the terminal prints results and errors, which run a command is about, and where it may write."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from slmstudio.core import files, i18n, program
from slmstudio.core.errors import MOST_SAID, Problem, UserError, os_errors_as
from slmstudio.core.i18n import number_text, tr
from slmstudio.core.report.text import HIDDEN, visible
from slmstudio.core.units import format_bytes

if TYPE_CHECKING:
    from slmstudio.core.run.time_estimate import TimeEstimate

# -- What a command is about (the run that it is given), and where it writes: never over what it reads.


def run_named(text: str) -> Path:
    from slmstudio.core.run import named

    return named.need(text)


def run_or_folder(text: str) -> Path:
    """A run's folder, or a model's; the caller finds out which."""
    from slmstudio.core.run import named

    return named.or_path(text)


def run_or_file(text: str) -> Path:
    """A run's folder, or a configuration; if it is missing, the reader says how to write one."""
    return Path(text) if Path(text).suffix == ".json" else run_or_folder(text)


Run = Annotated[Path, typer.Argument(parser=run_named, help="A run, by its name or folder.")]
RunOrFile = Annotated[Path, typer.Argument(parser=run_or_file, help="A run configuration, or a run by its name or "
                                                                    "folder.")]
Set = Annotated[list[str] | None, typer.Option(
    "--set", metavar="FIELD=VALUE", help="Override a field that `fields` lists. Can be given several times.")]


def spare(sources: Iterable[Path | str | None], *targets: Path) -> None:
    """Check that no target is a source, under any name, or a file in a source that is a folder. Call it before the
    work; a source that doesn't exist, or isn't given, is left to others.

    Raises:
        UserError: a target would overwrite a source.
    """
    read = [Path(source) for source in sources if source is not None and Path(source).exists()]
    for target in targets:
        if not target.exists():
            continue
        for source in read:
            if target.samefile(source) if not source.is_dir() else target.resolve().is_relative_to(source.resolve()):
                why = tr("The command reads from it.") if not source.is_dir() else tr(
                    "It's part of {folder}, which the command reads.", folder=source)
                raise UserError(tr("{target} would be overwritten.", target=target), why,
                                tr("Choose another name for the result."))


# -- What is wrong with an input, no longer than anybody would read: a file may have a problem in each of its rows.

MOST_IN_JSON = 1000
"""Problems of an input, and lines of one problem, that a JSON object names."""


def first(problems: Sequence[Problem], source: Path | str) -> Iterator[str]:
    """The first problems of a dataset, one per line, and how to see the others."""
    yield from map(str, problems[:MOST_SAID])
    if len(problems) > MOST_SAID:
        command = program.command("data", "check", source, "--problems", "FILE.jsonl")
        yield tr("… and {n:,} more. To write them all to a file: {command}", n=len(problems) - MOST_SAID,
                 command=command)


def for_json(problems: Sequence[Problem]) -> dict[str, Any]:
    """The first problems for a JSON object, and how many there are in all."""
    said = [{**problem.to_dict(), "lines": problem.lines[:MOST_IN_JSON]} for problem in problems[:MOST_IN_JSON]]
    return {"problems": said, "problems_in_all": len(problems)}


def write(path: Path, listed: Sequence[tuple[Path, Sequence[Problem]]]) -> None:
    """Write all problems of all files, one JSON object per line.

    Raises:
        UserError: it cannot be written.
    """
    with os_errors_as(tr("Could not write the problems.")):
        files.write_atomically(path, (files.dump_line({**problem.to_dict(), "file": problem.file or str(file)})
                                      for file, problems in listed for problem in problems))


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]
"""The option that each command has."""
FIRST_SECONDS, NEXT_SECONDS = 1.0, 5.0
"""After which it's said that files are still being read, and then again."""


def say(text: object = "", end: str = "\n", file: TextIO | None = None, flush: bool = False) -> None:
    """Print a line. All that the terminal prints goes through here or through a table, because names of files, rows
    and answers may hold characters that a terminal obeys: they are written out."""
    print(visible(str(text)), end=end, file=file, flush=flush)


def figure(value: float | None, form: str = ".3f") -> str:
    """A figure of a result. NaN and Inf come as themselves, or from a file as None."""
    return number_text(value, form) if value is not None and math.isfinite(value) else tr("not a number")


def print_json(value: dict[str, Any]) -> None:
    line = json.dumps(files.without_non_finite(i18n.without_sources(value)), ensure_ascii=False)
    print(HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", line), flush=True)


def print_error(error: UserError, as_json: bool) -> None:
    """The sentences of an error on stderr; with --json also the object on stdout."""
    say(tr("error: {text}", text=error), file=sys.stderr)
    if as_json:
        print_json({"error": {**error.to_dict(), **for_json(error.problems)}})


def warning(text: object) -> str:
    return tr("warning: {text}", text=text)


def print_warning(text: object) -> None:
    say(warning(text), file=sys.stderr)


def print_time(expected: TimeEstimate | None) -> None:
    """Say how long what begins now takes; on stderr, beside its progress."""
    from slmstudio.core.run.time_estimate import source_text

    if expected is not None:
        say(tr("It takes {time} ({source}).", time=expected.text(), source=source_text(expected)), file=sys.stderr)


@contextlib.contextmanager
def reading_shown() -> Iterator[None]:
    """Meanwhile, say on stderr how far a run's events are read, where that takes long."""
    taken: Counter[Path] = Counter()
    due = time.monotonic() + FIRST_SECONDS

    def show(path: Path, size: int) -> None:
        nonlocal due
        whole = max(1, files.size_of(path))
        taken[path] = size + taken[path] % whole  # the same run may be named twice
        if (now := time.monotonic()) >= due:
            due = now + NEXT_SECONDS
            say(tr("Reading {file} of {run}: {percent:.0f}% of {size}. Ctrl-C cancels.", file=path.name,
                   run=path.parent.name, percent=100 * taken[path] / whole, size=format_bytes(whole)),
                file=sys.stderr, flush=True)

    with files.observed_reading(show):
        yield


def print_next(command: str) -> None:
    say("\n" + tr("Next: {command}", command=command))


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
