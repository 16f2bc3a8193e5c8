"""How the terminal asks how a file is to be read: by commands that say it, filled in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmstudio.cli import output
from slmstudio.cli.output import print_error, print_json, say
from slmstudio.core import program
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

if TYPE_CHECKING:
    from slmstudio.cli.progress import Follower
    from slmstudio.core.data.candidates import Candidate
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.run.config import RunConfig

OFFERED = 2
"""Ways for which a command is printed."""


def read(file: Path, said: str | None, follower: Follower, convert: bool = False) -> Dataset:
    """Read a dataset that is said to be read so, or that says it itself.

    Args:
        convert: whether the command has no --map: another one then writes the rows in the standard form.

    Raises:
        UserError: as `read_as`; or it doesn't say clearly enough.
    """
    from slmstudio.core.data.dataset import HasCandidates, not_sure
    from slmstudio.core.data.reader import read_as

    try:
        dataset = read_as(file.absolute(), said, follower.on_bytes)
        if not dataset.is_sure:
            raise not_sure(file, dataset.candidates)
    except HasCandidates as error:
        error.option = None if convert else ("--map", "{line}")
        raise
    return dataset


def map_text(file: Path | None, field: str, chosen: dict[str, Any], like: str | None = None,
            convert: bool = False) -> str | None:
    """What is said about a file with rows that a command has no --map for.

    Args:
        field: of the run's configuration that says it, which --set takes.
        chosen: what --set says.
        like: how other rows are read; these too, if they have the same columns.
        convert: as of `read`.

    Raises:
        UserError: nothing is said, and the file doesn't say it itself.
    """
    from slmstudio.core.data import remembered
    from slmstudio.core.data.dataset import not_sure
    from slmstudio.core.data.reader import preview

    if file is None or chosen.get(field):
        return chosen.get(field)
    try:
        found = preview(file.absolute())
    except UserError:  # whoever reads all of it tells
        return None
    if remembered.fits(like, found.columns):
        return like
    if found.candidates and not found.is_sure:
        error = not_sure(file, found.candidates)
        error.option = None if convert else ("--set", field + "={line}")
        raise error
    return None


def with_maps(config: RunConfig, convert: bool = False) -> RunConfig:
    """A configuration that says how its files are read, as far as they don't say it themselves.

    Args:
        convert: as of `read`.

    Raises:
        UserError: as `map_text`.
    """
    train, test = (Path(name) if name else None for name in (config.train_file, config.eval_file))
    said = {"train_map": config.train_map, "eval_map": config.eval_map}
    train_map = map_text(train, "train_map", said, None, convert)
    return replace(config, train_map=train_map, eval_map=map_text(test, "eval_map", said, train_map, convert))


def show(error: UserError, words: Sequence[str], as_json: bool) -> None:
    """Print an error; of a file that doesn't say how it is to be read, with the commands that say it.

    Args:
        words: the command, as it was typed.
    """
    candidates: Sequence[Candidate] = getattr(error, "candidates", ())
    if not candidates:
        print_error(error, as_json)
        return
    print_error(error, as_json=False)
    path, option = getattr(error, "path", ""), getattr(error, "option", None)
    offered = [_command(words, path, option, each) for each in candidates[:OFFERED]]
    for candidate, command in zip(candidates, offered, strict=False):
        say(f"  {_told(candidate)}\n    {command}", file=sys.stderr)
    if as_json:
        print_json({"error": {**error.to_dict(), **output.for_json(error.problems), "commands": offered},
                    "candidates": in_json(candidates)})


def _command(words: Sequence[str], path: Path, option: Sequence[str] | None, candidate: Candidate) -> str:
    if option is None:
        return program.command("data", "convert", path, "--map", candidate.line, "--out", "NEW.jsonl")
    return program.command(*words, *(each.replace("{line}", candidate.line) for each in option))


def _told(candidate: Candidate) -> str:
    from slmstudio.core.data.candidates import title, why

    return " ".join(filter(None, (tr("{reading}:", reading=title(candidate)), why(candidate))))


def in_json(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """Ways to read a file, as JSON values."""
    return [{"name": each.name, "line": each.line, "certainty": each.certainty,
             "evidence": [item.code for item in each.evidence]} for each in candidates]
