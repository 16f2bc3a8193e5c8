"""The evaluation that follows a training in the Training tab: by itself, once, before the next run of the queue."""

from __future__ import annotations

import pytest
from support import evaluated_runs, training_window
from support.training_window import button, chip
from support.window import press

from slmstudio.core import files, jobs
from slmstudio.core.data import reader
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.gui.common.tasks import is_busy

tab, planned, run = training_window.tab, training_window.planned, training_window.run
TRAINED = "start no_gpu load plan:4 steps:4 finish"


@pytest.fixture(autouse=True)
def on(session) -> None:
    session.settings.evaluate_at_end = True


@pytest.fixture
def ended(rows_file, tiny_model, studio_home):
    """A run that has ended while no window was open."""
    made = evaluated_runs.ended_run("helpdesk", tiny_model, eval_fraction=0.5)
    record = files.read_json(made / jobs.RUN)
    files.write_atomically(made / jobs.RUN, files.dump_pretty({**record, "train_file": str(rows_file)}))
    return made


def evaluations(run) -> list[str]:
    return [each.name for each in (run / "jobs").glob("evaluate-*")]


def done(tab) -> bool:
    return tab.run.answers.all.isVisible() and not tab.evaluation.followed.is_running() and not is_busy(tab.evaluation)


def test_a_sentence_and_three_answers_come_without_a_click(qtbot, planned, session, rows_file, play):
    session.set_dataset(reader.read_dataset(rows_file), eval_fraction=0.5)
    qtbot.waitUntil(lambda: not planned.planning.is_busy() and planned.planning.config.eval_fraction == 0.5)
    notices, statuses, turns = [], [], []
    session.notice.connect(notices.append)
    session.job_changed.connect(lambda: statuses.append(session.job.name if session.job else ""))
    planned.evaluation.over.connect(turns.append)
    play(TRAINED)
    press(qtbot, planned, "start")
    qtbot.waitUntil(lambda: done(planned))
    view = planned.run.answers
    assert view.isVisible() and all(row[2].text() not in ("", "…") for row in view.cells)
    assert view.headline.accessibleName() and view.frame.property("banner") == "ok"
    assert any(status.startswith("Evaluating ") for status in statuses)
    assert [job.folder.name.partition("-")[0] for job in turns] == ["evaluate"], "the queue waits for its process"
    qtbot.waitUntil(lambda: len(notices) == 2)
    assert notices[1].text.endswith(view.headline.accessibleName())
    planned.run.end_row.pages.set_current(1)
    assert not view.isVisible()


def test_a_run_that_ended_without_the_window_is_evaluated_once(qtbot, tab, ended, play):
    play(TRAINED)
    tab.followed.follow(Job(ended))
    qtbot.waitUntil(lambda: done(tab))
    assert len(evaluations(ended)) == 1
    tab.followed.follow(Job(ended))
    qtbot.waitUntil(lambda: done(tab))
    assert len(evaluations(ended)) == 1


def test_one_that_cannot_be_made_says_why_and_the_run_is_as_good_as_before(qtbot, tab, ended, rows_file, play):
    rows = rows_file.read_bytes()
    record = files.read_json(ended / jobs.RUN)
    files.write_atomically(ended / jobs.RUN, files.dump_pretty({**record, "model": str(ended / "nowhere")}))
    play("start error")
    tab.followed.follow(Job(ended))
    qtbot.waitUntil(lambda: [each.text() for each in tab.run.answers.buttons] == ["Evaluate again"])
    assert tab.run.answers.headline.text() and chip(tab) == "finished" and button(tab, "chat").isVisible()
    files.write_atomically(ended / jobs.RUN, files.dump_pretty(record))
    rows_file.write_bytes(rows)
    play(TRAINED)
    tab.run.answers.buttons[0].click()
    qtbot.waitUntil(lambda: done(tab))


@pytest.mark.parametrize("off", ["setting", "stopped", "no mark"])
def test_where_none_is_wanted_the_losses_say_what_came_of_it(qtbot, tab, session, ended, off):
    if off == "setting":
        session.settings.evaluate_at_end = False
    elif off == "stopped":
        jobs.write_outcome(ended, Outcome("stopped", result={"eval_loss_after": 1.2}))
    else:
        record = files.read_json(ended / jobs.RUN)
        files.write_atomically(ended / jobs.RUN, files.dump_pretty({**record, "evaluate_at_end": False}))
    tab.followed.follow(Job(ended))
    qtbot.waitUntil(lambda: bool(tab.run.answers.buttons))
    assert not evaluations(ended) and not tab.run.answers.questions.isVisible() and tab.run.answers.headline.text()


def test_a_run_that_begins_takes_the_machine(qtbot, tab, run, ended, play):
    play("start wait:cancel cancelled")
    tab.followed.follow(Job(ended))
    qtbot.waitUntil(lambda: tab.evaluation.followed.is_running())
    evaluation = tab.evaluation.followed.job
    qtbot.waitUntil(lambda: evaluation.is_alive())
    tab.followed.follow(run())
    qtbot.waitUntil(lambda: (outcome := evaluation.outcome()) is not None and outcome.state == "cancelled")
