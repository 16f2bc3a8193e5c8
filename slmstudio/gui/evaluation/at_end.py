"""The evaluation that follows a training: shown live, and started by whoever follows the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from slmstudio.core import units
from slmstudio.core.evaluation import at_end
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run import folder
from slmstudio.gui.common.followed_job import EVALUATION, FollowedJob, report_end
from slmstudio.gui.common.run_texts import work_text
from slmstudio.gui.common.session import JobStatus, Session
from slmstudio.gui.common.tasks import Task, TaskSlot, run_task
from slmstudio.gui.evaluation.answer_view import AnswerView, Found, read_found
from slmstudio.gui.evaluation.jobs import Evaluation, read_evaluation, read_evaluations


class LiveAnswers(QObject):
    """Shows in a view what the models of a followed evaluation have written so far."""

    def __init__(self, followed: FollowedJob, view: AnswerView):
        super().__init__(view)
        self._followed, self._view = followed, view
        self._rows: dict[int, dict[str, str]] = {}
        self.is_shown = True
        followed.begun.connect(self._begin)
        followed.moved.connect(self._take)

    def _begin(self) -> None:
        job, self._rows = self._followed.job, {}
        self.show()
        if job is not None:  # what was written before it was followed
            run_task(self, lambda task: at_end.written(job.folder, at_end.SHOWN), self._take)

    def _take(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            for each in event["answers"] if event.get("type") == "answers" else ():
                self._rows.setdefault(each["id"], {})["question"] = each["question"]
                self._rows[each["id"]][event["model"]] = each["answer"]
        self.show()

    def show(self) -> None:
        """Show it again, where it is to be shown."""
        if self.is_shown and self._followed.is_running():
            self._view.show_waiting(progress_text(self._followed), [
                at_end.Answers(each["question"], "", each.get("base", ""), each.get("tuned", ""))
                for _, each in sorted(self._rows.items())])


def progress_text(followed: FollowedJob) -> str:
    """As in "3 of 30 answers, about 1 min left"."""
    history, left = followed.history, followed.history.phase_seconds_left
    if history.total <= 0:
        return work_text(history, history.detail)
    done, total = int(history.done), int(history.total)
    return (tr("{done:,} of {total:,} answers", done=done, total=total) if left is None or history.paused else
            tr("{done:,} of {total:,} answers, {time} left", done=done, total=total, time=units.format_about(left)))


class EndEvaluation(QObject):
    """Starts it where it is due, follows it, and shows what came of the run.

    Signals:
        over(Job): the machine is free for another run; with the job whose process may still be ending.
    """

    over = Signal(object)

    def __init__(self, session: Session, view: AnswerView, parent: QObject):
        super().__init__(parent)
        self._session, self._view = session, view
        self._run, self._name = Path(), ""
        self.evaluation: Evaluation | None = None
        self._reading = TaskSlot()
        self.followed = FollowedJob(self, session)
        self.live = LiveAnswers(self.followed, view)
        self.followed.moved.connect(self._show_status)
        self.followed.ended.connect(self._ended)
        self.followed.lost.connect(lambda job, error: self._failed(error))
        view.retry.connect(lambda: self.show_run(self._run, self._name, again=True))

    def show_run(self, run: Path, name: str, again: bool = False) -> None:
        """Show what came of a run that has ended well.

        Args:
            again: evaluate it although that was tried before.
        """
        self._run, self._name, self.evaluation = run, name, None
        wanted = again or self._session.settings.evaluate_at_end

        def read(task: Task) -> tuple[Job | None, bool, Evaluation | None]:
            known = read_evaluations(run)
            at_work = next((each for each in known if each.state == "running"), None)
            if at_work is not None:
                return at_work.job, False, None
            if wanted and (again or folder.wants_evaluation(run)) and (job := at_end.create(run, task.cancelled)):
                return job, True, None
            return None, False, next((each for each in known if each.scores), None)

        def proceed(found: tuple[Job | None, bool, Evaluation | None]) -> None:
            job, starts, evaluation = found
            if job is not None:
                self.followed.follow(job, start_worker=starts)
                self._session.report_runs_changed()
            else:
                self._show(evaluation)
                self.over.emit(Job(run))

        self.followed.detach()
        self._view.show_waiting("")
        self._reading.run(self, read, proceed, self._failed)

    def give_way(self, run: Path) -> None:
        """Another run begins, which needs the memory: what was answered is kept, and can be continued in Results."""
        if run != self._run:
            self._reading.cancel()
            self.followed.send("cancel")

    def _show_status(self) -> None:
        history = self.followed.history
        self.followed.show_status(JobStatus(tr("Evaluating {name}", name=self._name), int(history.done),
                                            int(history.total), history.phase_seconds_left))

    def _ended(self, job: Job, outcome: Outcome) -> None:
        if outcome.was_successful():
            self._reading.run(self, lambda task: read_evaluation(job.folder),
                              lambda evaluation: self._show(evaluation, outcome), self._failed)
        elif outcome.state in ("cancelled", "paused"):
            self._show(None)
        else:
            self._view.show_failed(outcome.user_error())
            report_end(self._session, EVALUATION, self._name, outcome, job=job)
        self._session.report_runs_changed()
        self.over.emit(job)

    def _show(self, evaluation: Evaluation | None, outcome: Outcome | None = None) -> None:
        """Show it and, where it has just ended, tell."""
        self.evaluation, run, name = evaluation, self._run, self._name

        def done(found: Found) -> None:
            self._view.show_found(found)
            if outcome is not None and evaluation is not None:
                report_end(self._session, EVALUATION, name, outcome, job=evaluation.job,
                           said=found.advice.headline if found.advice else "")

        self._reading.run(self, lambda task: read_found(run, evaluation), done, self._view.show_failed)

    def _failed(self, error: Exception) -> None:
        self._view.show_failed(error)
        self.over.emit(Job(self._run))
