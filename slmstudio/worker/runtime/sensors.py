"""Samples the machine once a second, on the run's own time axis.

It notices when the machine slept, when a card is too hot or held back, and when one is lost. A run whose card is lost
ends at its next step; one that makes no step any more hangs in the driver, and is ended from here.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Sequence

import psutil

from slmstudio.core.hardware.guard import HeatWatch, SlowdownWatch
from slmstudio.core.hardware.guidance import short_gpu_name
from slmstudio.core.hardware.machine import open_as_torch_counts
from slmstudio.core.hardware.nvml import GpuReading, open_all
from slmstudio.core.hardware.readings import MachineReader, MachineReading
from slmstudio.core.i18n import join_sentences, noop, tr
from slmstudio.worker.runtime import ending
from slmstudio.worker.runtime.context import JobContext

PERIOD_SECONDS = 1.0
SLEPT_SECONDS = 6.0
"""A gap of this many seconds between two samples isn't a delay: the machine slept, or the process was stopped."""
STALE_SECONDS = 10.0
"""An older reading says nothing of now."""
LOST_SECONDS = 3.0
"""A card that hasn't answered for this long is lost; before, it may have been busy waking up."""
SILENT = noop("The machine's sensors no longer answer, so its temperature isn't monitored. The run continues. Restart "
              "the machine afterwards, and update the driver if it happens again.")
SILENT_PERIODS = 15
"""This many periods without a new reading: the driver doesn't answer at all."""
HUNG_SECONDS = 600.0
"""The driver doesn't answer, and no step was made for this long: as `HOPELESS_SECONDS`, but it may be an evaluation."""
HOPELESS_SECONDS = 60.0
"""A card is lost for this long, and no step was made: the run hangs in the driver, where nothing can interrupt it."""


def clock() -> float:
    """Seconds that also pass while the machine sleeps; Linux' monotonic clock stands still then."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.clock_gettime(boottime) if boottime is not None else time.monotonic()


class Sensors:
    """A thread that emits `sensors` events until it is closed; without a GPU it says so once.

    Args:
        uuids: of the cards that the run computes on, as torch counts them, None for one that torch doesn't name. None
            for a run on the processor: then all cards are watched, in the driver's order, and none ends the run.

    Attributes:
        suspended_seconds: how long the machine slept or the process was stopped, all in all.
        warns: whether it warns of heat. Where the heat guard acts on it, that is told instead.
    """

    def __init__(self, job: JobContext, uuids: Sequence[str | None] | None = None):
        self._job, self._on_gpu, self.warns = job, uuids is not None, True
        self.suspended_seconds = 0.0
        self._newest: tuple[float, MachineReading] | None = None
        self._failed = False
        self._closing = threading.Event()
        self._process = psutil.Process()
        monitors, reason = open_all() if uuids is None else open_as_torch_counts(uuids)
        self._reader = MachineReader(monitors, job.folder)
        self._cards = [_Card() for _ in monitors]
        self._stepped = clock()
        if not monitors:
            job.emit("sensors_unavailable", reason=reason)
        elif reason:
            job.log(reason, "warning")
        self._samples, self._silent = 0, False
        self._thread = threading.Thread(target=self._run, name="sensors", daemon=True)
        self._thread.start()
        threading.Thread(target=self._watch, name="sensors-watch", daemon=True).start()

    @property
    def newest(self) -> MachineReading | None:
        """The last reading of the machine; None before the first, and where a driver hangs and nothing newer comes."""
        newest = self._newest
        return newest[1] if newest is not None and clock() - newest[0] < STALE_SECONDS else None

    @property
    def lost(self) -> str:
        """What is wrong with a card that the run computes on and that no longer answers, in a sentence; otherwise
        ""."""
        now = clock()
        return next((card.message for card in self._cards if self._on_gpu and card.lost_since is not None
                     and now - card.lost_since >= LOST_SECONDS), "")

    def step_made(self) -> None:
        """Say that the run still does its work."""
        self._stepped = clock()

    def _run(self) -> None:
        before = clock()
        while not self._closing.wait(PERIOD_SECONDS):
            now = clock()
            if not self._silent:
                self._notice_sleep(now - before - PERIOD_SECONDS)
            before, self._silent = now, False
            try:
                self._sample(now)
            except Exception:  # whatever a library fails at: without its sensors a run continues
                self._report_failure()
            self._samples += 1
            self._give_up_when_hopeless(now)

    def _watch(self) -> None:
        """Name a driver that doesn't return from a question, which holds the other thread; and end a run that hangs in
        it too. Periods are counted, not seconds: a machine that slept has missed none."""
        seen, periods, told = -1, 0, False
        while not self._closing.wait(PERIOD_SECONDS):
            periods = periods + 1 if self._samples == seen else 0
            seen = self._samples
            if periods < SILENT_PERIODS:
                continue
            self._silent = True
            if not told:
                told = True
                self._job.warn("sensors_silent", tr(SILENT))
            if self._on_gpu and clock() - self._stepped >= HUNG_SECONDS and not self._closing.is_set():
                ending.give_up(self._job, ending.gpu_gone(
                    self._job, tr("The driver doesn't answer, and there was no step for 10 minutes.")))

    def _notice_sleep(self, gap: float) -> None:
        if gap >= SLEPT_SECONDS:
            self.suspended_seconds += gap
            self._stepped += gap
            self._job.emit("suspended", seconds=round(gap, 1))

    def _report_failure(self) -> None:
        if not self._failed:
            self._failed = True
            traceback.print_exc()
            self._job.warn("sensors_failed", tr("The machine's sensors can't be read, so its temperature isn't "
                                                "monitored. The run continues; the cause is in its log."))

    def _sample(self, now: float) -> None:
        reading = self._reader.read()
        self._newest = now, reading
        self._job.emit("sensors", **reading.to_dict(), process_memory=self._process.memory_info().rss,
                       cpu_percent=self._process.cpu_percent())
        for card, gpu in zip(self._cards, reading.gpus, strict=True):
            which = "" if len(self._cards) == 1 else f"GPU {gpu.index} ({short_gpu_name(gpu.name)}):"
            self._look_after(card, gpu, now, which)

    def _look_after(self, card: _Card, gpu: GpuReading, now: float, which: str) -> None:
        """Say once what is wrong with a card. `which` names it where there are several."""
        if gpu.lost:
            if card.lost_since is None:
                card.lost_since, card.message = now, join_sentences(which, gpu.message)
                self._job.emit("sensors_unavailable", reason=card.message)
                self._job.warn("gpu_lost", card.message)
            return
        if card.lost_since is not None:
            card.lost_since = None
            self._job.warn("gpu_back", join_sentences(which, tr("The GPU answers again.")))
        celsius = gpu.temperature_c if self.warns else None
        if celsius is not None and card.heat.update(celsius, gpu.slowdown_c) == "warn":
            self._job.warn("gpu_hot", join_sentences(which, card.heat.sentence(celsius)))
        for code, message in card.slowdown.update(gpu, now):
            self._job.warn(code, join_sentences(which, message))

    def _give_up_when_hopeless(self, now: float) -> None:
        """End a run whose card is lost and that hangs; a run that still makes steps ends by itself, at the next."""
        for card in self._cards if self._on_gpu and not self._closing.is_set() else ():
            if card.lost_since is not None and now - max(card.lost_since, self._stepped) >= HOPELESS_SECONDS:
                ending.give_up(self._job, ending.gpu_gone(self._job, card.message))

    def close(self) -> None:
        self._closing.set()
        self._thread.join(timeout=5)
        if not self._thread.is_alive():  # else it hangs in the driver, and closing that would hang too
            self._reader.close()


class _Card:
    """What is known about a card from one reading to the next.

    Attributes:
        lost_since: when it stopped answering; None while it does. `message` is what its driver said then.
    """

    def __init__(self) -> None:
        self.heat, self.slowdown = HeatWatch(), SlowdownWatch()
        self.lost_since: float | None = None
        self.message = ""
