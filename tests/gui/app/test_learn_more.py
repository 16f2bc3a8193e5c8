"""From a finished run in Results to the plan of the next one, in the whole window."""

from __future__ import annotations

from pathlib import Path

from support.window import press

from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.gui.training.tab import TrainingTab


def finished(play, model: Path, rows: Path, evaluated: Path) -> Path:
    """A run that was evaluated on rows of a file of their own."""
    play("start load plan:40 steps:40 finish")
    job = folder.create(RunConfig(name="helpdesk", model=str(model), train_file=str(rows), eval_file=str(evaluated)))
    job.start()
    job.wait()
    return job.folder


def test_learning_more_works_before_training_was_opened_and_afresh_keeps_the_test_rows(
        qtbot, window, session, play, tiny_model, rows_file, write_rows):
    rows = [{"instruction": f"Which form {n}?", "output": f"Form {n}."} for n in range(4)]
    evaluated = write_rows("test.jsonl", rows)
    run = finished(play, tiny_model, rows_file, evaluated)
    window.go_to("results")
    details = window.page("results").details
    qtbot.waitUntil(lambda: details.shows(run) and details.buttons.more.isVisible())
    assert window.findChild(TrainingTab) is None, "nobody has opened it yet"
    press(qtbot, window, "results_more")
    plan = window.page("training").plan
    qtbot.waitUntil(lambda: plan.config is not None and plan.config.start_from == str(run))
    assert plan.isVisible() and plan.config.name == "helpdesk-2"
    assert plan.config.eval_file == str(evaluated)
    press(qtbot, window, "plan_afresh")
    qtbot.waitUntil(lambda: plan.config.start_from is None)
    assert (plan.config.train_file, plan.config.eval_file) == (str(rows_file), str(evaluated))
    assert session.eval_dataset.path == evaluated
