"""What a run's events add up to in a list of runs. The worker leaves it in outcome.json, so that a thousand runs are
listed in a moment; it is used if events.jsonl has as many bytes as then."""

from __future__ import annotations

import contextlib
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.jobs.job import EventReader
from slmstudio.core.lock import told
from slmstudio.core.run.energy.use import HOW, NAMES, EnergyUse, Part
from slmstudio.core.run.guard import summary
from slmstudio.core.run.history import RunHistory

FORMAT = 2
"""Increased whenever events add up differently, so that totals kept before aren't used."""


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


def to_keep(folder: Path) -> dict[str, Any]:
    """What outcome.json keeps of a run whose last event has been written.

    Raises:
        OSError: its events can't be read.
    """
    reader, history = EventReader(folder), RunHistory()
    for event in reader.read():
        history.add(event)
    return to_dict(Totals.of(history), reader.offset)


def to_dict(totals: Totals, events: int) -> dict[str, Any]:
    """For JSON. `events`: bytes of the events that they are of."""
    return {"format": FORMAT, "events": events, **asdict(totals)}


def kept(state: Any, events: int) -> Totals | None:
    """What `to_dict` made, if it is of events of so many bytes."""
    if not isinstance(state, dict) or (state.get("format"), state.get("events")) != (FORMAT, events):
        return None
    with contextlib.suppress(AttributeError, LookupError, TypeError, ValueError):
        return Totals.from_dict(state)
    return None
