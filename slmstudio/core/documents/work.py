"""The job of a project: what it is asked, and what it will take in time and energy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slmstudio.core.documents.project import Project, Settings
from slmstudio.core.documents.teacher import SERVER, Teacher, Trial, addresses, trials
from slmstudio.core.hardware.guidance import rough_seconds
from slmstudio.core.hardware.machine import Machine
from slmstudio.core.jobs import Job, new
from slmstudio.core.model.facts import read_model
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.energy.energy_use import ESTIMATE, KWH, forecast
from slmstudio.core.run.time_estimate import ALIKE, ROUGH, TimeEstimate

TOKENS = 700
"""Of a passage with the questions about it, read and written, in one language; written ones count four times."""
BYTES_OF_WEIGHT = 0.6
"""In a GGUF file of the usual types."""
ASKED_SECONDS = 5.0
"""For a passage of a server that nobody has tried."""


def job_for(project: Project, trial: Sequence[Teacher] = ()) -> Job:
    """The job that makes what isn't made yet, not started; or one that only tries teachers on a few passages.

    Raises:
        UserError: the teacher isn't there any more.
        OSError: its request can't be written.
    """
    teachers = list(trial) or [Teacher.from_dict(project.settings.teacher)]
    served = [each for each in teachers if each.kind == SERVER]
    return new.documents(project.folder, sources=list(project.settings.sources),
                         models=[{"name": each.name, **each.spec()} for each in teachers],
                         addresses=sorted({address for each in served for address in addresses(each.place)}),
                         trial=[each.to_dict() for each in trial])


def estimate(project: Project, machine: Machine, teacher: Teacher | None = None) -> TimeEstimate:
    """The time for the passages that aren't made yet; by the last trial or job of the teacher, else a rough guess.

    Args:
        teacher: another one than the project's.
    """
    teacher = teacher or Teacher.from_dict(project.settings.teacher)
    waiting = len(project.passages()) - len(project.finished)
    tried = trials().get(teacher.place)
    if tried is not None:
        return TimeEstimate.around(waiting * tried.seconds, ALIKE)
    return TimeEstimate.around(waiting * _rough_seconds(teacher, project.settings, machine), ROUGH)


def _rough_seconds(teacher: Teacher, settings: Settings, machine: Machine) -> float:
    if teacher.kind == SERVER:
        return ASKED_SECONDS
    place = Path(teacher.spec().get("gguf") or teacher.spec()["model"])
    parameters = place.stat().st_size / BYTES_OF_WEIGHT if place.is_file() else read_model(place).parameters
    tokens = TOKENS * max(1, len(settings.languages)) * settings.per_passage / 3
    return rough_seconds(round(parameters), tokens, machine) * 4 / 6  # without the way back, and written ones cost more


def energy(seconds: float, machine: Machine) -> float | None:
    """Watt-hours that a job of so many seconds draws, about; None where a card doesn't tell its limit."""
    found = forecast(RunConfig("", "", ""), machine, bool(machine.gpus), seconds, (), ESTIMATE)
    return None if found is None else found.watts * seconds / KWH * 1000


def trial_of(project: Project) -> Trial | None:
    """What the last trial or job said of the project's teacher."""
    return trials().get(str(project.settings.teacher.get("place")))
