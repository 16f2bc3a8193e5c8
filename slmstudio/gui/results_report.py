"""The button that writes a run's report and opens it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QUrl, Signal
from PySide6.QtGui import QAction, QDesktopServices
from PySide6.QtWidgets import QMenu, QWidget

from slmstudio.gui.results_save import choose_file
from slmstudio.gui.tasks import Task, run_task
from slmstudio.gui.widgets import SecondaryButton


class ReportButton(SecondaryButton):
    """Writes one page for whoever approves a run: as HTML into the run's folder, or as HTML or PDF elsewhere.

    Signals:
        written(Path): the report is there.
        failed(Exception): it could not be written.
    """

    written = Signal(object)
    failed = Signal(object)

    def __init__(self, parent: QWidget | None = None):
        super().__init__("", "", "small", parent)
        self._folder: Path | None = None
        self._writing: Task | None = None
        self.setObjectName("results_report")
        self.setToolTip(self.tr("One page that says everything of the run: data, settings, curves, scores, exports. It "
                                "needs no network, and can be sent to whoever approves."))
        menu = QMenu(self)
        for text, do in ((self.tr("Write and open"), self.write),
                         (self.tr("Save as HTML or PDF…"), self._choose)):
            action = QAction(text, menu)
            action.triggered.connect(do)
            menu.addAction(action)
        self.setMenu(menu)
        self._show_state()

    def show_run(self, folder: Path) -> None:
        """Report on this run from now on."""
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
        if folder is None or self._writing is not None:
            return

        def work(task: Task) -> Path:
            from slmstudio.core.report import page

            return page.write_report(folder, out)

        self._writing = run_task(self, work, self._written, self._not_written)
        self._show_state()

    def _choose(self) -> None:
        choose_file(self, self.tr("Save the report"), "report.html",
                    self.tr("Web page (*.html);;PDF (*.pdf)"), self.save)

    def _written(self, path: Path) -> None:
        self._writing = None
        self._show_state()
        self.written.emit(path)
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(path)))

    def _not_written(self, error: Exception) -> None:
        self._writing = None
        self._show_state()
        self.failed.emit(error)

    def _show_state(self) -> None:
        self.setText(self.tr("Writing …") if self._writing is not None else self.tr("Report"))
        self.setEnabled(self._folder is not None and self._writing is None)
