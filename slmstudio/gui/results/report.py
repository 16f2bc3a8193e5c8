"""The button that writes a run's report and opens it, and the line that says how that went."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QUrl
from PySide6.QtGui import QAction, QDesktopServices
from PySide6.QtWidgets import QMenu, QWidget

from slmstudio.core.i18n import tr
from slmstudio.gui.common.dialogs import choose_file
from slmstudio.gui.common.tasks import Task, TaskSlot
from slmstudio.gui.common.widgets.banner import report_error
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.labels import ElidedLabel, text_label
from slmstudio.gui.common.widgets.layouts import row_in
from slmstudio.gui.common.widgets.progress import ProgressStrip


class ReportLine(QWidget):
    """Below the button: where the report is, and how to get there when nothing opens it."""

    def __init__(self) -> None:
        super().__init__()
        self._path = Path()
        self.said, self.place = text_label("", "small"), ElidedLabel("", "small")
        self.said.setObjectName("report_said")
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
        self.line, self.strip = ReportLine(), ProgressStrip()
        self.strip.setObjectName("report_progress")
        self.strip.cancel.setToolTip(tr("Stop writing the report. An older one stays as it is."))
        self.strip.cancelled.connect(self.cancel)
        self.strip.hide()
        self.setToolTip(tr("One page with everything about the run: data, settings, curves, scores, exports. It needs "
                           "no network and can be sent to whoever approves the run."))
        menu = QMenu(self)
        for text, do in ((tr("Write and open"), self.write),
                         (tr("Save as HTML or PDF…"), self._choose)):
            action = QAction(text, menu)
            action.triggered.connect(do)
            menu.addAction(action)
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
