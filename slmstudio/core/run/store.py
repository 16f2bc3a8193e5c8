"""Reads the events of runs, each line once, and remembers what they add up to: for the window, the terminal, reports.

    cache/runs/HASH   of a run folder: a line of JSON that says which events.jsonl it is of, and its totals; then the
                      state of its `RunHistory`, and the points of its curves

What a file holds is used only if events.jsonl is the same, or has grown since; then the reading continues from there.
The worker leaves the totals in outcome.json too, so that a thousand runs are listed in a moment.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import secrets
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial, reduce
from pathlib import Path
from typing import Any

from slmstudio import __version__
from slmstudio.core import files, i18n, jobs, paths
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.lock import proof
from slmstudio.core.run import guard_summary
from slmstudio.core.run.energy.energy_use import HOW, NAMES, EnergyUse, Part
from slmstudio.core.run.history import RunHistory, as_plain, copied, from_plain

FORMAT = 2
"""Increased whenever events add up differently, so that totals kept before aren't used."""
WORTH_SAVING = 2**16
"""Bytes of events from which on a file is quicker than reading them again."""
MOST_RUNS = 8
"""Runs whose histories stay in memory: a long one has a hundred megabytes."""
TAIL = 2**12
EVENTS_A_LOOK = 2048
"""Events between two looks whether the reading was cancelled."""
_DAMAGED = (AttributeError, LookupError, OSError, TypeError, ValueError)


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
    def locked(self) -> str:
        """Whether its process was kept from the network and from other files, in a sentence."""
        return proof.sentence(self.locks)

    @property
    def heat(self) -> str:
        """What the guard did, in a sentence, or ""."""
        return guard_summary.sentence(self.rests, self.pauses, self.peak_c)

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


@dataclass
class _Reading:
    """What was read of one run.

    Attributes:
        stamp: of events.jsonl when everything up to then had been read; None before.
        tail: a hash of the last bytes that were read.
        lent: whether somebody has `history`, which then doesn't change any more.
        saved: bytes that the file in the cache is of.
    """

    reader: jobs.EventReader
    history: RunHistory = field(default_factory=RunHistory)
    stamp: tuple[int, ...] | None = None
    tail: str = ""
    language: str = field(default_factory=i18n.language)
    lent: bool = False
    saved: int = 0
    at_work: threading.Lock = field(default_factory=threading.Lock)

    def forget(self) -> None:
        """Begin again with the first event."""
        self.reader, self.history = jobs.EventReader(self.reader.path.parent), RunHistory()
        self.stamp, self.lent, self.saved = None, False, 0


class RunStore:
    """The events of run folders, from memory, from the cache, or read. For any thread; a run is read by one at a time.
    """

    def __init__(self, worth_saving: int = WORTH_SAVING) -> None:
        self._worth_saving = worth_saving
        self._runs: OrderedDict[Path, _Reading] = OrderedDict()
        self._lock = threading.Lock()
        self._tidied = False

    def history(self, folder: Path, cancelled: Callable[[], bool] = lambda: False) -> RunHistory:
        """What has happened in a run so far. It is the same object until something does, and must not be changed.

        Args:
            cancelled: asked meanwhile; what was read by then need not be read again, and the answer has only that.

        Raises:
            UserError: a newer program wrote the events.
            OSError: they can't be read.
        """
        run = self._run(folder)
        with run.at_work:
            self._read(run, cancelled)
            if not run.lent:
                run.history.series["train_loss"].smoothed()  # here, since it would hold up the window
                run.lent = True
            return run.history

    def continued(self, folder: Path, cancelled: Callable[[], bool]) -> tuple[RunHistory, jobs.EventReader]:
        """A history of the caller's own, and what reads the events that come after it; arguments as of `history`."""
        run = self._run(folder)
        with run.at_work:
            self._read(run, cancelled)
            reader = jobs.EventReader(folder)
            reader.offset = run.reader.offset
            return copied(run.history), reader

    def totals(self, folder: Path, outcome: Outcome | None) -> Totals:
        """What a run's events add up to in a list of runs: as its outcome or the cache says, otherwise they are read.

        Raises:
            UserError, OSError: as `history`.
        """
        folder = folder.absolute()
        stamp = stamp_of(folder)
        if outcome is not None and (kept := _totals(outcome.totals, stamp[-1])):
            return kept
        known = self._runs.get(folder)
        if known is None or known.stamp != stamp:
            header = _read_header(_file(folder))
            if header.get("stamp") == [*stamp] and (kept := _totals(header.get("totals"), stamp[-1])):
                return kept
            known = self._run(folder)
        with known.at_work:
            self._read(known)
            return Totals.of(known.history)

    def tidy(self) -> None:
        """Forget runs that are gone, in the cache too: their events hold answers."""
        with self._lock:
            for folder in [each for each in self._runs if not each.is_dir()]:
                del self._runs[folder]
        with contextlib.suppress(OSError):
            for path in (paths.cache_dir() / "runs").iterdir():
                of_run = _read_header(path).get("folder")
                if not isinstance(of_run, str) or not Path(of_run).is_dir():
                    path.unlink(missing_ok=True)

    def _run(self, folder: Path) -> _Reading:
        folder = folder.absolute()
        with self._lock:
            run = self._runs.pop(folder, None)
            if run is None or run.language != i18n.language():  # events hold sentences, in that of their reading
                run = _Reading(jobs.EventReader(folder))
            self._runs[folder] = run
            while len(self._runs) > MOST_RUNS:
                self._runs.popitem(last=False)
            return run

    def _read(self, run: _Reading, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Read what is new."""
        stamp = stamp_of(run.reader.path.parent)
        if stamp == run.stamp:
            return
        if run.stamp is None:
            _load(run)
            if run.stamp == stamp:
                return
        if run.stamp is not None and not _continues(run, stamp):
            run.forget()
        reader = run.reader
        if run.lent:
            run.history, run.lent = copied(run.history), False
        try:
            for count, event in enumerate(reader.read()):
                if not count % EVENTS_A_LOOK and cancelled():
                    reader.offset, stamp = reader.at, (stamp[0], 0, reader.at)  # there it continues
                    break
                run.history.add(event, reader.at)
        except BaseException:
            run.forget()
            raise
        run.stamp, run.tail, run.history.damaged = stamp, _tail(reader.path, reader.offset), reader.damaged
        if reader.offset - run.saved > max(self._worth_saving, run.saved // 8):
            self._save(run)

    def _save(self, run: _Reading) -> None:
        """Keep it for the next start; what can't be saved is read again."""
        assert run.stamp is not None
        if not self._tidied:
            self._tidied = True
            self.tidy()
        arrays: dict[bytes, int] = {}  # curves have their x in common
        tag = secrets.token_hex(8)  # no event has it as a key
        folder = run.reader.path.parent
        path = _file(folder)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.partial")
        with contextlib.suppress(OSError, RecursionError):  # the latter if an event is nested absurdly deep
            state = json.dumps(run.history, default=partial(as_plain, tag, arrays)).encode()
            header = {"format": FORMAT, "version": __version__, "language": run.language, "folder": str(folder),
                      "stamp": run.stamp, "offset": run.reader.offset, "tail": run.tail, "tag": tag,
                      "sizes": [len(state), *map(len, arrays)], "check": _checksum([state, *arrays]),
                      "totals": _to_keep(Totals.of(run.history), run.stamp[-1])}
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(unfinished, "wb", opener=files.own) as file:
                file.writelines([json.dumps(files.without_non_finite(header)).encode(), b"\n", state, *arrays])
            os.replace(unfinished, path)
            run.saved = run.reader.offset


RUNS = RunStore()
"""The one that everything in this process asks."""


def to_keep(folder: Path) -> dict[str, Any]:
    """What outcome.json keeps of a run whose last event has been written.

    Raises:
        OSError: its events can't be read.
    """
    reader, history = jobs.EventReader(folder), RunHistory()
    for event in reader.read():
        history.add(event)
    return _to_keep(Totals.of(history), reader.offset)


def _to_keep(totals: Totals, events: int) -> dict[str, Any]:
    """For JSON. `events`: bytes of the events that they are of."""
    return {"format": FORMAT, "events": events, **asdict(totals)}


def _totals(state: Any, events: int) -> Totals | None:
    """What `_to_keep` made, if it is of events of so many bytes."""
    if not isinstance(state, dict) or (state.get("format"), state.get("events")) != (FORMAT, events):
        return None
    with contextlib.suppress(AttributeError, LookupError, TypeError, ValueError):
        return Totals.from_dict(state)
    return None


def stamp_of(folder: Path) -> tuple[int, int, int]:
    """Changes whenever a run's events do: their inode, nanoseconds and bytes."""
    try:
        state = (folder / jobs.EVENTS).stat()
    except FileNotFoundError:
        return 0, 0, 0
    return state.st_ino, state.st_mtime_ns, state.st_size


def _continues(run: _Reading, stamp: tuple[int, ...]) -> bool:
    """Whether events.jsonl has only grown since it was read."""
    assert run.stamp is not None
    return (stamp[0] == run.stamp[0] and stamp[-1] > run.stamp[-1]
            and _tail(run.reader.path, run.reader.offset) == run.tail)


def _tail(path: Path, offset: int) -> str:
    with contextlib.suppress(FileNotFoundError), open(path, "rb", opener=files.regular) as file:
        file.seek(max(0, offset - TAIL))
        return hashlib.sha256(file.read(min(TAIL, offset))).hexdigest()
    return ""


def _file(folder: Path) -> Path:
    return paths.cache_dir() / "runs" / hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:32]


def _read_header(path: Path) -> dict[str, Any]:
    """The first line of a file in the cache; empty if there is none."""
    with contextlib.suppress(*_DAMAGED), open(path, "rb", opener=files.regular) as file:
        return files.an_object(json.loads(file.readline()))
    return {}


def _load(run: _Reading) -> None:
    """Take what the cache has of a run, if it is undamaged and of this program; `_read` then looks at its stamp."""
    path = _file(run.reader.path.parent)
    header = _read_header(path)
    if [header.get(name) for name in ("format", "version", "language")] != [
            FORMAT, __version__, run.language]:
        return
    with contextlib.suppress(*_DAMAGED), open(path, "rb", opener=files.regular) as file:
        file.readline()
        state, *arrays = [file.read(size) for size in header["sizes"]]
        if _checksum([state, *arrays]) != header["check"]:
            return
        history = json.loads(state, object_hook=partial(from_plain, header["tag"], arrays))
        run.history, run.stamp, run.tail = history, tuple(header["stamp"]), header["tail"]
        run.reader.damaged, run.reader.offset, run.saved = history.damaged, header["offset"], header["offset"]


def _checksum(parts: list[bytes]) -> int:
    return reduce(lambda check, part: zlib.crc32(part, check), parts, 0)
