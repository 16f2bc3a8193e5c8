"""The five tabs, and what opens from them, in their states, as a person brings them there: for what must hold in all of
them, and for pictures.

A new state is one more entry of `STATES`. Those of a tab come one after another in the same window.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import Qt, QThreadPool
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QPushButton
from support import document_pairs, evaluated_runs

from slmstudio.core import paths
from slmstudio.core.data import reader
from slmstudio.core.documents.project import Project
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.jobs.job import Job
from slmstudio.core.model import facts
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.searching import search
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.common import tasks
from slmstudio.gui.documents.page import DocumentsPage
from slmstudio.gui.training.search_dialog import SearchDialog

PATIENCE_SECONDS = 60
WORKER = Path(__file__).parent / "fake_worker.py"


class Stage:
    """A window, and what is needed to bring it from state to state.

    Args:
        model: a small model's folder.
        scratch: an empty folder.
        rows: a file that can be learned from.
    """

    def __init__(self, window: MainWindow, model: Path, scratch: Path, rows: Path):
        self.window, self.model, self.scratch, self.rows = window, model, scratch, rows
        self.session, self.jobs = window.session, list[Job]()
        self._gate: threading.Event | None = None
        os.environ["SLMSTUDIO_WORKER"] = json.dumps([sys.executable, str(WORKER)])
        for unasked in ("prepare_starter", "evaluate_at_end", "measure_plans"):
            setattr(window.session.settings, unasked, False)
        window.session.set_machine(read_machine())

    def page(self, tab: str) -> object:
        self.window.go_to(tab)
        return self.window.page(tab)

    def wait(self, condition: Callable[[], object]) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < until
            QTest.qWait(5)

    def settle(self) -> None:
        """What is read in the background is there, and laid out; what is held back isn't waited for."""
        if self._gate is None:
            QThreadPool.globalInstance().waitForDone()
        QTest.qWait(30)

    def hold(self) -> None:
        """From now on no task begins, until `release`."""
        QThreadPool.globalInstance().waitForDone()
        self._gate = gate = threading.Event()
        QThreadPool.globalInstance().setMaxThreadCount(1)
        QThreadPool.globalInstance().start(gate.wait)

    def release(self) -> None:
        if self._gate is not None:
            self._gate.set()
            self._gate = None
            QThreadPool.globalInstance().setMaxThreadCount(os.cpu_count() or 2)

    def follow(self, play: str) -> Job:
        """Start a run whose worker plays this."""
        os.environ["FAKE_WORKER"] = play
        training = self.window.page("training")
        planned = training.planning.config or RunConfig(name="", model=str(self.model), train_file=str(self.rows))
        job = folder.create(replace(planned, name="helpdesk"))
        training.followed.follow(job, start_worker=True)
        self.session.start_run(job)
        self.jobs.append(job)
        return job

    def end(self) -> None:
        """No worker is left."""
        self.release()
        for job in self.jobs:
            job.kill()


def _read(stage: Stage, path: Path, hold: bool = False) -> None:
    data = stage.page("data")
    if hold:
        stage.hold()
    data.open_files([path])
    if hold:
        stage.wait(lambda: any(strip.isVisible() for strip in data.progress.strips))
    else:
        stage.wait(lambda: data.queue.reading is None)


def _not_read(stage: Stage) -> None:
    stage.page("data").workspace().desk.trial.closed.emit()
    _read(stage, stage.scratch / "moved away.jsonl")


def _released(stage: Stage) -> None:
    stage.release()
    stage.wait(lambda: stage.page("data").queue.reading is None)


def _trial(stage: Stage) -> None:
    card = stage.page("data").workspace().desk.trial
    shutil.copytree(stage.model, paths.models_dir() / stage.model.name)
    card.open.click()
    stage.wait(lambda: card.start.isEnabled())


def _trying(stage: Stage) -> None:
    card = stage.page("data").workspace().desk.trial
    os.environ["FAKE_WORKER"] = "start load wait:resume answers"
    card.start.click()
    stage.wait(lambda: card.running.followed.history.phases)
    stage.jobs.append(card.running.followed.job)


def _tried(stage: Stage) -> None:
    stage.jobs[-1].send("resume")
    stage.wait(stage.page("data").workspace().desk.trial.result.isVisible)


def _page_of_documents(stage: Stage) -> DocumentsPage:
    data = stage.page("data")
    data.open_documents()
    stage.wait(data.pages.shows_documents)
    return data.documents()


def _chosen_documents(stage: Stage) -> None:
    _page_of_documents(stage).take_files([stage.scratch / "circulars-2024", stage.scratch / "Rules of the ward.pdf"])


def _open_project(stage: Stage, project: Project) -> None:
    page = _page_of_documents(stage)
    page.open_project(project.folder)
    stage.wait(lambda: page._project is not None and page._project.folder == project.folder)


def _making(stage: Stage) -> None:
    gguf = paths.models_dir() / "Qwen2.5-7B-Instruct-Q4_K_M.gguf"
    gguf.parent.mkdir(parents=True, exist_ok=True)
    gguf.touch()
    _open_project(stage, document_pairs.make(finished=4, teacher=gguf))
    os.environ["FAKE_WORKER"] = \
        'start load event:{"type":"documents_progress","done":4,"total":6,"seconds_left":1900} wait:resume error'
    page = stage.page("data").documents()
    page._begin()
    stage.wait(lambda: page.followed.history.phases and page.review.side.work.pause.isVisible())
    stage.jobs.append(page.followed.job)


def _left_out(stage: Stage) -> None:
    side = stage.page("data").documents().review.side
    side.doubts.setCurrentIndex(side.doubts.model().index(0, 0))


def _making_failed(stage: Stage) -> None:
    stage.jobs[-1].send("resume")
    stage.wait(stage.page("data").documents().followed.has_ended)


def _fetching(stage: Stage) -> None:
    """The first model of the list arrives."""
    page = stage.page("model")
    entry = page.entries()[0]
    page.models.put([entry], entry)
    os.environ["FAKE_WORKER"] = "start load wait:cancel cancelled"
    page.work.start("fetch", entry.folder, lambda: Job.create(stage.scratch / "job", "download"))
    stage.wait(lambda: page.work.followed.history.phases)


def _chosen(stage: Stage) -> None:
    page = stage.page("model")
    page.work.cancel()
    stage.wait(lambda: page.work.target is None)
    page.open_paths([stage.model])
    stage.wait(lambda: page.card.shows(stage.model))
    stage.session.set_model(facts.read_model(stage.model))


def _planned(stage: Stage) -> None:
    page = stage.page("training")
    stage.session.set_model(facts.read_model(stage.model))
    stage.session.set_dataset(reader.read_dataset(stage.rows))
    stage.wait(lambda: page.planning.config is not None)


def _asking(stage: Stage) -> None:
    page = stage.page("training")
    page.plan.buttons.find.click()
    stage.wait(page.search.start.isEnabled)


def _searched(stage: Stage) -> None:
    dialog = stage.page("training").search
    ended_search(dialog)
    dialog.open()
    stage.wait(lambda: dialog.use.isEnabled() and dialog.plot is not None)


def ended_search(dialog: SearchDialog) -> None:
    """On the disk, what the dialog would start now has ended, with something better than the plan."""
    found = search.create(*dialog.designed)
    found.candidates[1:], found.rounds, found.count = [{"learning_rate": 5e-4}, {"learning_rate": 0.9}], 1, 3
    found.trials = [search.Trial(0, 0, "a", loss=2.0, seconds=63.0), search.Trial(0, 1, "b", loss=1.0, seconds=60.0),
                    search.Trial(0, 2, "c", search.OUT_OF_MEMORY, seconds=9.0)]
    found.state, found.verdict = search.FINISHED, {"case": "better"}
    found.save()


def _starting(stage: Stage) -> None:
    page = stage.page("training")
    stage.follow("start no_gpu load wait:resume plan:100 steps:45 wait:stop")
    stage.wait(lambda: page.followed.history.phases)


def _running(stage: Stage) -> None:
    page = stage.page("training")
    stage.jobs[-1].send("resume")
    stage.wait(lambda: page.followed.history.step == 45 and page.run.plots is not None)


def _stopped(stage: Stage) -> None:
    page = stage.page("training")
    page.followed.send("stop")
    stage.wait(page.followed.has_ended)


def _failed(stage: Stage) -> None:
    stage.follow("start load error")
    stage.wait(stage.page("training").followed.has_ended)


def _evaluated(stage: Stage) -> None:
    run = evaluated_runs.ended_run("helpdesk-evaluated", stage.model)
    evaluated_runs.write(run, train_run=str(run))
    page = stage.page("results")
    page.refresh()
    stage.wait(lambda: page.details.shows(run) and not tasks.is_busy(page))


def _rivals_choice(stage: Stage) -> None:
    page = stage.page("results")
    page.details.open_evaluation()
    panel = page.details.evaluation.panel
    stage.wait(lambda: panel.offer is not None)
    for box in panel.choice.rivals.boxes.values():
        box.click()


def _compared(stage: Stage) -> None:
    page = stage.page("results")
    run = page.details.evaluation.panel._folder
    names = ("base", "tuned", "prompt", "examples", "retrieval")
    job = evaluated_runs.write(run, "evaluate-2", 60, names, train_run=str(run))
    page.details.evaluation.panel.closed.emit()
    page.details.evaluation.scores.show_next(job.folder)
    page.refresh()
    stage.wait(lambda: page.details.evaluation.scores.rivals.isVisible() and not tasks.is_busy(page))


def _export_choice(stage: Stage) -> None:
    stage.page("results").details.open_export()
    stage.settle()


def _exporting(stage: Stage) -> None:
    panel = stage.page("results").details.export
    os.environ["FAKE_WORKER"] = "start load wait:resume export finish"
    job = Job.create(panel._run.folder / "jobs" / "export-1", "export", run=str(panel._run.folder), types=["Q8_0"])
    panel.follow(panel._run, job, start_worker=True)
    stage.jobs.append(job)
    stage.wait(lambda: panel.followed.history.phases)


def _exported(stage: Stage) -> None:
    panel = stage.page("results").details.export
    stage.jobs[-1].send("resume")
    stage.wait(lambda: not panel.is_running())


def _results_failed(stage: Stage) -> None:
    stage.follow("start load error")
    stage.wait(lambda: stage.window.page("training").followed.has_ended())
    page = stage.page("results")
    page.refresh()
    stage.wait(lambda: page.details.shows(stage.jobs[-1].folder))


def _load(stage: Stage, there: bool = True, hold: bool = False) -> None:
    path = stage.scratch / "helpdesk-Q8_0.gguf"
    path.unlink(missing_ok=True)
    Path(f"{path}.hold").touch()
    if there:
        path.touch()
    stage.page("chat").open_models([path])
    if not hold:
        _loaded(stage)


def _loaded(stage: Stage) -> None:
    for each in stage.scratch.glob("*.hold"):
        each.unlink()
    stage.wait(lambda: stage.page("chat").panes[0].state in ("ready", "failed"))


def _ask(stage: Stage, question: str) -> None:
    chat = stage.page("chat")
    chat.input.editor.setPlainText(question)
    QTest.keyClick(chat.input.editor, Qt.Key.Key_Return)
    stage.wait(lambda: len(chat.panes[0].bubbles.bubbles) > 1)


def _answered(stage: Stage) -> None:
    chat = stage.page("chat")
    chat.input.stopped.emit()
    stage.wait(lambda: chat.panes[0].state == "ready")


def _think(stage: Stage) -> None:
    _ask(stage, "held think")
    stage.wait(lambda: stage.page("chat").panes[0].bubbles.findChildren(QPushButton, "show_thoughts"))


def _thought(stage: Stage) -> None:
    """One answer that calls a tool, and one with thoughts that are unfolded."""
    _answered(stage)
    pane = stage.page("chat").panes[0]
    for question in ("tool", "think"):
        _ask(stage, question)
        stage.wait(lambda: pane.state == "ready")
    pane.bubbles.findChildren(QPushButton, "show_thoughts")[-1].click()


def _documents(stage: Stage, *names: str) -> None:
    """Files with these names, and one that is too long for the context."""
    chat = stage.page("chat")
    for name in names:
        (stage.scratch / name).write_text("# Rules\n\nThe office is open from Monday to Friday.\n")
    chat.take_files([*map(stage.scratch.joinpath, names), stage.rows])
    chat.input.editor.setPlainText("When is the office open?")
    stage.wait(chat.talk.documents.are_measured)


def _unloaded(stage: Stage) -> None:
    """A model that isn't there, once what was wrong before is out of the way."""
    chat = stage.page("chat")
    chat.talk.documents.show_documents([])
    chat.banner.clear()
    _load(stage, there=False)


STATES: dict[str, dict[str, Callable[[Stage], object]]] = {
    "data": {"empty": lambda stage: stage.page("data"),
             "working": lambda stage: _read(stage, stage.rows, hold=True),
             "done": _released, "trial": _trial, "trying": _trying, "tried": _tried,
             "failed": _not_read},
    "documents": {"empty": _page_of_documents, "chosen": _chosen_documents,
                  "ready": lambda stage: _open_project(stage, document_pairs.make(finished=0)),
                  "working": _making, "left out": _left_out,
                  "dataset": lambda stage: stage.page("data").documents().review.side.dataset.click(),
                  "failed": _making_failed},
    "model": {"empty": lambda stage: stage.wait(stage.page("model").entries), "working": _fetching, "done": _chosen,
              "failed": lambda stage: stage.page("model").open_paths([stage.scratch])},
    "training": {"empty": lambda stage: stage.page("training"), "planned": _planned, "asking": _asking,
                 "searched": _searched, "starting": _starting, "working": _running, "done": _stopped,
                 "failed": _failed},
    "results": {"empty": lambda stage: stage.page("results"), "done": _evaluated,
                "rivals": _rivals_choice, "compared": _compared, "choosing": _export_choice,
                "working": _exporting, "exported": _exported, "failed": _results_failed},
    "chat": {"empty": lambda stage: stage.page("chat"),
             "loading": lambda stage: _load(stage, hold=True), "ready": _loaded,
             "working": lambda stage: _ask(stage, "held answer"), "done": _answered,
             "thinking": _think, "thought": _thought,
             "documents": lambda stage: _documents(stage, "Rules of the ward office.md"),
             "unread": lambda stage: _documents(stage, "scan.pdf"),
             "failed": _unloaded},
    "window": {"welcome": lambda stage: stage.window.open_welcome(),
               "settings": lambda stage: stage.window.open_settings(),
               "help": lambda stage: stage.window.open_help()},
}
"""By tab: each state by its name, and what brings the window there from the state before."""


def states(stage: Stage, tab: str) -> Iterator[str]:
    """Bring the window from one state of a tab to the next."""
    for name, begin in STATES[tab].items():
        begin(stage)
        stage.settle()
        yield name
