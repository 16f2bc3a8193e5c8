"""What is wrong with an input, no longer than anybody would read: a file may have a problem in each of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from slmstudio.core import files, program
from slmstudio.core.errors import MOST_SAID, Problem, os_errors_as
from slmstudio.core.i18n import tr

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
