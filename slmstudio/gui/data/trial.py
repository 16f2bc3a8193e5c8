"""What a model can do with the rows before anything is trained: the baseline that training has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Signal

from slmstudio.core.data import layouts
from slmstudio.core.files import an_object, objects
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.gui.common.followed_job import EVALUATION, FollowedJob, report_end
from slmstudio.gui.common.run_texts import work_text
from slmstudio.gui.common.session import JobStatus, Session
from slmstudio.gui.common.tasks import Task, TaskSlot, is_busy, run_task
from slmstudio.gui.common.widgets.areas import Card
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import SecondaryButton, keep_room
from slmstudio.gui.common.widgets.fields import ComboBox, named
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, fill, row_of
from slmstudio.gui.common.widgets.progress import ProgressStrip
from slmstudio.gui.evaluation.at_end import progress_text
from slmstudio.gui.evaluation.rivals import RivalsView

if TYPE_CHECKING:
    from slmstudio.core.hardware.machine import Machine
    from slmstudio.core.model.facts import ModelFacts
    from slmstudio.gui.data.recent import DataEntry

Rows = tuple[Any, ...]
"""A dataset, and how its evaluation rows are taken: what a trial is of."""


@dataclass(frozen=True)
class Choice:
    """A model that can be tried: its name, its place, and how long that takes, in words; "" if nobody knows."""

    name: str
    place: str
    time: str


class TrialCard(Card):
    """Asks which model, follows the trial, and shows what came of it. The rows' newest trial is shown again.

    Attributes:
        open: opens this card; it says what came of the trial, once there is one.

    Signals:
        wanted: the user wants to see this card.
        closed: the user is done, or wants to see the rows meanwhile.
    """

    wanted = Signal()
    closed = Signal()

    def __init__(self, session: Session):
        super().__init__(tr("Without training"))
        self._session = session
        self._entry: DataEntry | None = None
        self._shown: Path | None = None
        self._looking, self._choosing = TaskSlot(), TaskSlot()
        self.open = SecondaryButton(name="trial_open", clicked=self.wanted)
        self.followed = FollowedJob(self, session, "trial")
        self.followed.moved.connect(self._show_progress)
        self.followed.ended.connect(self._ended)
        self.followed.lost.connect(self._show_state)
        self.followed.failed.connect(self._failed)
        self._name = ""
        self.banner = ErrorBanner(name="trial_banner")
        self.model = named(ComboBox(), "trial_model", tr("Model"),
                           tr("The model to ask: the one that you chose, or the one that suits your rows best."))
        self.model.keep_narrow(22)
        self.model.currentIndexChanged.connect(self._show_state)
        self.estimate = text_label("", "small", wrap=True, name="trial_estimate")
        self.strip = ProgressStrip(name="trial_progress", tip=tr("Stop. Finished answers are kept for the next try."),
                                   cancelled=self.cancel)
        self.strip.cancel.setObjectName("trial_cancel")
        keep_room(self.strip)
        self.result = RivalsView()
        self.result.chat_wanted.connect(self._chat)
        self.start = SecondaryButton(name="trial_start", clicked=self.begin)
        close = SecondaryButton(tr("Close"), tr("Go back to the rows (Esc)."), name="trial_close", clicked=self.closed)
        add_key(self, "Escape", self.closed.emit, inside=True)
        words = text_label(tr("Ask a model as it is, with a prompt, and with your rows looked up, before you train. "
                              "That may be good enough. If it isn't, it's the baseline that training has to beat."),
                           "muted", wrap=True)
        fill(self.body, words, row_of(text_label(tr("Model"), "small"), (self.model, 1), self.start), self.estimate,
             self.strip, self.banner, self.result, STRETCH, row_of(STRETCH, close))
        session.job_changed.connect(self._show_state)
        session.model_changed.connect(self._offer)
        if (before := self.followed.before()) is not None:
            self._name, job = before
            self._follow(job, start_worker=False)
        self._show_result(None)

    # -- what is shown ---------------------------------------------------------------------------------------

    def look(self, entry: DataEntry) -> None:
        """Look, off the UI thread, for the newest trial of these rows."""
        if entry is not self._entry:
            self._entry = entry
            self.banner.clear()
            self._show_result(None)
        rows = _rows_of(entry)
        self._looking.run(self, lambda task: _newest(rows), self._show_result, self._failed)
        if self.isVisible():
            self._offer()

    def show_choices(self) -> None:
        """The card is shown: offer the models."""
        self._offer()
        self._show_state()

    def _offer(self) -> None:
        entry, chosen, machine = self._entry, self._session.model, self._session.machine
        if entry is not None and self.isVisibleTo(self.window()):
            self._choosing.run(self, lambda task: _choices(entry, chosen, machine),
                               self._show_choices, self._failed)

    def _show_choices(self, found: list[Choice]) -> None:
        before = self.model.currentText()
        self.model.clear()
        for each in found:
            self.model.addItem(each.name, each)
        self.model.setCurrentIndex(max(0, self.model.findText(before)))
        self._show_state()

    def _show_result(self, found: tuple[Path, dict[str, Any]] | None) -> None:
        """Show the scores of a trial, here and on the button that opens this; None if there is none."""
        folder, scores = found if found is not None else (None, {})
        self._shown = folder
        self.result.show_scores(scores)
        text, tip = tr("Try without training first"), tr(
            "Ask a model about rows that are held out, as it is, with a prompt and with your rows looked up. It takes "
            "a few minutes, and shows what training has to beat.")
        if score := best_score(scores):
            text, tip = tr("Without training: {score}", score=score), str(scores["rivals"].get("sentence") or tip)
        self.open.setText(text)
        self.open.setToolTip(plain_tip(tip))
        self._show_state()

    def _show_state(self) -> None:
        entry, running = self._entry, self.followed.is_running()
        choice = self.model.currentData()
        is_text = entry is not None and layouts.kind(entry.dataset.layout) == "text"
        self.open.setEnabled(entry is not None and not is_text)
        self.strip.setVisible(running)
        busy = self._session.job is not None and not running
        self.model.setEnabled(choice is not None and not running)
        self.start.setEnabled(choice is not None and not running and not busy and not is_busy(self))
        self.start.setText(tr("Try again") if self._shown is not None else tr("Try it"))
        self.start.setToolTip(tr("Let this model answer {rows} held-out rows in each way.", rows=_held_out_rows()))
        if self._choosing.is_busy():
            text = tr("Looking at the models on this machine…")
        elif choice is None:
            text = tr("There is no model on this machine yet. Choose one on the Model tab.")
        elif busy:
            text = tr("Something else is running. This can start when it is done.")
        else:
            text = choice.time
        self.estimate.setText(text)

    # -- doing -----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Make the trial, and start it."""
        entry, choice = self._entry, self.model.currentData()
        if entry is None or choice is None or self.followed.is_running():
            return
        self.banner.clear()
        self._name, rows = entry.dataset.name, _rows_of(entry)
        run_task(self, lambda task: _make(rows, choice.place, task), self._follow, self._failed)
        self._show_state()

    def _follow(self, job: Job, *, start_worker: bool = True) -> None:
        self.strip.start(tr("Starting the worker"))
        self.followed.follow(job, start_worker=start_worker, about=self._name)
        self._show_state()

    def cancel(self) -> None:
        """End it."""
        self.strip.start(tr("Cancelling…"))
        self.followed.send("cancel")

    def _show_progress(self) -> None:
        history = self.followed.history
        done, total = int(history.done), int(history.total)
        self.strip.label.setText(work_text(history, history.detail))
        self.strip.set_progress(done, total, progress_text(self.followed) if total > 0 else "")
        self.followed.show_status(JobStatus(tr("Trying {name} without training", name=self._name), done, total,
                                            history.phase_seconds_left))
        self._show_state()

    def _ended(self, job: Job, outcome: Outcome) -> None:
        if not outcome.was_successful() and outcome.state not in ("cancelled", "paused"):
            self.banner.show_error(outcome.user_error())
        if outcome.state != "cancelled":
            report_end(self._session, EVALUATION, self._name, outcome, job=job)
        self._show_state()
        if self._entry is not None:
            self.look(self._entry)

    def _failed(self, error: Exception) -> None:
        self.banner.show_error(error)
        self._show_state()

    def _chat(self, name: str) -> None:
        """Talk to the model as it answered here."""
        from slmstudio.core.evaluation import rivals

        folder = self._shown
        if folder is not None:
            run_task(self, lambda task: rivals.keep(None, folder, name), lambda _: self._session.open_chat([folder]))


def best_score(scores: dict[str, Any]) -> str:
    """The best that was reached without training, with its unit; "" without any."""
    from slmstudio.gui.evaluation.tables import figure, metric_label

    found = an_object(scores.get("rivals"))
    best = next((each for each in objects(found.get("table")) if each.get("name") == found.get("best")), None)
    metric = str(found.get("metric"))
    return f"{figure(metric, best.get('value'))} {metric_label(metric)}" if best is not None else ""


def _held_out_rows() -> int:
    from slmstudio.core.evaluation.without_training import ROWS

    return ROWS


def _rows_of(entry: DataEntry) -> Rows:
    return entry.dataset, entry.eval_dataset, entry.eval_fraction, entry.split_seed, entry.split_by


# -- All below runs in a thread.


def _newest(rows: Rows) -> tuple[Path, dict[str, Any]] | None:
    from slmstudio.core.evaluation.scoring import read_scores
    from slmstudio.core.evaluation.without_training import newest_trial

    dataset, evaluation, *how = rows
    folder = newest_trial(dataset, dataset.line, *how, test=evaluation.path.absolute() if evaluation else None)
    scores = read_scores(folder) if folder is not None else None
    return (folder, scores) if folder is not None and scores is not None else None


def _make(rows: Rows, place: str, task: Task) -> Job:
    from slmstudio.core.data.split import usual_share
    from slmstudio.core.evaluation import request
    from slmstudio.core.evaluation.without_training import ROWS, propose_trial

    dataset, evaluation, share, seed, by = rows
    share = share if evaluation is None else usual_share(len(dataset.records))
    made = propose_trial(dataset, place, columns=dataset.line, eval_fraction=share, split_seed=seed, split_by=by,
                         cancelled=task.cancelled)
    if evaluation is not None:
        made |= {"test": str(evaluation.path.absolute()), "test_columns": evaluation.line, "train_split": None,
                 "limit": ROWS if len(evaluation.records) > ROWS else None}
    request.check(made, task.cancelled)
    return request.create(made)


def _choices(entry: DataEntry, chosen: ModelFacts | None, machine: Machine | None) -> list[Choice]:
    """The models on this machine: the chosen one first, else the recommended one."""
    from slmstudio.core.hardware.machine import read_machine
    from slmstudio.core.model import library
    from slmstudio.core.run import recommend

    here = [each for each in recommend.models_here_and_known() if each.folder is not None]
    if chosen is not None and all(each.folder != chosen.path for each in here):
        here.append(library.ListedModel(chosen, None, chosen.path))
    dataset = entry.dataset
    found = recommend.recommend(here, recommend.rows_of(dataset.records, dataset.layout), machine or read_machine(),
                                online=False)
    best = found.recommended.model.folder if found.recommended is not None else None
    here.sort(key=lambda each: (chosen is None or each.folder != chosen.path, each.folder != best))
    choices = []
    for each in here:
        ready = each.folder != library.starter_folder() or library.starter_ready()
        name = each.title if each.folder != best else tr("{model} (recommended)", model=each.title)
        choices.append(Choice(name, str(each.folder) if ready else library.STARTER, _time_text(str(each.folder))))
    return choices


def _time_text(folder: str) -> str:
    from slmstudio.core.evaluation.at_end import paces, total
    from slmstudio.core.evaluation.rival_models import BASE, added
    from slmstudio.core.evaluation.without_training import ROWS, USUAL
    from slmstudio.core.run.time_estimate import source_text

    models = added([{"name": BASE, "model": folder}], USUAL, "")
    time = total(paces(models, None), [each["name"] for each in models], ROWS)
    return "" if time is None else ntr("{n:,} answer: {time} ({source}).", "{n:,} answers: {time} ({source}).",
                                       ROWS * len(models), time=time.text(), source=source_text(time))
