"""The formats of the files that outlive the version that wrote them.

Every such file carries a stamp: the number of its format. One of a newer program is refused with a sentence, because
what it says may mean something else by then. Datasets carry none: their rows belong to other programs too.

A new format: raise its number here, and add to `UPGRADES` how the one before becomes it as it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

State = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        format: what this program writes, and the newest that it reads.
        key: where the stamp is; a file without it was written before there was one, and is format 1.
        of_folder: whether its folder names it, as in "run.json of 2026-11-24-helpdesk-7f3a".
    """

    format: int = 1
    key: str = "format"
    of_folder: bool = False


KINDS = {
    "settings": Kind(3),
    "place": Kind(),  # which folder holds all the others
    "run": Kind(of_folder=True),  # run.json
    "job": Kind(key="protocol", of_folder=True),  # request.json, events, commands and outcome.json; what workers speak
    "adjustments": Kind(of_folder=True),
    "launch": Kind(of_folder=True),  # launch.json of a run that several machines train
    "rows": Kind(of_folder=True),  # manifest.json of the rows that a run keeps
    "checkpoint": Kind(of_folder=True),  # manifest.json of a checkpoint, of an adapter or of a model
    "parity": Kind(),
    "scores": Kind(key="protocol", of_folder=True),
    "notes": Kind(of_folder=True),
    "assistant": Kind(of_folder=True),  # what answers for a run in Chat and the server
    "queue": Kind(),
    "search": Kind(of_folder=True),  # search.json of a search for better settings
    "documents": Kind(of_folder=True),  # project.json of questions and answers from documents
    "measured": Kind(),  # what runs on this machine really needed
    "timings": Kind(),  # how long evaluations, exports and downloads took on it
    "chat": Kind(2),
    "vote": Kind(),  # each line of votes.jsonl
    "benchmark": Kind(key="protocol"),  # benchmarks/NAME.json
    "data set": Kind(key="protocol", of_folder=True),  # source.json of a benchmark's data
    "import": Kind(of_folder=True),  # what a model folder was made of
    "catalogue": Kind(),  # resources/catalogue.json
    "model source": Kind(of_folder=True),  # source.json of a model from the hub
    "download": Kind(of_folder=True),  # download.json of one that hasn't arrived yet
    "hub tokens": Kind(),
    "vetting": Kind(),  # what was found of a model folder
    "accepted tokenizers": Kind(),
}


class NewerFormat(UserError):
    """The file was written by a newer program."""


def stamp(kind: str) -> State:
    """What a new file of this kind begins with, as `{"format": 1}`."""
    return {KINDS[kind].key: KINDS[kind].format}


def check(kind: str, state: State, where: Path | str) -> State:
    """The content of a file in today's format; `state` itself where that is what it has.

    Args:
        where: the file, or how it is called in an error.

    Raises:
        NewerFormat: a newer program wrote it.
        UserError: its stamp isn't a format.
    """
    known = KINDS[kind]
    found = state.get(known.key, 1)
    if type(found) is not int or found < 1:
        raise UserError(tr("{name} can't be used.", name=_name(known, where)),
                        tr("Its “{key}” is {found!r}, which isn't a whole number of 1 or more.", key=known.key,
                           found=str(found)[:40]), tr("Restore the file as SLM Studio wrote it."))
    if found > known.format:
        raise NewerFormat(tr("{name} was written by a newer SLM Studio.", name=_name(known, where)),
                          tr("Its format is {found}; this program reads up to {newest}.", found=found,
                             newest=known.format), tr("Update SLM Studio, or open it with the version that wrote it."))
    if found == known.format:
        return state
    for step in range(found, known.format):
        if upgrade := UPGRADES.get((kind, step)):
            state = upgrade(state)
    return {**state, known.key: known.format}


def read(kind: str, path: Path) -> State | None:
    """A JSON object from a file in today's format, or None if the file is missing or isn't a JSON object.

    Raises:
        UserError: as `check` does.
        OSError: it can't be read.
    """
    state = files.read_json(path)
    return None if state is None else check(kind, state, path)


def _name(kind: Kind, where: Path | str) -> str:
    if isinstance(where, str):
        return where
    if not kind.of_folder:
        return where.name
    return tr("{file} of {folder}", file=where.name, folder=where.absolute().parent.name)


UPGRADES: dict[tuple[str, int], Callable[[State], State]] = {}
"""By kind and format: how a file of that format becomes one of the next. Nobody has files older than today's."""
