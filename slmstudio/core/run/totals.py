"""What a run's events add up to in a list of runs, kept so that a thousand runs are listed in a moment.

    outcome.json        its `totals`, as the worker left them
    cache/totals.json   by run folder, those that aren't in an outcome: of runs that crashed or were made by an earlier
                        version

Both record which state of events.jsonl they belong to, and contain nothing that isn't in it; otherwise it is read
again.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs, paths
from slmstudio.core.jobs.job import EventReader
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.lock import told
from slmstudio.core.run.energy.use import HOW, NAMES, EnergyUse, Part
from slmstudio.core.run.guard import summary
from slmstudio.core.run.history import RunHistory

FORMAT = 2
"""Increased whenever events add up differently, so that totals kept before aren't used."""
FILE = "totals.json"


@dataclass(frozen=True)
class Totals:
    """
    Attributes:
        paused: whether it is waiting, by its newest event.
        resting: whether it rests for the guard.
        train_loss: mean of the last logged steps.
        eval_loss_before: of the model as it came.
        eval_loss_so_far: as `RunHistory.eval_loss_after` says without a result.
        seconds: of work, from first event to last; the time between a crash and Resume doesn't count.
        energy: what it has used so far; None if it isn't known.
        locks: `lock` events.
        rests: seconds that the guard made it rest, by cause; `pauses` counts them.
        peak_c: the highest temperature, or None.
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
    locks: list[dict[str, Any]]
    rests: dict[str, float]
    pauses: int
    peak_c: float | None

    @property
    def rested(self) -> float:
        return sum(self.rests.values())

    @property
    def locked(self) -> str:
        """Whether its process was kept from the network and from other files, in a sentence."""
        return told.sentence(self.locks)

    @property
    def heat(self) -> str:
        """What the guard did, in a sentence, or ""."""
        return summary.sentence(self.rests, self.pauses, self.peak_c)

    @classmethod
    def of(cls, history: RunHistory) -> Totals:
        losses, guard = history.series["eval_loss"], history.guard
        return cls(
            history.last_time is not None, history.paused, guard.stands_still,
            history.series["train_loss"].last(), losses.y[0] if losses else None,
            history.eval_loss_after({}), history.step, history.total_steps or None,
            history.seconds, history.energy.use, [*history.locks], {**guard.seconds}, guard.pauses,
            guard.peak_c)

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Totals:
        """Raises AttributeError, LookupError, TypeError, ValueError: the state is damaged."""
        def known(name: str) -> float | None:
            if name in state.get("non_finite", ()):
                return math.nan
            return None if state[name] is None else _figure(state[name])

        return cls(bool(state["begun"]), bool(state["paused"]), bool(state["resting"]), known("train_loss"),
                   known("eval_loss_before"), known("eval_loss_so_far"), int(_figure(state["steps"])),
                   int(known("total_steps") or 0) or None, _figure(state["seconds"]), _energy(state["energy"]),
                   files.objects(state["locks"]), {why: _figure(each) for why, each in state["rests"].items()},
                   int(_figure(state["pauses"])), known("peak_c"))


def _energy(use: dict[str, Any] | None) -> EnergyUse | None:
    """Raises as `Totals.from_dict` does."""
    if use is None:
        return None
    parts = tuple(Part(part["name"], _figure(part["joules"]), part["how"]) for part in use["parts"]
                  if NAMES[part["name"]] and HOW[part["how"]])
    return EnergyUse(parts, _figure(use["seconds"]), _figure(use["bridged"]))


def _figure(value: Any) -> float:
    if (found := files.finite(value)) is None:
        raise ValueError(value)
    return found


class _WithoutCurves(RunHistory):
    """Takes half the time."""

    def _on_sensors(self, event: dict[str, Any]) -> None:
        pass


class TotalsReader:
    """The totals of run folders: kept ones if their events are unchanged, otherwise computed again. For a run in
    progress, only what has been appended is read. Use from one thread only."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] | None = None
        self._changed = False
        self._at_work: dict[Path, tuple[EventReader, RunHistory, int]] = {}

    def of(self, folder: Path, outcome: Outcome | None) -> Totals:
        """The totals of a run.

        Raises:
            UserError: a newer program wrote the events.
            OSError: they can't be read.
        """
        stamp = events_stamp(folder)
        kept = (outcome and _kept(outcome.totals, stamp[1])) or _kept(self._load().get(str(folder)), stamp)
        if kept:
            return kept
        reader, history, size = self._at_work.pop(folder, (None, None, 0))
        if reader is None or history is None or size > stamp[1]:
            reader, history = EventReader(folder), _WithoutCurves()
        for event in reader.read():
            history.add(event)
        totals = Totals.of(history)
        if outcome is not None:
            self._load()[str(folder)] = _to_keep(totals, stamp)
            self._changed = True
        else:
            self._at_work[folder] = reader, history, stamp[1]
        return totals

    def continue_from(self, folder: Path, reader: EventReader, history: RunHistory) -> None:
        """Take what somebody else has added up, so that a run's events aren't read twice."""
        self._at_work[folder] = reader, history, 0

    def save(self) -> None:
        """Keep them for the next start; what can't be saved is read again."""
        if not self._changed:
            return
        runs = {folder: each for folder, each in self._load().items() if Path(folder).is_dir()}
        with contextlib.suppress(OSError):
            paths.cache_dir().mkdir(parents=True, exist_ok=True)
            files.write_atomically(_file(), files.dump_line({"runs": runs}))
            self._changed = False

    def _load(self) -> dict[str, Any]:
        if self._kept is None:
            self._kept = {}
            with contextlib.suppress(OSError):
                self._kept = files.an_object((files.read_json(_file()) or {}).get("runs"))
        return self._kept


@contextlib.contextmanager
def reading() -> Iterator[TotalsReader]:
    reader = TotalsReader()
    try:
        yield reader
    finally:
        reader.save()


def to_keep(folder: Path) -> dict[str, Any]:
    """What outcome.json keeps of a run whose last event has been written.

    Raises:
        OSError: its events can't be read.
    """
    size, history = events_stamp(folder)[1], _WithoutCurves()
    for event in EventReader(folder).read():
        history.add(event)
    return _to_keep(Totals.of(history), size)


def _to_keep(totals: Totals, events: list[int] | int) -> dict[str, Any]:
    return {"format": FORMAT, "events": events, **asdict(totals)}


def _kept(state: Any, events: list[int] | int) -> Totals | None:
    """Totals that were kept, if they are of these events."""
    if not isinstance(state, dict) or (state.get("format"), state.get("events")) != (FORMAT, events):
        return None
    with contextlib.suppress(AttributeError, LookupError, TypeError, ValueError):
        return Totals.from_dict(state)
    return None


def _file() -> Path:
    return paths.cache_dir() / FILE


def events_stamp(folder: Path) -> list[int]:
    """Changes whenever the events do: nanoseconds and bytes. Copying a folder changes the former alone."""
    try:
        state = (folder / jobs.EVENTS).stat()
    except FileNotFoundError:
        return [0, 0]
    return [state.st_mtime_ns, state.st_size]
