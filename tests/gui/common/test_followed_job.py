"""The job that a view follows."""

from __future__ import annotations

from slmstudio.core.errors import UserError
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.gui.common.followed_job import FollowedJob
from slmstudio.gui.common.session import JobStatus
from slmstudio.gui.training.followed import FollowedRun


def test_a_job_that_was_let_go_is_not_heard_any_more(qapp, studio_home, tmp_path):
    followed = FollowedJob(qapp)
    told: list[str] = []
    followed.lost.connect(lambda: told.append("lost"))
    followed.ended.connect(lambda: told.append("ended"))
    followed.failed.connect(lambda error: told.append(error.what))
    followed.follow(Job.create(tmp_path / "first", "export"))
    first = followed.thread
    try:
        first.failed.emit(UserError("It couldn't be commanded."))
        assert followed.thread is None and told == ["It couldn't be commanded.", "lost"]
        first.ended.emit(Outcome("finished"))
        followed.follow(Job.create(tmp_path / "second", "export"))
        first.events.emit([{"type": "job_started", "time": 1.0}])
        first.failed.emit(UserError("Too late."))
        first.ended.emit(Outcome("finished"))
        assert followed.job.folder == tmp_path / "second" and len(told) == 2
    finally:
        for thread in (first, followed.thread):
            thread.leave_and_wait()


def test_a_status_belongs_to_the_job_that_set_it(qtbot, qapp, session, play, tmp_path):
    training, evaluating = FollowedRun(session, qapp), FollowedJob(qapp, session)
    of_the_evaluation = JobStatus("Evaluating helpdesk", 3, 10)
    evaluating.show_status(of_the_evaluation)
    play("start plan:40 steps:3 finish")
    with qtbot.waitSignal(training.ended):
        training.follow(folder.create(RunConfig(name="helpdesk", model="m", train_file="t.jsonl"), tmp_path),
                        start_worker=True)
        assert session.job.config is not None, "a run comes first"
    assert session.job == of_the_evaluation
    evaluating.show_status(None)
    assert session.job is None
