"""What can be done with a finished run: rename it, write its report, delete it, and the buttons below it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLineEdit, QMenu, QMessageBox, QWidget

from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.run import folder as run_folder
from slmstudio.core.run.folder import RunSummary
from slmstudio.core.run.store import RUNS
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import choose_file, confirm
from slmstudio.gui.common.tasks import Task, TaskSlot
from slmstudio.gui.common.widgets.banner import report_error
from slmstudio.gui.common.widgets.buttons import ButtonRow, PrimaryButton, SecondaryButton
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import ElidedLabel, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, fill, row_in
from slmstudio.gui.common.widgets.progress import ProgressStrip

WIDTH = 420


class RenameDialog(QDialog):
    """A field with the name, and what is wrong with it. A name that another run has is told apart by a number.

    Args:
        taken: the names of the other runs.
    """

    def __init__(self, name: str, taken: Sequence[str], parent: QWidget | None = None):
        super().__init__(parent)
        self._taken = taken
        self.setWindowTitle(tr("Rename the run"))
        self.setMinimumWidth(WIDTH)
        self.field = named(QLineEdit(name), "run_name", tr("Name of the run"),
                           tr("What the run is called in this window, in reports and in the terminal. Its folder and "
                              "its exported files keep their names."))
        self.field.setMaxLength(run_folder.LONGEST_NAME)
        self.field.selectAll()
        self.note = text_label("", "small", wrap=True, name="run_name_note")
        self.free = SecondaryButton("", tr("Take the next name that no other run has."), "small", name="run_name_free",
                                    clicked=lambda: self.field.setText(run_folder.free_name(self.name(), self._taken)))
        self.rename = PrimaryButton(tr("Rename"), tr("Give the run this name."), name="confirm_rename",
                                    clicked=self.accept)
        self.rename.setDefault(True)
        cancel = SecondaryButton(tr("Cancel"), tr("Leave the name as it is."), clicked=self.reject)
        cancel.setAutoDefault(False)
        self.free.setAutoDefault(False)
        told, buttons = QHBoxLayout(), QHBoxLayout()
        fill(told, (self.note, 1), self.free)
        fill(buttons, STRETCH, cancel, self.rename)
        column_in(self, text_label(tr("Name of the run"), "section"), self.field, told, buttons, spacing=theme.SPACE_M,
                  margins=theme.SPACE_L)
        self.field.textChanged.connect(lambda: self._check())
        self._check()

    def name(self) -> str:
        """The name as it would be kept."""
        return run_folder.cleaned_name(self.field.text())

    def _check(self) -> None:
        name = self.name()
        taken = run_folder.is_name_taken(name, self._taken)
        if not name:
            self.note.setText(tr("A run needs a name."))
        elif taken:
            self.note.setText(tr("Another run has this name."))
        else:
            self.note.setText(tr("The run's folder and its exported files keep their names."))
        self.free.setText(tr("Use “{name}”", name=run_folder.free_name(name, self._taken)).replace("&", "&&"))
        self.free.setVisible(taken)
        self.rename.setEnabled(bool(name) and not taken)


def ask_for_name(parent: QWidget, name: str, taken: Sequence[str], rename: Callable[[str], None]) -> None:
    """Ask for another name, and call `rename` with it when it is another one."""
    dialog = RenameDialog(name, taken, parent)
    dialog.accepted.connect(lambda: rename(dialog.name()) if dialog.name() != name else None)
    dialog.finished.connect(dialog.deleteLater)
    dialog.open()


class ReportLine(QWidget):
    """Below the button: where the report is, and how to get there when nothing opens it."""

    def __init__(self) -> None:
        super().__init__()
        self._path = Path()
        self.said, self.place = text_label("", "small", name="report_said"), ElidedLabel("", "small")
        self.open_folder = SecondaryButton(tr("Open folder"), tr("Show the report among its files."), "small",
                                           name="report_folder", clicked=self._open_folder)
        row_in(self, self.said, (self.place, 1), self.open_folder)
        self.hide()

    def show_written(self, path: Path) -> None:
        """Open the report with the system's program for it, and say where it is."""
        self._path = path
        self.place.setText(str(path))
        self._say(QDesktopServices.openUrl(QUrl.fromLocalFile(str(path))))
        self.open_folder.setVisible(True)
        self.show()

    def _open_folder(self) -> None:
        if not QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._path.parent))):
            self._say(False)
            self.open_folder.hide()

    def _say(self, opened: bool) -> None:
        self.said.setText(tr("Written:") if opened else tr("Written, but no program here can open it:"))


class ReportButton(SecondaryButton):
    """Writes one page for whoever approves a run: as HTML into the run's folder, or as HTML or PDF elsewhere.

    Attributes:
        line: says where the report is; for whoever lays the page out.
        strip: the bar with Cancel, seen while it is being written; likewise.
    """

    def __init__(self) -> None:
        super().__init__(kind="small", name="results_report")
        self._folder: Path | None = None
        self._writing = TaskSlot()
        self.line = ReportLine()
        self.strip = ProgressStrip(name="report_progress", cancelled=self.cancel,
                                   tip=tr("Stop writing the report. An older one stays as it is."))
        self.strip.hide()
        self.setToolTip(tr("One page with everything about the run: data, settings, curves, scores, exports. It needs "
                           "no network and can be sent to whoever approves the run."))
        menu = QMenu(self)
        menu.addAction(tr("Write and open"), self.write)
        menu.addAction(tr("Save as HTML or PDF…"), self._choose)
        self.setMenu(menu)
        self._show_state()

    def show_run(self, folder: Path) -> None:
        """Report on this run from now on."""
        if folder != self._folder:
            self.line.hide()
        self._folder = folder
        self._show_state()

    def write(self) -> None:
        """Write the report into the run's folder, and open it."""
        self.save(None)

    def save(self, out: Path | None) -> None:
        """Write the report and open it.

        Args:
            out: an HTML or PDF file; None is report.html in the run's folder.
        """
        folder = self._folder
        if folder is None or self._writing.is_busy():
            return

        def work(task: Task) -> Path:
            from slmstudio.core.report import page

            return page.write_report(folder, out, task.cancelled)

        self.line.hide()
        self._writing.run(self, work, lambda path: self._written(folder, path), self._not_written)
        self.strip.start_soon(tr("Writing the report"))
        self._show_state()

    def cancel(self) -> None:
        """Write no report; a browser that prints one is ended."""
        self._writing.cancel()
        self._end()

    def _choose(self) -> None:
        choose_file(self, tr("Save the report"), "report.html",
                    tr("Web page (*.html);;PDF (*.pdf)"), self.save)

    def _written(self, folder: Path, path: Path) -> None:
        self._end()
        self.line.show_written(path)
        self.line.setVisible(folder == self._folder)  # another run may be shown by now

    def _not_written(self, error: Exception) -> None:
        self._end()
        report_error(self, error)

    def _end(self) -> None:
        self.strip.end()
        self._show_state()

    def _show_state(self) -> None:
        self.setText(tr("Writing …") if self._writing.is_busy() else tr("Report"))
        self.setEnabled(self._folder is not None and not self._writing.is_busy())


def ask_to_delete(parent: QWidget, run: RunSummary, delete: Callable[[RunSummary], None]) -> None:
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
