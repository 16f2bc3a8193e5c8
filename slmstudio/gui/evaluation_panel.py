"""Choosing an evaluation of a run, and starting it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from slmstudio.core import jobs, paths, words
from slmstudio.core.jobs import Job
from slmstudio.gui import theme
from slmstudio.gui.chat_models import known_models
from slmstudio.gui.evaluation_choice import BENCHMARK, FILE, HELD_OUT, EvaluationChoice
from slmstudio.gui.evaluation_jobs import read_evaluations
from slmstudio.gui.tasks import Task, run_task
from slmstudio.gui.widgets import ErrorBanner, PrimaryButton, SecondaryButton, counted, text_label


@dataclass(frozen=True)
class Offer:
    """What can be evaluated of a run.

    Attributes:
        request: as it is proposed.
        rows: held-out rows that there are; None where nobody knows.
        no_test: why there are none.
        seconds: how long an answer took, by the model's name, when such a model was last evaluated on this machine.
        judges: names and files of the models that may judge.
    """

    request: dict[str, Any]
    rows: int | None
    no_test: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    judges: list[tuple[str, Path]] = field(default_factory=list)


class EvaluationPanel(QFrame):
    """The fields, how long it will take, and Start.

    Signals:
        made(Job): the job is there and shall be started.
        closed: the person does not want to evaluate now.
    """

    made = Signal(object)
    closed = Signal()

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.setProperty("inset", True)
        self._folder: Path | None = None
        self._offer: Offer | None = None
        self._file_rows: int | None = None
        self._file_text = ""
        self._counting: Task | None = None
        self.banner = ErrorBanner()
        self.banner.setObjectName("evaluate_banner")
        self.choice = EvaluationChoice()
        self.choice.changed.connect(self._show_state)
        self.choice.read_wanted.connect(self._read_file)
        self.estimate = text_label("", "small", wrap=True)
        self.estimate.setObjectName("evaluation_estimate")
        close = SecondaryButton(self.tr("Not now"), self.tr("Close without evaluating."))
        close.setObjectName("evaluation_close")
        close.clicked.connect(self.closed)
        self.button = PrimaryButton(self.tr("Evaluate"), self.tr(
            "Let the marked models answer the test rows, and compare the answers."))
        self.button.setObjectName("evaluation_start")
        self.button.clicked.connect(self.start)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(close)
        buttons.addWidget(self.button)
        column = QVBoxLayout(self)
        column.setContentsMargins(*[theme.SPACE_M] * 4)
        column.setSpacing(theme.SPACE_S)
        for widget in (self.banner, self.choice, self.estimate):
            column.addWidget(widget)
        column.addLayout(buttons)
        self._show_state()

    def show_run(self, folder: Path) -> None:
        """Offer the evaluation of this run."""
        self._folder, self._offer = folder, None
        self.banner.clear()
        self._show_state()
        run_task(self, lambda task: _offer(folder, task), lambda offer: self._show_offer(folder, offer), self._failed)

    def _show_offer(self, folder: Path, offer: Offer) -> None:
        if folder != self._folder:
            return
        self._offer = offer
        self.choice.judge.set_models(offer.judges)
        self.choice.offer([str(model["name"]) for model in offer.request["models"]],
                          int(offer.request["max_new_tokens"]), int(offer.request["limit"] or 0),
                          held_out=bool(offer.rows))
        self._show_state()

    def _failed(self, error: Exception) -> None:
        self.banner.show_error(error)
        self._show_state()

    def _show_state(self) -> None:
        self.button.setEnabled(self._offer is not None and self.choice.complete())
        if self._offer is None:
            self.estimate.setText(self.tr("Looking at the run …") if self.banner.error is None else "")
            return
        source = self.choice.source.current()
        if source == HELD_OUT:
            rows = self._offer.rows
            self.choice.set_found("", rows)
        elif source == FILE:
            rows = self._file_rows
            self.choice.set_found(self._file_text if self.choice.test else self._offer.no_test, rows)
        else:
            rows = None
            self.choice.set_found(self.tr("Rows: so many of each subject. Each model answers with the harness's own "
                                          "prompts and number of examples."))
        text = self._estimate(rows) if source != BENCHMARK else ""
        self.estimate.setText(" ".join(filter(None, (
            text, self.tr("The judge's reading comes on top.") if self.choice.is_judged() else ""))))

    def _estimate(self, rows: int | None) -> str:
        """How long it will take, from how long it took before; no guess where nothing is known."""
        assert self._offer is not None
        limit = self.choice.limit.value()
        count = min(rows, limit) if rows and limit else rows or limit
        names = self.choice.names()
        if not count or not names:
            return ""
        known = self._offer.seconds
        answers = counted(count * len(names), self.tr("1 answer"), self.tr("{count} answers"))
        if not all(name in known for name in names):
            return self.tr("{answers}. How long they take shows after the first ones: such a model was not evaluated "
                           "on this machine yet.").format(answers=answers)
        seconds = sum(known[name] for name in names) * count
        return self.tr("{answers}, about {time} as fast as the last time on this machine.").format(
            answers=answers, time=words.format_duration(seconds))

    def _read_file(self, path: Path) -> None:
        """Look into the chosen test file: how many rows of which kind, and what is wrong with it."""
        self.banner.clear()
        self._file_rows, self._file_text = None, self.tr("Reading {name} …").format(name=path.name)
        self._show_state()
        if self._counting is not None:
            self._counting.cancel()

        def read(task: Task) -> tuple[int, str]:
            from slmstudio.core.evaluation.test_sets import read_test_set

            found = read_test_set(path, None, task.cancelled)
            return len(found.items), found_text(found.kinds, len(found.problems))

        self._counting = run_task(self, read, self._show_found, self._not_read)

    def _show_found(self, found: tuple[int, str]) -> None:
        self._counting = None
        self._file_rows, self._file_text = found
        self._show_state()

    def _not_read(self, error: Exception) -> None:
        self._counting = None
        self.choice.test, self._file_text = None, ""
        self.choice.source.set_current(FILE)
        self.banner.show_error(error)
        self._show_state()

    def start(self) -> None:
        """Check what is chosen, and make the job."""
        folder, offer = self._folder, self._offer
        if folder is None or offer is None or not self.choice.complete():
            return
        self.banner.clear()
        self.button.setEnabled(False)
        request = self.choice.apply(offer.request)
        run_task(self, lambda task: make_job(folder, request), self.made.emit, self._failed)


def make_job(run: Path, request: Mapping[str, Any]) -> Job:
    """The job of an evaluation of this run, checked and not started.

    Raises:
        UserError: something of the request cannot be used, all of it at once.
    """
    from slmstudio.core.evaluation import request as requests

    requests.check(request)
    return requests.create(request, run)


def found_text(kinds: Mapping[str, int], problems: int) -> str:
    """As in "40 free answers, 3 multiple choice; 2 rows cannot be used"."""
    names = {"free": words_tr("{count} with a free answer"), "choice": words_tr("{count} multiple choice"),
             "number": words_tr("{count} with a number"), "exact": words_tr("{count} with one exact answer"),
             "pattern": words_tr("{count} with a pattern")}
    parts = [names.get(kind, "{count} " + kind).format(count=f"{count:,}") for kind, count in kinds.items() if count]
    text = ", ".join(parts)
    if problems:
        text += "; " + counted(problems, words_tr("1 row cannot be used"), words_tr("{count} rows cannot be used"))
    return text


def words_tr(text: str) -> str:
    from PySide6.QtCore import QCoreApplication

    return QCoreApplication.translate("EvaluationPanel", text)


def _offer(folder: Path, task: Task) -> Offer:
    from slmstudio.core.evaluation import request as requests

    proposed = requests.propose(folder, True, task.cancelled)
    no_test = str(proposed.pop("no_test", None) or "")
    rows = None
    if proposed["test"]:
        from slmstudio.core.evaluation.test_sets import read_test_set

        rows = len(read_test_set(proposed["test"], None, task.cancelled).items)
    return Offer(proposed, rows, no_test, earlier_seconds(folder), known_models())


def earlier_seconds(folder: Path) -> dict[str, float]:
    """Seconds an answer by the model's name, from the newest evaluation of a run with the same base model."""
    base = jobs.Job(folder).request().get("model")
    parent = paths.runs_dir()
    found: list[tuple[float, str, float]] = []
    for run in parent.iterdir() if parent.is_dir() else ():
        if not (run / jobs.RUN).is_file() or jobs.Job(run).request().get("model") != base:
            continue
        for evaluation in read_evaluations(run):
            for model in (evaluation.scores or {}).get("models", []):
                seconds, rows = (model.get("speed") or {}).get("seconds"), model.get("rows")
                if isinstance(seconds, int | float) and rows and not evaluation.benchmark:
                    found.append((evaluation.created, str(model.get("name")), seconds / rows))
    return {name: seconds for _, name, seconds in sorted(found)}
