"""What a project needs before its worker starts. Runs in threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from slmstudio.core import units
from slmstudio.core.documents import project as store
from slmstudio.core.documents import teacher as teachers
from slmstudio.core.documents.project import Project, Settings
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.core.jobs.job import Job


def prepare(sources: Sequence[Path], settings: Settings, progress: Callable[[int, int], None],
            cancelled: Callable[[], bool]) -> Project:
    """A new project whose documents are read.

    Raises:
        UserError: they can't be.
    """
    from slmstudio.core.documents import reading

    project = store.create(sources, settings)
    reading.read_into(project, progress, cancelled)
    return project


def cost_text(project: Project) -> str:
    """How long the passages that are left take."""
    trial = teachers.trials().get(str(project.settings.teacher.get("place")))
    left = len(project.passages()) - len(project.finished)
    if trial is None or not left:
        return tr("How long it takes is known after the first passages.")
    return join_sentences(tr("It takes {time}.", time=units.format_about(left * trial.seconds)))


def new_job(project: Project) -> Job:
    """The job that makes the questions of a project."""
    return Job.at(project.folder, "documents", project=str(project.folder))
