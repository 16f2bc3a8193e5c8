"""Blind votes, of Chat and of evaluations, kept append-only: one JSON object a line, with all that is needed to judge
it again."""

from __future__ import annotations

import functools
import hashlib
import random
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core import files, formats, jobs, paths
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import tr
from slmstudio.core.model.weights import fingerprint

MOST_ANSWERS = 4
BEST, ALL_GOOD, ALL_BAD, TAKEN_BACK = "best", "all good", "all bad", "taken back"


@dataclass(frozen=True)
class VotedModel:
    """What gave an answer. Two are the same where the file's bytes, the adapter's bytes and its strength are.

    Attributes:
        path: the GGUF file, or the model's folder.
        bytes: the file's size; 0 for a folder.
        sha256: of the file's bytes, in hexadecimal; of a folder its fingerprint.
        adapter_sha256: of the adapter on it, or "".
        strength: the adapter's, 1 for as trained; 0 without one.
    """

    name: str
    path: str
    bytes: int
    sha256: str
    adapter_sha256: str = ""
    strength: float = 0.0

    @property
    def identity(self) -> tuple[str, str, float]:
        return self.sha256, self.adapter_sha256, self.strength


@dataclass(frozen=True)
class Answer:
    """One of the answers that were compared.

    Attributes:
        messages: the conversation that it answers; after the first question each model has a conversation of its own.
    """

    model: VotedModel
    messages: tuple[dict[str, str], ...]
    text: str


@dataclass(frozen=True)
class Vote:
    """One judgement.

    Attributes:
        time: seconds since 1970.
        answers: two to four, in the order of the lanes, not in that in which they were shown.
        seed: what `shuffled` was given.
        order: the lane that stood in each place, from the left.
        verdict: `BEST`, `ALL_GOOD` or `ALL_BAD`; `TAKEN_BACK` where one in an evaluation counts no more.
        best: of `BEST`, which of `answers`.
        settings: temperature and the like.
        evaluation, item, names: whose answers, to which of its rows, and what it calls the models; empty in Chat. Of
            several votes on the same answers the last one counts.
    """

    time: float
    answers: tuple[Answer, ...]
    seed: int
    order: tuple[int, ...]
    verdict: str
    best: int | None
    blind: bool
    settings: dict[str, Any] = field(default_factory=dict)
    evaluation: str = ""
    item: int | None = None
    names: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {**formats.stamp("vote"), **asdict(self)}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Vote:
        """Raises ValueError, KeyError, TypeError: it isn't a vote."""
        answers = tuple(_answer(each) for each in state["answers"])
        vote = cls(float(state["time"]), answers, int(state["seed"]), tuple(map(int, state["order"])),
                   state["verdict"], state["best"], bool(state["blind"]), dict(state["settings"]),
                   _text(state.get("evaluation", "")), state.get("item"), tuple(map(_text, state.get("names", ()))))
        if not 2 <= len(answers) <= MOST_ANSWERS or sorted(vote.order) != list(range(len(answers))):
            raise ValueError("the answers and their order do not belong together")
        if vote.verdict not in (BEST, ALL_GOOD, ALL_BAD, TAKEN_BACK):
            raise ValueError(f"there is no verdict {vote.verdict!r}")
        if (type(vote.best) is int and 0 <= vote.best < len(answers)) is not (vote.verdict == BEST):
            raise ValueError("the best answer isn't one of those that were compared")
        return vote


def _answer(state: dict[str, Any]) -> Answer:
    model = state["model"]
    messages = tuple({"role": _text(each["role"]), "content": _text(each["content"])} for each in state["messages"])
    return Answer(VotedModel(_text(model["name"]), _text(model["path"]), int(model["bytes"]), _text(model["sha256"]),
                             _text(model["adapter_sha256"]), float(model["strength"])), messages, _text(state["text"]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} isn't text")
    return value


# -- the order of the answers ---------------------------------------------------------------------------------


def new_seed() -> int:
    """A seed for the next question's order, which nobody can foresee."""
    return secrets.randbelow(2**31)


def shuffled(count: int, seed: int) -> tuple[int, ...]:
    """The lane for each place: every order is equally likely, and the seed tells which it was."""
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return tuple(order)


# -- the file ------------------------------------------------------------------------------------------------


def evaluated_model(spec: Mapping[str, Any]) -> VotedModel:
    """A model of an evaluation's request. Its files may be gone by now: then their names tell it from others.

    Raises:
        UserError: a file can't be read.
    """
    gguf, adapter, folder = (Path(str(spec[name])) if spec.get(name) else None for name in ("gguf", "adapter", "model"))
    if gguf is not None and gguf.is_file():
        return voted_model(gguf)
    path = gguf or folder or Path(str(spec.get("name")))
    with os_errors_as(tr("Could not read the model that is compared.")):
        here = folder is not None and folder.is_dir()
        base = (_fingerprint(folder, folder.stat().st_mtime_ns) if here and folder else None) or _of_text(str(path))
        if adapter is None:
            return VotedModel(path.name, str(path), 0, base)
        weights = adapter / "adapter_model.safetensors"
        digest = _of_text(str(adapter))
        if weights.is_file():
            state = weights.stat()
            digest = _digest(weights, state.st_size, state.st_mtime_ns)
    return VotedModel(adapter.parent.name, str(adapter), 0, base, digest, 1.0)


@functools.lru_cache(maxsize=64)
def _fingerprint(folder: Path, changed: int) -> str | None:
    """Read once for each state of the folder: the window asks at every vote."""
    return fingerprint(folder)


def _of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def voted_model(path: Path, adapter: Path | None = None, strength: float = 0.0) -> VotedModel:
    """Who answers, with the checksums that prove it. Reads the whole files, once for each state of theirs.

    Raises:
        UserError: a file can't be read.
    """
    if path.is_dir():
        return evaluated_model(_folder_spec(path))
    with os_errors_as(tr("Could not read the model that is compared.")):
        state = path.stat()
        digest = _digest(path, state.st_size, state.st_mtime_ns)
        if adapter is None or strength == 0:
            return VotedModel(path.stem, str(path), state.st_size, digest)
        its = adapter.stat()
        return VotedModel(f"{path.stem} + {adapter.stem} {strength:.0%}", str(path), state.st_size, digest,
                          _digest(adapter, its.st_size, its.st_mtime_ns), strength)


def _folder_spec(folder: Path) -> dict[str, Any]:
    """A model folder, or a run with the adapter or the whole model that it has left, as in an evaluation's request."""
    base = (files.read_json(folder / jobs.RUN) or {}).get("model") if (folder / jobs.RUN).is_file() else None
    if base is None:
        return {"model": folder}
    return {"model": base, "adapter": folder / "adapter"} if (folder / "adapter").is_dir() else {
        "model": folder / "model"}


@functools.lru_cache(maxsize=64)
def _digest(path: Path, size: int, changed: int) -> str:
    return files.sha256_of(path)


def add(vote: Vote, path: Path | None = None) -> None:
    """Append a vote to the user's votes, or to the file `path`. A kill can lose the last one, no other.

    Raises:
        UserError: it can't be written, or a newer program wrote in the file.
    """
    path = path or paths.votes_file()
    if path.is_file():
        read(path)
    with os_errors_as(tr("Could not save the vote.")):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.append_line(path, vote.to_dict())


def read(path: Path | None = None) -> tuple[list[Vote], int]:
    """The votes that count, oldest first, and how many lines are none, as one that a power cut has damaged.

    Raises:
        UserError: the file can't be read, or a newer program wrote in it: a count without its votes would be wrong.
    """
    votes, damaged = _last(path or paths.votes_file())
    return [vote for vote in votes if vote.verdict != TAKEN_BACK], damaged


def of_chat() -> list[Vote]:
    """Those that were cast in Chat. Raises as `read`."""
    return [vote for vote in read()[0] if not vote.evaluation]


def of_evaluation(evaluation: str) -> list[Vote]:
    """Those on the answers of an evaluation, and those that were taken back. Raises as `read`."""
    return [vote for vote in _last(paths.votes_file())[0] if vote.evaluation == evaluation]


def _last(path: Path) -> tuple[list[Vote], int]:
    """The last of several votes on the same answers of an evaluation, and all other votes."""
    lines = files.LineReader(path)
    found: dict[Any, Vote] = {}
    damaged = 0
    with os_errors_as(tr("Could not read the votes.")):
        for number, state in enumerate(lines.read()):
            try:
                vote = Vote.from_dict(formats.check("vote", state, path))
                key = (vote.evaluation, vote.item, *sorted(vote.names)) if vote.evaluation else number
                found.pop(key, None)
                found[key] = vote
            except formats.NewerFormat:
                raise
            except (UserError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
                damaged += 1
    return list(found.values()), damaged + lines.damaged
