"""A machine that gets as hot as a test wants, and runs whose guard looks at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
from support import small_runs
from support.small_runs import events

from slmstudio.core import files, jobs
from slmstudio.core.hardware import heat_guard
from slmstudio.core.hardware.nvml import GpuReading
from slmstudio.core.hardware.readings import MachineReading
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training import heat, train

At = Callable[[int, int], MachineReading | None]


class Machine:
    """Stands where the sensors' thread does.

    Args:
        at: what a look gives, by the number of steps made and of looks since the last of them.
        on_step: called when a step was made.
    """

    suspended_seconds, lost = 0.0, ""

    def __init__(self, job: JobContext, at: At, on_step: Callable[[], None]):
        self._events, self._at, self._on_step = files.LineReader(job.folder / jobs.EVENTS), at, on_step
        self._steps = self._looks = 0

    @property
    def newest(self) -> MachineReading | None:
        made = sum(event["type"] == "step" for event in self._events.read())
        self._looks = 0 if made else self._looks + 1
        self._steps += made
        if made:
            self._on_step()
        return self._at(self._steps, self._looks)

    def step_made(self) -> None:
        """The thread would want to know."""

    def close(self) -> None:
        """The thread would end."""


@pytest.fixture
def make_job(tmp_path, tiny_model, rows_file):
    return small_runs.maker(tmp_path, tiny_model, rows_file, max_steps=5, eval_steps=3, save_steps=100,
                            lora_dropout=0.1, heat_rest_seconds=1)


@pytest.fixture
def machine(monkeypatch):
    """Say what the machine reads, and how long a step takes. Only the guard's own clock knows of steps and rests,
    however busy the machine is; one hot look is enough for it. It is told that the card trains, though the processor
    does."""
    passed = 0.0

    def sleep(seconds: float) -> None:
        nonlocal passed
        passed += seconds

    def set_(at: At, step_seconds: float = 0.0) -> None:
        monkeypatch.setattr(train, "Sensors",
                            lambda job, *given, **more: Machine(job, at, lambda: sleep(step_seconds)))

    monkeypatch.setattr(heat, "time", SimpleNamespace(monotonic=lambda: passed, sleep=sleep))
    monkeypatch.setattr(heat_guard, "HOT_SECONDS", 0.0)
    monkeypatch.setattr(train, "HeatPauses", lambda *given, on_cpu: heat.HeatPauses(*given, on_cpu=False))
    return set_


def gpu(celsius: int, **more) -> MachineReading:
    return MachineReading((GpuReading(0, "RTX 3060", celsius, 95, **more),))


def hot_after(*steps: int, looks: int = 5) -> At:
    """Too hot for some looks after each of these steps."""
    return lambda step, look: gpu(91 if step in steps and look < looks else 60)


def story(job, *kinds: str) -> list[tuple[str, int]]:
    return [(event["type"], event["global_step"]) for event in events(job, *kinds)]


def rests_of(job, at: At, **changes) -> heat.HeatPauses:
    """The guard of a run that has begun, without a training."""
    config = replace(RunConfig.from_dict(job.request), **changes)
    return heat.HeatPauses(job, config, Machine(job, at, lambda: None), on_cpu=False)
