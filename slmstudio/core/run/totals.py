"""What a run's events add up to in a list of runs, kept so that a thousand runs are listed in a moment.

    cache/totals.json   by run folder: its `Totals`, and the state of events.jsonl that they are of

It holds nothing that the run folders don't say: without it they are read again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import slmstudio
from slmstudio.core import files, i18n, jobs, paths
from slmstudio.core.jobs.job import EventReader
from slmstudio.core.lock import told
from slmstudio.core.run.energy.use import EnergyUse, Part
from slmstudio.core.run.history import RunHistory

FORMAT = 1
"""Raised whenever events add up to something else: what was kept before isn't used then."""
FILE = "totals.json"


@dataclass(frozen=True)
class Totals:
    """
    Attributes:
        paused: whether the newest word is that it waits.
        resting: whether the guard lets it stand still.
        train_loss: mean of the last logged steps.
        eval_loss_before: of the model as it came.
        eval_loss_so_far: as `RunHistory.eval_loss_after` says without a result.
        seconds: of work, from first event to last; the time between a crash and the Resume is none.
        energy: what it drew so far; None where it isn't known.
        locked: whether its process was kept from the network and from other files, in a sentence.
        rested: seconds; `peak_c` the highest temperature, or None; `heat` is both in a sentence, or "".
    """

    begun: bool
    paused: bool
    resting: bool
    train_loss: float | None
    eval_loss_before: float | None
    eval_loss_so_far: float | None
    steps: int
    total_steps: int | None
    seconds: float
    energy: EnergyUse | None
    locked: str
    rested: float
    peak_c: float | None
    heat: str

    @classmethod
    def of(cls, history: RunHistory) -> Totals:
        losses = history.series["eval_loss"]
        return cls(
            history.last_time is not None, history.paused, history.guard.stands_still,
            history.series["train_loss"].last(), losses.y[0] if losses else None,
            history.eval_loss_after({}), history.step, history.total_steps or None,
            history.seconds, history.energy.use, told.sentence(history.locks), history.guard.rested,
            history.guard.peak_c, history.guard.sentence())

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Totals:
        """Raises TypeError, KeyError: the state is damaged."""
        use = state["energy"]
        energy = use and EnergyUse(**{**use, "parts": tuple(Part(**part) for part in use["parts"])})
        return replace(cls(**state), energy=energy)


class TotalsReader:
    """The totals of run folders: kept ones as long as their events are the same, else added up. Of a running run only
    what was appended since is read. For one thread."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Any]] | None = None
        self._changed = False
        self._at_work: dict[Path, tuple[EventReader, RunHistory, int]] = {}

    def of(self, folder: Path, ended: bool) -> Totals:
        """The totals of a run.

        Raises:
            UserError: a newer program wrote the events.
            OSError: they can't be read.
        """
        stamp = _stamp(folder)
        kept = self._load().get(str(folder))
        if kept is not None and kept.get("stamp") == stamp:
            with contextlib.suppress(TypeError, KeyError, AttributeError):
                return Totals.from_dict(kept["totals"])
        reader, history, size = self._at_work.pop(folder, (None, None, 0))
        if reader is None or history is None or size > stamp[1]:
            reader, history = EventReader(folder), RunHistory()
        for event in reader.read():
            history.add(event)
        totals = Totals.of(history)
        if ended:
            self._load()[str(folder)] = {"stamp": stamp, "totals": asdict(totals)}
            self._changed = True
        else:
            self._at_work[folder] = reader, history, stamp[1]
        return totals

    def save(self) -> None:
        """Keep them for the next start; what can't be kept is read again."""
        if not self._changed:
            return
        runs = {folder: each for folder, each in self._load().items() if Path(folder).is_dir()}
        with contextlib.suppress(OSError):
            paths.cache_dir().mkdir(parents=True, exist_ok=True)
            files.write_atomically(_file(), json.dumps({**_valid(), "runs": runs}).encode())
            self._changed = False

    def _load(self) -> dict[str, dict[str, Any]]:
        if self._kept is None:
            with contextlib.suppress(OSError):
                self._kept = _read()
            self._kept = self._kept or {}
        return self._kept


@contextlib.contextmanager
def reading() -> Iterator[TotalsReader]:
    reader = TotalsReader()
    try:
        yield reader
    finally:
        reader.save()


def _read() -> dict[str, dict[str, Any]]:
    state = files.read_json(_file()) or {}
    runs = state.get("runs")
    if not isinstance(runs, dict) or {name: state.get(name) for name in _valid()} != _valid():
        return {}
    return {folder: each for folder, each in runs.items() if isinstance(each, dict)}


def _valid() -> dict[str, Any]:
    """Two of the totals are sentences, so what was kept in another language is added up again."""
    return {"format": FORMAT, "version": slmstudio.__version__, "language": i18n.language()}


def _file() -> Path:
    return paths.cache_dir() / FILE


def _stamp(folder: Path) -> list[int]:
    """Changes whenever the events do: nanoseconds and bytes."""
    try:
        state = (folder / jobs.EVENTS).stat()
    except FileNotFoundError:
        return [0, 0]
    return [state.st_mtime_ns, state.st_size]
