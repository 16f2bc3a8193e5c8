"""Documents become a dataset in the Data tab: chosen, read, asked about by a worker, reviewed, opened."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from support import document_pairs
from support.window import end_threads, press, settle

from slmstudio.core import paths
from slmstudio.core.documents import project as store
from slmstudio.gui.common import tasks
from slmstudio.gui.data.tab import DataTab
from slmstudio.gui.documents.page import DocumentsPage

RULES = """# Fees

A copy of a certificate costs 20 rupees and is ready within 7 days.

# Hours

The office is open from Monday to Friday, from 10 in the morning to 5 in the afternoon.
"""


def new_tab(qtbot, session) -> DataTab:
    made = DataTab(session)
    made.resize(1256, 620)
    qtbot.addWidget(made)
    with qtbot.waitActive(made):
        made.show()
        made.activateWindow()
    return made


@pytest.fixture
def teacher(studio_home) -> Path:
    """A GGUF that could teach."""
    run = paths.runs_dir() / "helpdesk"
    (run / "exports").mkdir(parents=True)
    (run / "run.json").write_text('{"name": "helpdesk"}')
    (run / "exports" / "helpdesk-Q8_0.gguf").write_bytes(b"GGUF" + bytes(100))
    return run / "exports" / "helpdesk-Q8_0.gguf"


@pytest.fixture
def tab(qtbot, session, teacher, play):
    play("")
    yield new_tab(qtbot, session)
    for project in store.list_projects():
        project.job.kill()
    end_threads()


def page(qtbot, tab: DataTab) -> DocumentsPage:
    """As a person opens it."""
    press(qtbot, tab, "data_documents")
    qtbot.waitUntil(lambda: tab.pages.shows_documents() and not tasks.is_busy(tab.documents().start))
    return tab.documents()


@pytest.fixture
def rules(tmp_path) -> Path:
    file = tmp_path / "in" / "rules.md"
    file.parent.mkdir()
    file.write_text(RULES)
    return file


def read(qtbot, shown: DocumentsPage) -> None:
    qtbot.waitUntil(shown.start.card.read.isEnabled)  # the teachers on this machine are known
    press(qtbot, shown, "documents_read")
    qtbot.waitUntil(lambda: shown.pages.currentWidget() is shown.ready)


def test_the_whole_form_is_seen_beside_a_file(qtbot, tab, rules):
    card = page(qtbot, tab).start.card
    card.sources.add([rules.parent])
    qtbot.waitUntil(card.sources.list.isVisible)
    settle()
    bottom = card.count.mapTo(card._area, card.count.rect().bottomLeft()).y()
    assert 0 < bottom < card._area.height()


def test_from_a_file_to_a_dataset(qtbot, tab, drop, rules, teacher, play):
    shown = page(qtbot, tab)
    assert not shown.start.card.read.isEnabled() and shown.start.projects.isHidden()
    drop(shown.start.card.sources, [rules.parent])
    shown.start.card.teacher.choose(str(teacher))
    shown.start.card.kinds["comparison"].click()
    read(qtbot, shown)
    [project] = store.list_projects()
    assert (project.settings.sources, project.settings.kinds) == ((str(rules.parent),), ("fact", "how_to", "condition"))
    assert project.settings.teacher["place"] == str(teacher) and len(project.passages()) == 2
    assert shown.ready.cost.text() and shown.ready.list.count() == 1
    play('start load event:{"type":"documents_progress","done":0,"total":2,"seconds_left":600} wait:resume finish')
    press(qtbot, shown, "ready_start")
    qtbot.waitUntil(lambda: shown.pages.currentWidget() is shown.review and bool(shown.followed.history.phases))
    work = shown.review.side.work
    assert work.isVisible() and work.pause.isVisible() and not work.resume.isVisible()
    document_pairs.add(project, list(project.passages()))
    shown.followed.send("resume")
    qtbot.waitUntil(lambda: shown.followed.has_ended() and shown.review.middle.currentWidget() is shown.review.pair)
    assert work.isHidden(), "all is made"
    for _ in range(2):
        qtbot.keyClick(shown.review, Qt.Key.Key_A, Qt.KeyboardModifier.ShiftModifier)
    with qtbot.waitSignal(tab.idle):
        press(qtbot, shown, "dataset_make")
    assert not tab.pages.shows_documents()
    [entry] = tab.workspace().entries
    assert len(entry.dataset.records) + len(entry.eval_dataset.records if entry.eval_dataset else ()) <= 4
    press(qtbot, tab, "data_add_documents")
    qtbot.waitUntil(tab.pages.shows_documents)
    assert shown.pages.currentWidget() is shown.review


def test_what_cannot_be_read_is_said_and_leaves_nothing(qtbot, tab, tmp_path):
    shown = page(qtbot, tab)
    (tmp_path / "empty").mkdir()
    shown.take_files([tmp_path / "empty"])
    press(qtbot, shown, "documents_read")
    qtbot.waitUntil(tab.banner.isVisible)
    assert store.list_projects() == [] and shown.start.card.read.isEnabled() and shown.start.card.strip.isHidden()
    press(qtbot, shown, "documents_remove")
    assert not shown.start.card.read.isEnabled()
    press(qtbot, shown, "documents_close")
    assert tab.pages.is_empty()


def test_a_project_is_opened_again_and_its_worker_followed(qtbot, session, tab, play):
    project = document_pairs.make(finished=2)
    play("start wait:resume finish")
    project.job.at(project.folder, "documents").start()
    shown = page(qtbot, tab)
    qtbot.waitUntil(lambda: shown.start.projects.list.count() == 1)
    press(qtbot, shown, "documents_open")
    qtbot.waitUntil(lambda: shown.pages.currentWidget() is shown.review and shown.followed.is_running())
    work = shown.review.side.work
    qtbot.waitUntil(work.pause.isVisible)
    assert (work.bar.value(), work.bar.maximum()) == (2, 6) and session.job is not None
    other = document_pairs.make(finished=0)
    shown.open_project(other.folder)
    qtbot.waitUntil(lambda: shown.pages.currentWidget() is shown.ready)
    press(qtbot, shown, "ready_start")
    assert tab.banner.isVisible() and shown.followed.job.folder == project.folder, "one at a time"
    shown.open_project(project.folder)
    qtbot.waitUntil(lambda: shown.pages.currentWidget() is shown.review)
    document_pairs.add(project, ["1-3"])
    shown.followed.send("resume")
    qtbot.waitUntil(lambda: shown.followed.has_ended() and work.resume.isVisible())
    assert work.bar.value() == 3 and session.job is None and len(shown.review.list.pairs) == 9


@pytest.mark.parametrize("end", ["error", "die"])
def test_a_worker_that_fails_is_said_and_can_continue(qtbot, tab, play, teacher, end):
    project = document_pairs.make(finished=1, teacher=teacher)
    shown = page(qtbot, tab)
    shown.open_project(project.folder)
    work = shown.review.side.work
    qtbot.waitUntil(work.resume.isVisible)
    for words, is_said in ((f"start {end}", True), ("start finish", False)):
        play(words)
        press(qtbot, shown, "documents_resume")
        qtbot.waitUntil(lambda: shown.followed.is_running())
        qtbot.waitUntil(lambda: not shown.followed.is_running() and work.resume.isVisible())
        assert tab.banner.isVisible() == is_said


def test_pause_and_stop(qtbot, tab, play, teacher):
    project = document_pairs.make(finished=1, teacher=teacher)
    shown = page(qtbot, tab)
    shown.open_project(project.folder)
    work = shown.review.side.work
    qtbot.waitUntil(work.resume.isVisible)
    play("start plan:100000 steps:100000@2")
    press(qtbot, shown, "documents_resume")
    qtbot.waitUntil(lambda: work.pause.isVisible() and shown.followed.history.step > 0)
    press(qtbot, shown, "documents_pause")
    qtbot.waitUntil(lambda: shown.followed.history.paused and work.pause.isEnabled())
    press(qtbot, shown, "documents_pause")
    qtbot.waitUntil(lambda: not shown.followed.history.paused)
    press(qtbot, shown, "documents_stop")
    qtbot.waitUntil(lambda: shown.followed.has_ended() and work.resume.isVisible())
    assert not tab.banner.isVisible()


def test_another_window_shows_the_same(qtbot, session, tab, rules):
    shown = page(qtbot, tab)
    shown.take_files([rules])
    project = document_pairs.make()
    shown.open_project(project.folder)
    qtbot.waitUntil(lambda: shown.pages.currentWidget() is shown.review)
    qtbot.keyClick(shown.review, Qt.Key.Key_Down)
    other = new_tab(qtbot, session)
    other.restore_state(tab.save_state())
    again = other.documents()
    qtbot.waitUntil(lambda: again.pages.currentWidget() is again.review)
    assert other.pages.shows_documents() and again.review.list.place == 2
    assert again.start.card.sources.paths == [rules]


def test_every_control_is_explained(qtbot, tab, unexplained, rules):
    shown = page(qtbot, tab)
    shown.take_files([rules])
    settle()
    assert unexplained(shown) == []
