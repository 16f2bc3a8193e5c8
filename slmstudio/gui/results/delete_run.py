"""Moving a run to the trash: the question before it, and the refusal while something works on the run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMessageBox, QWidget

from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.run import folder as run_folder
from slmstudio.core.run.folder import RunSummary


def ask(parent: QWidget, run: RunSummary, delete: Callable[[RunSummary], None]) -> None:
    """Ask whether the run should go, and delete it then."""
    box = QMessageBox(parent)
    box.setIcon(QMessageBox.Icon.Question)
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.setWindowTitle(tr("Delete a run"))
    box.setText(tr("Move “{name}” to the trash?", name=run.config.name))
    box.setInformativeText(tr("Its checkpoints, its result, its evaluations and its exports go with it."))
    box.setStandardButtons(QMessageBox.StandardButton.Cancel)
    yes = box.addButton(tr("Move to trash"), QMessageBox.ButtonRole.DestructiveRole)
    yes.setObjectName("confirm_delete")
    box.setDefaultButton(QMessageBox.StandardButton.Cancel)
    box.finished.connect(lambda: delete(run) if box.clickedButton() is yes else None)
    box.open()


def to_trash(run: RunSummary) -> None:
    """
    Raises:
        UserError: the run, or an export or evaluation of it, is at work, or the system has no trash for that disk.
    """
    from send2trash import TrashPermissionError, send2trash

    try:
        refuse_at_work(run)
        send2trash(str(run.folder))
    except TrashPermissionError as error:
        raise UserError(tr("{config} could not be moved to the trash.", config=run.config.name),
                        tr("This disk has none: {error}.", error=error),
                        tr("Delete the folder yourself: {folder}", folder=run.folder)) from error
    except OSError as error:
        raise from_os_error(error, tr("Could not move the run to the trash.")) from error


def refuse_at_work(run: RunSummary) -> None:
    """
    Raises:
        UserError: a process works in the run's folder: its training, or a job of it.
    """
    if Job(run.folder).is_alive():
        raise UserError(tr("{config} is at work and cannot be deleted.", config=run.config.name),
                        tr("A worker writes into its folder."), tr("Stop it first, in the Training tab."))
    at_work = run_folder.jobs_at_work(run.folder)
    if not at_work:
        return
    kinds = {_kind(job) for job in at_work}
    known = {"evaluate": ("an evaluation of it", "Cancel the evaluation on this run's page “Scores”"),
             "export": ("an export of it", "Cancel the export on this run's page “Overview”")}
    what = [known[kind][0] for kind in known if kind in kinds] or ["a job of it"]
    remedy = [known[kind][1] for kind in known if kind in kinds] or ["Wait until it is done"]
    verb = "is" if len(what) == 1 else "are"
    raise UserError(tr("{config} cannot be deleted: {what} {verb} at work.", config=run.config.name,
                       what=" and ".join(what), verb=verb), tr("A worker reads and writes in its folder."),
                    tr("{remedy}, or with Ctrl+C in the terminal that started it.", remedy=". ".join(remedy)))


def _kind(job: Job) -> str:
    with contextlib.suppress(UserError):
        return str(job.request().get("kind"))
    return ""
