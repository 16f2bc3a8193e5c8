"""What the suites of the Training tab share: the tab, a plan in it, and a run folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QAbstractButton, QComboBox
from support.window import show_widget

from slmstudio.core import files, jobs
from slmstudio.core.data import reader
from slmstudio.core.jobs.job import Job
from slmstudio.core.model import facts
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.gui.training.plan_panel import PlanPanel
from slmstudio.gui.training.tab import TrainingTab

ENDLESS = "start no_gpu load plan:100000 steps:100000@2"


@pytest.fixture
def tab(qtbot, session, studio_home) -> Iterator[TrainingTab]:
    made = show_widget(qtbot, TrainingTab(session), 1280, 640)
    yield made
    job = made.followed.job
    made.followed.detach()
    if job is not None:
        job.kill()


@pytest.fixture
def planned(qtbot, tab, session, tiny_model, rows_file) -> TrainingTab:
    """The tab with a plan for a tiny model."""
    session.set_model(facts.read_model(tiny_model))
    session.set_dataset(reader.read_dataset(rows_file))
    qtbot.waitUntil(lambda: tab.planning.config is not None, timeout=20_000)
    return tab


@pytest.fixture
def run(studio_home) -> Callable[..., Job]:
    """`run()`: a run folder, as Start makes it."""
    def make(name: str = "helpdesk", **values: object) -> Job:
        return folder.create(RunConfig(**{"name": name, "model": "models/Qwen2.5-1.5B", "train_file": "t.jsonl",
                                          **values}))

    return make


def button(tab: TrainingTab, name: str) -> QAbstractButton:
    return tab.findChild(QAbstractButton, name)


def unfold(plan: PlanPanel) -> None:
    """Show all fields that apply."""
    for fold in plan.folds:
        fold.setChecked(True)


def choose(tab: TrainingTab, field: str, value: str) -> None:
    """Choose a value of a field's combo box, as a person would."""
    box = tab.plan.findChild(QComboBox, f"field_{field}")
    box.setCurrentIndex(box.findData(value))
    box.activated.emit(box.currentIndex())


def chip(tab: TrainingTab) -> str:
    return tab.run.chip.text()


def wait_for_steps(qtbot, tab: TrainingTab, count: int = 5) -> None:
    qtbot.waitUntil(lambda: tab.followed.history.step >= count, timeout=10_000)


def wait_for_plan(qtbot, tab: TrainingTab) -> None:
    qtbot.waitUntil(lambda: not tab.planning.is_busy(), timeout=20_000)


def commands(run: Path) -> list[dict[str, object]]:
    """What was asked of a run's worker."""
    return list(files.LineReader(run / jobs.COMMANDS).read())


def feed(tab: TrainingTab) -> str:
    """All lines of the feed."""
    model = tab.feed.feed
    return "\n".join(str(model.data(model.index(row))) for row in range(model.rowCount()))
