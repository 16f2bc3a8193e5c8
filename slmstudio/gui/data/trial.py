"""What a model can do with the rows before anything is trained: the baseline that training has to beat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Signal

from slmstudio.core.data import layouts
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.job import Job
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import Task, TaskSlot, is_busy, run_task
from slmstudio.gui.common.widgets.areas import Card, ScrolledIfNeeded
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.fields import ComboBox, named
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_widget, fill, row_of
from slmstudio.gui.evaluation.rivals import RivalsView
from slmstudio.gui.evaluation.running import EvaluationRun

if TYPE_CHECKING:
    from slmstudio.core.hardware.machine import Machine
    from slmstudio.core.model.facts import ModelFacts
    from slmstudio.gui.data.recent import DataEntry

LEAST_HEIGHT = 120
"""Pixels of the card's page before it scrolls."""


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
        self.open = SecondaryButton(kind="small", name="trial_open", clicked=self.wanted)
        self.model = named(ComboBox(), "trial_model", tr("Model"),
                           tr("The model to ask: the one that you chose, or the one that suits your rows best."))
        self.model.keep_narrow(22)
        self.model.currentIndexChanged.connect(self._show_state)
        self.start = SecondaryButton(tr("Try it"), tr("Let this model answer held-out rows in each of these ways."),
                                     name="trial_start", clicked=self.begin)
        self.estimate = text_label("", "small", wrap=True, name="trial_estimate")
        self.running = EvaluationRun(session, "trial")
        self.running.followed.begun.connect(self._show_state)
        self.running.ended.connect(self._look_again)
        self.result = RivalsView()
        self.result.chat_wanted.connect(self._chat)
        words = text_label(tr("Ask a model as it is, with a prompt, and with your rows looked up, before you train. "
                              "That may be good enough. If it isn't, it's the baseline that training has to beat."),
                           "muted", wrap=True)
        close = SecondaryButton(tr("Close"), tr("Go back to the rows (Esc)."), name="trial_close", clicked=self.closed)
        add_key(self, "Escape", self.closed.emit, inside=True)
        page = column_widget(words, row_of(text_label(tr("Model"), "small"), (self.model, 1), self.start),
                             self.estimate, self.running, self.result, spacing=theme.SPACE_M)
        fill(self.body, ScrolledIfNeeded(page, LEAST_HEIGHT), STRETCH, row_of(STRETCH, close))
        session.job_changed.connect(self._show_state)
        session.model_changed.connect(self.offer)
        self._show_result(None)

    def look(self, entry: DataEntry) -> None:
        """Look, off the UI thread, for the newest trial of these rows."""
        if entry is not self._entry:
            self._entry = entry
            self._show_result(None)
        self._look_again()

    def _look_again(self) -> None:
        if self._entry is not None:
            rows = _rows_of(self._entry)
            self._looking.run(self, lambda task: _newest(rows), self._show_result, self.running.show_error)
        self.offer()

    def offer(self) -> None:
        """Offer the models of this machine, where the card can be seen."""
        entry, chosen, machine = self._entry, self._session.model, self._session.machine
        if entry is not None and self.isVisible():
            self._choosing.run(self, lambda task: _choices(entry, chosen, machine), self._show_choices,
                               self.running.show_error)
        self._show_state()

    def _show_choices(self, found: list[tuple[str, tuple[str, str]]]) -> None:
        before = self.model.currentText()
        self.model.clear()
        for name, place_and_time in found:
            self.model.addItem(name, place_and_time)
        self.model.setCurrentIndex(max(0, self.model.findText(before)))
        self._show_state()

    def _show_result(self, found: tuple[Path, dict[str, Any]] | None) -> None:
        """Show the scores of a trial, here and on the button that opens this; None if there is none."""
        self._shown, scores = found if found is not None else (None, {})
        self.result.show_scores(scores)
        score = self.result.best
        self.open.setText(tr("Untrained: {score}", score=score) if score else tr("Try without training"))
        self.open.setToolTip(plain_tip(self.result.sentence.text() if score else tr(
            "Ask a model about rows that are held out, as it is, with a prompt and with your rows looked up. It takes "
            "a few minutes, and shows what training has to beat.")))
        self._show_state()

    def _show_state(self) -> None:
        choice, at_work = self.model.currentData(), self.running.is_running()
        busy = self._session.job is not None and not at_work
        self.open.setEnabled(self._entry is not None and layouts.kind(self._entry.dataset.layout) != "text")
        self.result.setVisible(self._shown is not None and not at_work)  # how far it is takes its place
        self.model.setEnabled(choice is not None and not at_work)
        self.start.setEnabled(choice is not None and not (at_work or busy or is_busy(self)))
        self.estimate.setText(
            tr("Something else is running. This can start when it is done.") if busy else choice[1] if choice else
            tr("Looking at the models on this machine…") if self._choosing.is_busy() else
            tr("There is no model on this machine yet. Choose one on the Model tab."))

    def begin(self) -> None:
        """Make the trial, and start it."""
        entry, choice = self._entry, self.model.currentData()
        if entry is None or choice is None or self.running.is_running():
            return
        rows, name = _rows_of(entry), entry.dataset.name
        self.running.banner.clear()
        run_task(self, lambda task: _make(rows, choice[0], task),
                 lambda job: self.running.follow(name, job, start_worker=True), self.running.show_error)
        self._show_state()

    def _chat(self, name: str) -> None:
        """Talk to the model as it answered here."""
        from slmstudio.core.evaluation import rivals

        folder = self._shown
        if folder is not None:
            run_task(self, lambda task: rivals.keep(None, folder, name), lambda _: self._session.open_chat([folder]))


def _rows_of(entry: DataEntry) -> tuple[Any, ...]:
    """What a trial is of: a dataset, and how its evaluation rows are taken."""
    return entry.dataset, entry.eval_dataset, entry.eval_fraction, entry.split_seed, entry.split_by


# -- All below runs in a thread.


def _newest(rows: tuple[Any, ...]) -> tuple[Path, dict[str, Any]] | None:
    from slmstudio.core.evaluation.request import newest_trial
    from slmstudio.core.evaluation.scoring import read_scores

    dataset, evaluation, *how = rows
    folder = newest_trial(dataset, dataset.line, *how, test=evaluation.path.absolute() if evaluation else None)
    scores = read_scores(folder) if folder is not None else None
    return (folder, scores) if folder is not None and scores is not None else None


def _make(rows: tuple[Any, ...], place: str, task: Task) -> Job:
    from slmstudio.core.evaluation import request

    dataset, evaluation, share, seed, by = rows
    made = request.propose_trial(dataset, place, columns=dataset.line,
                                 eval_fraction=share if evaluation is None else None, split_seed=seed, split_by=by,
                                 cancelled=task.cancelled)
    if evaluation is not None:
        made |= {"test": str(evaluation.path.absolute()), "test_columns": evaluation.line, "train_split": None,
                 "limit": request.TRIAL_ROWS if len(evaluation.records) > request.TRIAL_ROWS else None}
    request.check(made, task.cancelled)
    return request.create(made)


def _choices(entry: DataEntry, chosen: ModelFacts | None, machine: Machine | None
             ) -> list[tuple[str, tuple[str, str]]]:
    """The models on this machine: the chosen one first, else the recommended one. With its place, and how long that
    takes, in words."""
    from slmstudio.core.evaluation import at_end, rival_models
    from slmstudio.core.evaluation.request import TRIAL_RIVALS, TRIAL_ROWS
    from slmstudio.core.hardware.machine import read_machine
    from slmstudio.core.model import library
    from slmstudio.core.run import recommend
    from slmstudio.gui.evaluation.preview import time_text

    here = {each.folder: each for each in recommend.models_here_and_known() if each.folder is not None}
    if chosen is not None:
        here.setdefault(chosen.path, library.ListedModel(chosen, None, chosen.path))
    rows = recommend.rows_of(entry.dataset.records, entry.dataset.layout)
    best = recommend.recommend(list(here.values()), rows, machine or read_machine(), online=False).recommended
    found = []
    for folder, each in here.items():
        is_best, is_chosen = best is not None and best.model is each, chosen is not None and folder == chosen.path
        models = rival_models.added([{"name": rival_models.BASE, "model": str(folder)}], TRIAL_RIVALS, "")
        time = time_text(TRIAL_ROWS, 0, [model["name"] for model in models], at_end.paces(models, None))
        unpacked = folder != library.starter_folder() or library.starter_ready()
        name = tr("{model} (recommended)", model=each.title) if is_best else each.title
        found.append((not is_chosen, not is_best, (name, (str(folder) if unpacked else library.STARTER, time))))
    return [each for *_, each in sorted(found, key=lambda each: each[:2])]
