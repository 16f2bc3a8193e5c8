"""Training: the plan on the left, the run in the middle, what happened on the right."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import Slot
from PySide6.QtWidgets import QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from slmstudio.core import words
from slmstudio.core.errors import UserError
from slmstudio.core.hardware import describe
from slmstudio.core.jobs import Job, Outcome
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.history import RunHistory
from slmstudio.gui import close_question, theme
from slmstudio.gui.plan_panel import PlanPanel, total_steps
from slmstudio.gui.planning import Planning
from slmstudio.gui.run_feed import RunFeed
from slmstudio.gui.run_panel import RunPanel
from slmstudio.gui.run_words import steps_text
from slmstudio.gui.session import JobStatus, Session
from slmstudio.gui.tasks import run_task
from slmstudio.gui.training_thread import TrainingThread
from slmstudio.gui.widgets import EmptyState, ErrorBanner, PrimaryButton, SecondaryButton


class TrainingTab(QWidget):
    """Plans a run, starts it, follows it, and shows how it ended."""

    def __init__(self, session: Session, parent: QWidget | None = None):
        super().__init__(parent)
        self._session = session
        self._job: Job | None = None
        self._thread: TrainingThread | None = None
        self._history = RunHistory()
        self._run_config: RunConfig | None = None
        self._caught_up = False
        self.banner = ErrorBanner()
        self.banner.setObjectName("training_banner")
        self.plan, self.run, self.feed = PlanPanel(), RunPanel(), RunFeed()
        self.planning = Planning(session, self.plan, self)
        self._pages = QStackedWidget()
        self._pages.addWidget(self._make_empty())
        self._pages.addWidget(self._make_page())
        column = QVBoxLayout(self)
        column.setContentsMargins(*[theme.PAGE_MARGIN] * 4)
        column.setSpacing(theme.CARD_GAP)
        column.addWidget(self.banner)
        column.addWidget(self._pages, 1)
        self._connect()
        self._show_choice()
        if session.run is not None:
            self.follow(session.run)

    def _make_empty(self) -> QWidget:
        self._to_data = PrimaryButton(self.tr("Choose data…"), self.tr("Go to the Data tab."))
        self._to_data.setObjectName("to_data")
        self._to_data.clicked.connect(lambda: self._session.go_to.emit("data"))
        self._to_model = SecondaryButton(self.tr("Choose a base model…"), self.tr("Go to the Model tab."))
        self._to_model.setObjectName("to_model")
        self._to_model.clicked.connect(lambda: self._session.go_to.emit("model"))
        self._empty = EmptyState(self.tr("What shall it learn, and which model?"), "", [self._to_data, self._to_model])
        self._empty.setAcceptDrops(False)
        return EmptyState.centred(self._empty)

    def _make_page(self) -> QWidget:
        page = QWidget()
        row = QHBoxLayout(page)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(theme.CARD_GAP)
        row.addWidget(self.plan)
        row.addWidget(self.run, 1)
        row.addWidget(self.feed)
        return page

    def _connect(self) -> None:
        session, run = self._session, self.run
        session.dataset_changed.connect(self._show_choice)
        session.model_changed.connect(self._show_choice)
        session.run_started.connect(self._run_started)
        session.run_changed.connect(self._look_for_export)
        self.planning.planned.connect(self._show_choice)
        self.planning.failed.connect(self.banner.show_error)
        self.plan.start_wanted.connect(self.start)
        for signal, name in ((run.pause, "pause"), (run.resume, "resume"), (run.checkpoint, "checkpoint"),
                             (run.stop, "stop"), (run.end_now, "end_now")):
            signal.connect(partial(self._command, name))
        run.resume_run.connect(self._resume_run)
        run.export_wanted.connect(self._open_results)
        run.chat_wanted.connect(self._open_chat)

    # -- what is chosen --------------------------------------------------------------------------------------

    def _show_choice(self) -> None:
        """Show the page that fits: what to choose first, what Start would do, or the run."""
        session = self._session
        ready = session.dataset is not None and session.model is not None
        self._pages.setCurrentIndex(1 if ready or self._job is not None else 0)
        if not ready:
            self._to_data.setVisible(session.dataset is None)
            self._to_model.setVisible(session.model is None)
            self._empty.text.setText(
                self.tr("Choose the data and a base model first. Then a plan with its reasons stands here.")
                if session.dataset is None and session.model is None else
                self.tr("Choose the data to learn first.") if session.dataset is None else
                self.tr("Choose a base model first."))
        if self.is_running():
            return
        if ready:
            self.plan.set_editable(True)
            self.planning.refresh()
        else:
            self.plan.set_editable(False, self.tr("Choose data and a base model to plan another run."))
        if self._job is None:
            self.run.show_waiting(self.tr("Ready to train") if self.planning.config else self.tr("Planning"),
                                  self._promise())

    def _promise(self) -> str:
        """What pressing Start will do, in a sentence."""
        config, rows = self.planning.config, self.planning.train_rows
        if config is None or rows is None:
            return self.tr("Measuring the rows with the model's tokenizer …")
        how = self.tr("an adapter of rank {rank} learns").format(rank=config.lora_rank) \
            if config.method == "lora" else self.tr("every weight learns")
        return self.tr(
            "{rows} rows, {steps}: {how}.\nPress Start training; it goes on when you close the window."
        ).format(rows=f"{rows:,}", steps=steps_text(total_steps(config, rows)), how=how)

    # -- a run -----------------------------------------------------------------------------------------------

    def is_running(self) -> bool:
        """Whether a run is being followed that has not ended."""
        return self._thread is not None and self._thread.isRunning()

    def start(self) -> None:
        """Make the run's folder and start the worker on it."""
        config = self.planning.config
        if config is None or self.is_running():
            return
        self.banner.clear()
        self.plan.start.setEnabled(False)
        run_task(self, lambda task: folder.create(config), self._start_made, self._start_failed)

    def _start_made(self, job: Job) -> None:
        self.plan.start.setEnabled(True)
        self.follow(job, start_worker=True)
        self._session.start_run(job)

    def _start_failed(self, error: Exception) -> None:
        self.plan.start.setEnabled(True)
        self.banner.show_error(error)

    @Slot(object)
    def _run_started(self, job: Job) -> None:
        """A run was started elsewhere, as from Results or by Resume there."""
        if self._job is None or job.folder != self._job.folder or not self.is_running():
            self.follow(job)

    def follow(self, job: Job, *, start_worker: bool = False) -> None:
        """Show a run from its first event, and go on with it.

        Args:
            start_worker: start, or start again from its newest checkpoint.
        """
        self.detach()
        try:
            self._run_config = RunConfig.from_dict(job.request())
        except UserError as error:
            self.banner.show_error(error)
            return
        self._job, self._history, self._caught_up = job, RunHistory(), False
        self._pages.setCurrentIndex(1)
        self.banner.clear()
        self.feed.clear()
        self.plan.show_config(self._run_config)
        self.plan.set_editable(False, self.tr("The plan of the run beside it. It cannot change while the run lasts."))
        self.run.begin(self._title(), self._history)
        self._thread = thread = TrainingThread(job, start_worker=start_worker)
        thread.events.connect(self._take)
        thread.caught_up.connect(self._catch_up)
        thread.ended.connect(self._ended)
        thread.failed.connect(self._failed)
        thread.start()
        self._show_status()

    def detach(self) -> None:
        """Follow no more; the run goes on."""
        if self._thread is not None:
            self._thread.detach()
            self._thread = None
            self._session.set_job(None)

    def _title(self) -> str:
        assert self._run_config is not None
        name, model = self._run_config.name, Path(self._run_config.model).name
        return name if model in name else self.tr("{name} on {model}").format(name=name, model=model)

    @Slot(list)
    def _take(self, events: list[dict[str, Any]]) -> None:
        if self.sender() is not self._thread or not self._caught_up:
            return  # of another run, or folded up in the history that comes
        for event in events:
            self._history.add(event)
        self._show_news()

    @Slot(object)
    def _catch_up(self, history: RunHistory) -> None:
        if self.sender() is self._thread:
            self._history, self._caught_up = history, True
            self.run.show_history(history)
            self._show_news()

    def _show_news(self) -> None:
        self.run.update_from(self._history)
        self.run.set_note(self._gpu_note())
        self.feed.update_from(self._history)
        self._show_status()

    def _gpu_note(self) -> str:
        """Why there is no temperature, when there is none."""
        if not self._history.sensors_missing:
            return ""
        machine = self._session.machine
        if machine is not None and machine.gpus:
            return self._history.sensors_missing
        return self.tr("No NVIDIA GPU in this machine: temperature and power are not measured.")

    def _show_status(self) -> None:
        history, config = self._history, self._run_config
        if config is None or not self.is_running():
            return
        text = self.tr("paused") if history.paused else "" if history.stepping else self.tr("starting")
        self._session.set_job(JobStatus(
            self.tr("Training {name}").format(name=config.name), history.step, history.total_steps,
            history.seconds_left, text, self._figures()))

    def _figures(self) -> str:
        """The GPU's memory and power, or the worker's memory, for the status bar."""
        series, total = self._history.series, self._history.limits.get("memory_total")
        parts = []
        used, power, own = (series[name].last() for name in ("memory_used", "power_w", "process_memory"))
        if used is not None and total is not None:
            parts.append(describe.memory_of(int(used), int(total)))
        elif own is not None:
            parts.append(self.tr("worker uses {memory}").format(memory=words.format_bytes(own)))
        if power is not None:
            parts.append(self.tr("{watts} W").format(watts=f"{power:.0f}"))
        return " · ".join(parts)

    @Slot(object)
    def _ended(self, outcome: Outcome) -> None:
        if self.sender() is not self._thread or self._job is None:
            return
        self._thread = None
        history = self._history
        total = history.total_steps
        resumable = outcome.state in ("crashed", "failed", "stopped") and (not total or history.step < total)
        self.run.end(outcome, history, resumable, bool(_exports(self._job)))
        self.feed.update_from(history)
        self._session.set_job(None)
        if outcome.was_successful():
            self._session.mark_done("training")
        self._session.run_changed.emit()
        self._show_choice()

    @Slot(object)
    def _failed(self, error: Exception) -> None:
        if self.sender() is not self._thread or self._job is None:
            return
        self.banner.show_error(error)
        if self._job.is_alive():
            return  # it runs already, and is followed
        self._thread = None
        outcome = Outcome("failed", error.to_dict() if isinstance(error, UserError) else None)
        self.run.end(outcome, self._history, resumable=self._job.folder.exists(), has_export=False)
        self.run.banner.clear()
        self._session.set_job(None)
        self._show_choice()

    def _command(self, name: str) -> None:
        if self._thread is not None:
            getattr(self._thread, name)()

    def _resume_run(self) -> None:
        if self._job is not None:
            job = Job(self._job.folder)
            self.follow(job, start_worker=True)
            self._session.start_run(job)

    def _open_results(self) -> None:
        self._session.run = self._job
        self._session.go_to.emit("results")

    def _open_chat(self) -> None:
        if self._job is not None:
            self._session.open_chat(_exports(self._job)[:1])

    def _look_for_export(self) -> None:
        if self._job is not None:
            self.run.set_has_export(bool(_exports(self._job)))

    def confirm_close(self) -> bool:
        """Ask what becomes of the run when the window closes. False: do not close."""
        if self._thread is not None and self.is_running():
            answer = close_question.ask(self, self._run_config.name if self._run_config else "")
            if answer == "cancel":
                return False
            if answer == "pause":
                self._thread.checkpoint()
                self._thread.pause()
            elif answer == "stop":
                self._thread.stop()
        self.detach()
        return True


def _exports(job: Job) -> list[Path]:
    return sorted((job.folder / folder.EXPORTS).glob("*.gguf"), key=lambda path: path.stat().st_mtime, reverse=True)
