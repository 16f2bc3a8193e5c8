"""The window is killed during training: the run goes on, and a new window shows all of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.wait import until

from slmstudio.core import paths
from slmstudio.core.settings import Settings
from slmstudio.gui.app import application
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.common import tasks
from slmstudio.gui.common.session import Session

pytestmark = pytest.mark.usefixtures("garbage_stays_here")
ROOT = Path(__file__).resolve().parent.parent.parent
WINDOW = """
import sys
from pathlib import Path
from PySide6.QtWidgets import QApplication
from slmstudio.core.jobs import Job
from slmstudio.core.settings import Settings
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.common.session import Session

app = QApplication([])
window = MainWindow(Session(Settings()))
window.show()
window.page("training").followed.follow(Job(Path(sys.argv[1])), start_worker=True)
window.go_to("training")
app.exec()
"""


@pytest.fixture
def job(studio_home, new_run):
    return new_run(paths.runs_dir(), max_steps=100_000, eval_steps=10**6, save_steps=10**6)


def steps(job) -> list[int]:
    return [event["global_step"] for event in job.events() if event["type"] == "step"]


@pytest.mark.full
def test_the_run_goes_on_and_a_new_window_shows_all_its_points(qtbot, job):
    window = subprocess.Popen([sys.executable, "-c", WINDOW, str(job.folder)], cwd=ROOT)
    try:
        until(lambda: len(steps(job)) >= 20, "20 steps", ended=job.outcome)
        os.kill(window.pid, signal.SIGKILL)
    finally:
        window.kill()
        window.wait()
    before = len(steps(job))
    qtbot.waitUntil(lambda: len(steps(job)) > before + 5, timeout=20_000)
    assert job.is_alive()

    session = Session(Settings())
    again = MainWindow(session)
    qtbot.addWidget(again)
    with qtbot.waitSignal(again.painted, timeout=10_000):
        again.show()
    there = steps(job)
    application.look_for_runs(session, again)
    training = again.page("training")
    qtbot.waitUntil(lambda: training.followed.history.step >= there[-1], timeout=3_000)
    assert list(training.followed.history.series["train_loss"].x)[:len(there)] == there
    assert session.run.folder == job.folder
    training.followed.detach()
    assert tasks.shut_down(60_000)
