"""What a project needs before its questions are made, and what that costs. Runs in threads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slmstudio.core import units
from slmstudio.core.documents import project as store
from slmstudio.core.documents import work
from slmstudio.core.documents.project import Project
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import Machine, read_machine
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.gui.documents.review_list import ReviewList


@dataclass(frozen=True)
class Opened:
    """A project as a page shows it.

    Attributes:
        cost: how long the passages that are left take, and what they use, in a sentence.
        quality: what a trial said of the teacher, in a sentence; "" if nothing was tried.
        is_working: whether a worker is at it; `is_trial`: whether that only tries the teacher.
    """

    list: ReviewList
    cost: str
    quality: str
    is_working: bool
    is_trial: bool


def open_project(folder: Path, machine: Machine | None) -> Opened:
    """Raises UserError: it isn't a project, or can't be read."""
    project = store.open(folder)
    trial, working = work.trial_of(project), project.job.is_alive()
    return Opened(ReviewList(project), _cost_text(project, machine or read_machine()),
                  trial.sentence() if trial is not None else "", working,
                  working and bool(project.job.request().get("trial")))


def _cost_text(project: Project, machine: Machine) -> str:
    try:
        estimate = work.estimate(project, machine)
    except UserError as error:  # the teacher is gone
        return join_sentences(error.what, error.remedy)
    watt_hours = work.energy(estimate.likely, machine)
    name = str(project.settings.teacher.get("name") or "")
    if watt_hours is None:
        return tr("Takes {time} with {teacher}.", time=estimate.text(), teacher=name)
    return tr("Takes {time} and about {energy} with {teacher}.", time=estimate.text(),
              energy=units.format_energy(watt_hours * 3600), teacher=name)
