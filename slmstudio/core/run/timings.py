"""How long evaluations, exports and downloads took on this machine, kept in `timings.json` for estimates to come."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from slmstudio.core import files, formats, paths
from slmstudio.core.errors import UserError
from slmstudio.core.run.measured import changing

FILE, KIND = "timings.json", "timings"
ANSWERING, TUNED, EXPORTING, DOWNLOADING = "answering", "answering tuned", "exporting", "downloading"
MOST = 60
"""Entries of one kind that are kept; the oldest go first."""


@dataclass(frozen=True)
class Timing:
    """
    Attributes:
        kind: `ANSWERING` as the model came, `TUNED` with an adapter, `EXPORTING` or `DOWNLOADING`.
        machine: as `measured.device_key` names it; "" of a download.
        model: as `measured.model_key` names it, of an export with its types; "" of a download.
        units: tokens of the questions with their references, files, or bytes; `cost`: of one of them, to scale by: the
            model's parameters, or 1.
        seconds: that they took; `before`: that went by until the first of them, as for loading.
        when: seconds since 1970.
    """

    kind: str
    machine: str
    model: str
    units: float
    cost: float
    seconds: float
    before: float
    when: float

    @classmethod
    def now(cls, kind: str, units: float, seconds: float, *, machine: str = "", model: str = "", cost: float = 1.0,
            before: float = 0.0) -> Timing:
        return cls(kind, machine, model, float(units), float(cost), seconds, before, time.time())


def record(timing: Timing) -> None:
    """Keep one, as far as that is possible: it is only a help. What says nothing isn't kept."""
    if timing.units <= 0 or timing.seconds <= 0:
        return
    with contextlib.suppress(UserError, OSError), changing(_file()):
        kept = [*_entries(), timing]
        newest = [each for place, each in enumerate(kept)
                  if sum(later.kind == each.kind for later in kept[place + 1:]) < MOST]
        files.write_atomically(_file(), files.dump_pretty(
            {**formats.stamp(KIND), "timings": [asdict(each) for each in newest]}))


def load() -> list[Timing]:
    """What is known, oldest first; nothing where the file can't be used."""
    with contextlib.suppress(UserError, OSError):
        return _entries()
    return []


def _file() -> Path:
    return paths.cache_dir() / "measured" / FILE


def _entries() -> list[Timing]:
    """
    Raises:
        UserError: a newer program wrote the file.
        OSError: it can't be read.
    """
    kept = []
    for state in files.objects((formats.read(KIND, _file()) or {}).get("timings")):
        texts = {name: state.get(name) for name in ("kind", "machine", "model")}
        figures = {name: files.number(state, name) or 0.0 for name in ("units", "cost", "seconds", "before", "when")}
        if all(isinstance(text, str) for text in texts.values()) and figures["units"] > 0 and figures["cost"] > 0:
            kept.append(Timing(**texts, **figures))  # type: ignore[arg-type]
    return kept
