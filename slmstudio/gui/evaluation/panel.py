"""Choosing an evaluation of a run, and starting it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QMessageBox, QWidget

from slmstudio.core import paths, units
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.at_end import Pace, paces
from slmstudio.core.i18n import tr
from slmstudio.core.jobs import new
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import confirm
from slmstudio.gui.common.followed_job import FollowedJob
from slmstudio.gui.common.run_texts import phase_text
from slmstudio.gui.common.tasks import Task, TaskSlot, run_task
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, row_of
from slmstudio.gui.common.widgets.progress import ProgressStrip
from slmstudio.gui.evaluation.choice import FILE, HELD_OUT, EvaluationChoice
from slmstudio.gui.evaluation.choice_parts import offered_models
from slmstudio.gui.evaluation.preview import (
    Look,
    look_at_benchmark,
    look_at_rows,
    rows_warning,
    time_text,
)
from slmstudio.gui.evaluation.tables import benchmark_label

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


@dataclass(frozen=True)
class Offer:
    """What can be evaluated of a run.

    Attributes:
        request: as it is proposed.
        rows: how many held-out rows there are; None if it isn't known.
        no_test: why there are none.
        paces: what answers take, by the model's name.
        others: names and places of other models, which may answer or judge.
        votes: blind votes of the user that a judge can be held against.
        prompt: the system prompt that is proposed for the base as a rival of what the run has learned.
    """

    request: dict[str, Any]
    rows: int | None
    no_test: str = ""
    paces: dict[str, Pace] = field(default_factory=dict)
    others: list[tuple[str, Path]] = field(default_factory=list)
    votes: int = 0
    prompt: str = ""


class EvaluationPanel(QFrame):
    """The fields, what should be known before the start, and Start.

    Attributes:
        offer: what can be evaluated; None before that is read.

    Signals:
        made(Job): the job is there and is to be started.
        closed: the user doesn't want to evaluate now.
    """

    made = Signal(object)
    closed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("inset", True)
        self._folder: Path | None = None
        self._longest: int | None = None
        self._limit: int | None = None
        self.offer: Offer | None = None
        self._look: Look | None = None
        self._looking = TaskSlot()
        self._told: tuple[str, ...] = ()
        self._making = TaskSlot()
        self._busy = ""
        self.banner = ErrorBanner(name="evaluate_banner")
        self.choice, self.download, self.warnings = EvaluationChoice(), BenchmarkDownload(), Warnings()
        self.estimate = text_label("", "small", wrap=True, name="evaluation_estimate")
        close = SecondaryButton(tr("Not now"), tr("Close without evaluating."), name="evaluation_close",
                                clicked=self.give_up)
        close.clicked.connect(self.closed)
        self.button = PrimaryButton(tr("Evaluate"),
                                    tr("Let the selected models answer the test rows, and compare the answers."),
                                    name="evaluation_start", clicked=self.start)
        column_in(self, self.banner, self.choice, self.download, self.warnings, self.estimate,
                  row_of(STRETCH, close, self.button, spacing=None), margins=theme.SPACE_M)
        self._connect()
        self._show_state()

    def _connect(self) -> None:
        self.choice.changed.connect(self._changed)
        self.choice.read_wanted.connect(self._look_again)
        self.choice.model_wanted.connect(self._add_model)
        self.choice.download.clicked.connect(lambda: self.download.ask(self.choice.benchmark_name()))
        self.download.fetched.connect(self._look_again)

    def show_run(self, folder: Path, max_new_tokens: int | None = None, limit: int | None = None,
                 test: str | None = None) -> None:
        """Offer the evaluation of this run.

        Args:
            max_new_tokens, limit: of an answer, and how many rows; None takes what is usual.
            test: the file that has them; None takes the rows held out.
        """
        self.give_up()
        self._longest, self._limit = max_new_tokens, limit
        self._folder, self.offer, self._look, self._told = folder, None, None, ()
        if test is not None:
            self.choice.set_path(Path(test))
        self.banner.clear()
        self._show_state()
        run_task(self, lambda task: _offer(folder, task), lambda offer: self._show_offer(folder, offer), self._failed)

    def _show_offer(self, folder: Path, offer: Offer) -> None:
        if folder != self._folder:
            return
        self.offer = offer
        for picker in (self.choice.judge.model, self.choice.models.picker):
            picker.set_models(offer.others)
        self.choice.judge.set_votes(offer.votes)
        self.choice.rivals.offer(folder, offer.prompt, has_rows=bool(offer.request["train_file"]))
        self.choice.offer(folder, [str(model["name"]) for model in offer.request["models"]],
                          self._longest or int(offer.request["max_new_tokens"]),
                          self._limit or int(offer.request["limit"] or 0), held_out=bool(offer.rows))
        self._look_again()

    def give_up(self) -> None:
        """Start nothing, though it is being checked: the user has closed the panel, or looks at another run."""
        if self._making.is_busy():
            self._making.cancel()
            self._show_state()

    def set_busy(self, why: str) -> None:
        """Say why nothing can be started now; "" if it can."""
        if why != self._busy:
            self._busy = why
            self._show_state()

    def _failed(self, error: Exception) -> None:
        self.banner.show_error(error)
        self._show_state()

    # -- what is known before the start ----------------------------------------------------------------------

    def _look_again(self) -> None:
        self._looking.cancel()
        self._look, self._told = None, ()
        offer, choice = self.offer, self.choice
        if offer is not None and choice.is_benchmark():
            name, data = choice.benchmark_name(), choice.data
            self._looking.run(self, lambda task: look_at_benchmark(name, data),
                              lambda look: self._show_look(look, name), self._not_read)
        elif offer is not None and (choice.source.current() == HELD_OUT or choice.test is not None):
            request = choice.apply(offer.request)
            self._looking.run(self, lambda task: look_at_rows(request, task), self._show_look, self._not_read)
        self._show_state()

    def _show_look(self, look: Look, benchmark: str = "") -> None:
        self._look = look
        self.banner.clear()
        self.choice.set_fetched(benchmark, look.fetched)
        self._show_state()

    def _not_read(self, error: Exception) -> None:
        self.banner.show_error(error)
        if self.choice.source.current() == FILE:
            self.choice.forget_file()
        self._show_state()

    def _changed(self) -> None:
        self._told = ()  # what was told at the start was about another choice
        self._show_state()

    def _show_state(self) -> None:
        offer, look, choice = self.offer, self._look, self.choice
        hindered = bool(self._busy) or self._making.is_busy()
        self.button.setEnabled(offer is not None and choice.complete() and not hindered)
        self.button.setText(tr("Evaluate anyway") if self._told else tr("Evaluate"))
        if offer is None:
            self.estimate.setText(tr("Checking the run…") if self.banner.error is None else "")
            self.warnings.show_sentences(())
            return
        rows = look.rows if look else offer.rows if choice.source.current() == HELD_OUT else None
        choice.set_found(self._found_text(), None if choice.is_benchmark() else rows)
        said = list(look.warnings) if look else []
        limit = choice.limit.value()
        if not choice.is_benchmark():
            said.append(rows_warning(rows, limit))
            choice.rivals.show_times(offer.paces, min(rows, limit) if rows and limit else rows or limit)
            self.estimate.setText(" ".join(filter(None, (
                time_text(rows, limit, choice.answering(), offer.paces),
                tr("The judge takes extra time.") if choice.judge_path() else ""))))
        else:
            self.estimate.setText(tr("Each model answers lm_eval's own prompts. You'll see how long it takes after the "
                                     "first answers."))
        if hindered := self._busy or choice.missing():
            self.estimate.setText(hindered)
        self.warnings.show_sentences(tuple(filter(None, (*said, *self._told))))

    def _found_text(self) -> str:
        choice, look = self.choice, self._look
        if self._looking.is_busy() and choice.source.current() == FILE and choice.test is not None:
            return tr("Reading {name}…", name=choice.test.name)
        if choice.source.current() == FILE and choice.test is None:
            return self.offer.no_test if self.offer is not None else ""
        return look.text if look is not None and choice.source.current() != HELD_OUT else ""

    # -- doing -----------------------------------------------------------------------------------------------

    def _add_model(self, place: Path) -> None:
        from slmstudio.core.evaluation.request import model_at

        self.banner.clear()
        folder = self._folder
        run_task(self, lambda task: model_at(place),
                 lambda model: self.choice.models.add(model) if folder == self._folder else None,
                 self.banner.show_error)

    def start(self) -> None:
        """Check what is chosen, and make the job; what the check warns of is told first, once."""
        folder, offer, told = self._folder, self.offer, self._told
        if folder is None or offer is None or self._making.is_busy() or not self.choice.complete():
            return
        self.banner.clear()
        request = self.choice.apply(offer.request)
        self._making.run(self, lambda task: make_job(folder, request, told, task.cancelled), self._made, self._failed)
        self._show_state()

    def _made(self, made: Job | tuple[str, ...]) -> None:
        self._told = made if isinstance(made, tuple) else ()
        self._show_state()
        if isinstance(made, Job):
            self._looking.cancel()
            self.made.emit(made)


class Warnings(QFrame):
    """What should be known before the start, a sentence a line."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("banner", "warn")
        self.text = text_label("", "body", wrap=True, name="evaluation_known")
        column_in(self, self.text, spacing=None, margins=(theme.SPACE_M, theme.SPACE_S, theme.SPACE_M, theme.SPACE_S))

    def show_sentences(self, sentences: tuple[str, ...]) -> None:
        self.text.setText("\n".join(dict.fromkeys(sentences)))
        self.setVisible(bool(sentences))


def make_job(run: Path, request: Mapping[str, Any], told: tuple[str, ...] = (),
             cancelled: Callable[[], bool] | None = None) -> Job | tuple[str, ...]:
    """The job of an evaluation of this run, checked and not started; or what should be told before.

    Args:
        told: what was told already.
        cancelled: asked now and then.

    Raises:
        UserError: something of the request can't be used, all of it at once.
        ReadingCancelled: `cancelled` said so; nothing is made.
    """
    from slmstudio.core.evaluation import request as requests
    from slmstudio.core.evaluation.request import model_at
    from slmstudio.core.evaluation.testset.reader import ReadingCancelled

    if request["judge"]:
        judge = request["judge"]
        request = {**request, "judge": {**model_at(judge["place"]), "rubric": judge["rubric"]}}
    checked = requests.check(request, cancelled)
    known = len(checked.test.problems) if checked.test else 0  # they come first, and the panel has named them
    said = tuple(str(each) for each in checked.warnings[known:] if each.field != "benchmark")
    if cancelled is not None and cancelled():
        raise ReadingCancelled(tr("Starting the evaluation was cancelled."))
    if said and said != told:
        return said
    return requests.create(request, run)


def _offer(folder: Path, task: Task) -> Offer:
    from slmstudio.core.evaluation import request as requests
    from slmstudio.core.evaluation import rival_models

    proposed = requests.propose(folder, True, task.cancelled)
    no_test = str(proposed.pop("no_test", None) or "")
    rows = None
    if proposed["test"]:
        from slmstudio.core.evaluation.testset.reader import read_test_set

        rows = len(read_test_set(proposed["test"], None, task.cancelled, proposed["test_columns"]).items)
    known = paces(rival_models.added(proposed["models"], rival_models.NAMES, ""), folder,
                  bool(proposed.get("general")))
    return Offer(proposed, rows, no_test, known, offered_models(folder), _blind_votes(),
                 rival_models.system_for_run(folder))


def _blind_votes() -> int:
    from slmstudio.core.evaluation.scores.judging import voted_pairs
    from slmstudio.core.votes import store as votes

    try:
        return len(voted_pairs(votes.read()[0]))
    except UserError:
        return 0  # then there is nothing to hold a judge against
