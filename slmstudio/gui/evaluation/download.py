"""Fetching a benchmark's data, once, after asking."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QMessageBox, QWidget

from slmstudio.core import paths, units
from slmstudio.core.i18n import tr
from slmstudio.core.jobs import new
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.gui.common.dialogs import confirm
from slmstudio.gui.common.followed_job import FollowedJob
from slmstudio.gui.common.run_texts import phase_text
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.layouts import column_in
from slmstudio.gui.common.widgets.progress import ProgressStrip
from slmstudio.gui.evaluation.texts import benchmark_label

HUB = "https://huggingface.co"


class BenchmarkDownload(QWidget):
    """Asks, and then shows how far it is.

    Signals:
        fetched: there are other data on this machine.
    """

    fetched = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.followed = FollowedJob(self)
        self.followed.moved.connect(self._show_events)
        self.followed.ended.connect(self._ended)
        self.followed.failed.connect(self._failed)
        self.followed.lost.connect(self._show_state)
        self.banner = ErrorBanner(name="download_banner")
        self.strip = ProgressStrip(tip=tr("Stop the download. Files that are complete are kept."),
                                   cancelled=self.cancel)
        self.strip.cancel.setObjectName("download_cancel")
        column_in(self, self.banner, self.strip, spacing=None)
        self._show_state()

    def is_running(self) -> bool:
        return self.followed.is_running()

    def ask(self, name: str) -> None:
        """Say what would be fetched, from where, and that it takes the network; begin if the user wants it."""
        confirm(self, tr("Download a benchmark"), tr("Download the questions of {name}?", name=benchmark_label(name)),
                tr("They come from {host} over the network. None of your data is sent. Their size isn't known in "
                   "advance; most are smaller than 200 MB. They are kept in {folder} and used offline from then on.",
                   host=urlsplit(os.environ.get("HF_ENDPOINT") or HUB).hostname, folder=paths.benchmarks_dir()),
                (tr("Download"), QMessageBox.ButtonRole.AcceptRole, "confirm_download"), lambda: self.begin(name))

    def begin(self, name: str) -> None:
        """Start the worker that fetches."""
        if self.is_running():
            return
        self.banner.clear()
        self.strip.start(tr("Starting the download"))
        self.strip.show()
        run_task(self, lambda task: new.fetch_benchmark(name), self._follow, self._failed)

    def _follow(self, job: Job) -> None:
        self.followed.follow(job, start_worker=True)
        self._show_state()

    def cancel(self) -> None:
        if self.is_running():
            self.strip.start(tr("Cancelling…"))
            self.followed.send("cancel")

    def _show_events(self, events: list[dict[str, Any]]) -> None:
        size = next((event["bytes"] for event in reversed(events) if event.get("bytes")), 0)
        history = self.followed.history
        self.strip.label.setText(phase_text(history.phase))
        self.strip.set_progress(int(history.done), int(history.total),
                                tr("{size} so far", size=units.format_bytes(int(size))) if size else "")

    def _ended(self, job: Job, outcome: Outcome) -> None:
        if not outcome.was_successful() and outcome.state != "cancelled":
            self.banner.show_error(outcome.user_error())
        self._show_state()
        self.fetched.emit()

    def _failed(self, error: Exception) -> None:
        self.banner.show_error(error)
        self._show_state()

    def _show_state(self) -> None:
        self.strip.setVisible(self.is_running())
        self.setVisible(self.is_running() or self.banner.error is not None)
