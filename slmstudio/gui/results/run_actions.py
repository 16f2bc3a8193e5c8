"""What can be done with a finished run, in a row of buttons below it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from PySide6.QtWidgets import QMessageBox, QWidget

from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.run import folder as run_folder
from slmstudio.core.run.folder import RunSummary
from slmstudio.core.run.store import RUNS
from slmstudio.gui.common.dialogs import confirm
from slmstudio.gui.common.widgets.buttons import ButtonRow, PrimaryButton, SecondaryButton

# -- Moving a run to the trash: the question before it, and the refusal while something works on the run.


def ask(parent: QWidget, run: RunSummary, delete: Callable[[RunSummary], None]) -> None:
    """Ask whether the run should go, and delete it then."""
    confirm(parent, tr("Delete a run"), tr("Move “{name}” to the trash?", name=run.config.name),
            tr("Its checkpoints, result, evaluations and exports go with it."),
            (tr("Move to trash"), QMessageBox.ButtonRole.DestructiveRole, "confirm_delete"), lambda: delete(run))


def to_trash(run: RunSummary) -> None:
    """
    Raises:
        UserError: the run, or an export or evaluation of it, is running, or the system has no trash for that disk.
    """
    from send2trash import TrashPermissionError, send2trash

    try:
        refuse_at_work(run)
        send2trash(str(run.folder))
        RUNS.tidy()
    except TrashPermissionError as error:
        raise UserError(tr("{run} couldn't be moved to the trash.", run=run.config.name),
                        tr("This disk has no trash: {error}.", error=error),
                        tr("Delete the folder yourself: {folder}", folder=run.folder)) from error
    except OSError as error:
        raise from_os_error(error, tr("Could not move the run to the trash.")) from error


def refuse_at_work(run: RunSummary) -> None:
    """
    Raises:
        UserError: a process works in the run's folder: its training, or a job of it.
    """
    if Job(run.folder).is_alive():
        raise UserError(tr("{run} is running and can't be deleted.", run=run.config.name),
                        tr("A worker writes into its folder."), tr("Stop it first, in the Training tab."))
    at_work = run_folder.jobs_at_work(run.folder)
    if not at_work:
        return
    kinds, name = {_kind(job) for job in at_work}, run.config.name
    evaluation = tr("Cancel the evaluation on this run's “Scores” page, or press Ctrl+C in the terminal that started "
                    "it.")
    export = tr("Cancel the export on this run's “Overview” page, or press Ctrl+C in the terminal that started it.")
    if {"evaluate", "export"} <= kinds:
        what = tr("{run} can't be deleted while an evaluation and an export of it are running.", run=name)
        remedy = f"{evaluation} {export}"
    elif "evaluate" in kinds:
        what, remedy = tr("{run} can't be deleted while an evaluation of it is running.", run=name), evaluation
    elif "export" in kinds:
        what, remedy = tr("{run} can't be deleted while an export of it is running.", run=name), export
    else:
        what = tr("{run} can't be deleted while a job of it is running.", run=name)
        remedy = tr("Wait until it is done, or press Ctrl+C in the terminal that started it.")
    raise UserError(what, tr("A worker reads and writes in its folder."), remedy)


def _kind(job: Job) -> str:
    with contextlib.suppress(UserError):
        return str(job.request().get("kind"))
    return ""


class RunActions(ButtonRow):
    """Buttons that say why they can't be pressed. Whoever shows them connects them."""

    def __init__(self) -> None:
        super().__init__()
        self.resume = SecondaryButton(tr("Resume"), tr("Continue from the newest checkpoint."))
        self.more = SecondaryButton(tr("Continue training…"),
                                    tr("Plan a run that continues from this one, with more data or epochs."))
        self.more.hide()
        self.serve = SecondaryButton(tr("Use elsewhere…"), "")
        self.export = SecondaryButton(tr("Export…"), "")
        self.chat = PrimaryButton(tr("Chat"), "")
        for name, button in (("resume", self.resume), ("more", self.more), ("serve", self.serve),
                             ("export", self.export), ("chat", self.chat)):
            button.setObjectName(f"results_{name}")
            button.setEnabled(button is self.more)  # until a run is shown
            if button is self.export:
                self.box.addStretch(1)
            self.box.addWidget(button)

    def show_run(self, run: RunSummary, *, made: bool, exports: bool) -> None:
        """
        Args:
            made: the run has a result.
            exports: and it is exported.
        """
        self.resume.setVisible(run.resumable)
        self.resume.setEnabled(run.resumable)
        self.more.setVisible(made and run.state == "finished")
        self.export.setEnabled(made)
        self.export.setToolTip(
            tr("Make GGUF files of the result, in the quantization types that you choose.") if made else
            tr("There is nothing to export. The run hasn't produced an adapter or model yet."))
        self.serve.setEnabled(exports)
        self.serve.setToolTip(tr("Serve the selected file to other programs, or use it in Ollama, vLLM, "
                                 "llama.cpp or LM Studio.") if exports else tr("Export the result first."))
        self.chat.setEnabled(made)
        self.chat.setToolTip(tr("Talk to the file selected above.") if exports else
                             tr("Talk to the trained model, side by side with its base model. No export "
                                "needed.") if made else
                             tr("The run hasn't produced an adapter or model yet."))
