"""Documents become a dataset in the window: a real worker, whose teacher is a scripted server on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from support.scripted_teacher import LIES, ScriptedTeacher, document, serving
from support.window import end_threads, press, show_widget

from slmstudio.core.documents import project as store
from slmstudio.core.settings import Settings
from slmstudio.gui.common import tasks
from slmstudio.gui.common.session import Session
from slmstudio.gui.data.tab import DataTab
from slmstudio.gui.documents.start import ON_SERVER

LIE = LIES["invented number"]


@pytest.fixture
def tab(qtbot, qapp, studio_home):
    shown = show_widget(qtbot, DataTab(Session(Settings())), 1256, 640)
    shown.activateWindow()
    yield shown
    for project in store.list_projects():
        project.job.kill()
    end_threads()
    assert tasks.shut_down(60_000)


@pytest.mark.full
def test_from_documents_to_rows_with_their_sources(qtbot, tab: DataTab, tmp_path: Path):
    with serving(ScriptedTeacher({1: LIE[0]})) as teacher:
        tab.open_documents()
        qtbot.waitUntil(tab.pages.shows_documents)
        page = tab.documents()
        card = page.start.card
        qtbot.waitUntil(lambda: card.teacher.box.findData(ON_SERVER) >= 0)
        card.sources.add([document(tmp_path, 6)])
        card.teacher.box.setCurrentIndex(card.teacher.box.findData(ON_SERVER))
        card.teacher.server.setText(teacher.url)
        card.teacher.server.editingFinished.emit()
        qtbot.waitUntil(card.read.isEnabled)
        press(qtbot, page, "documents_read")
        qtbot.waitUntil(lambda: page.pages.currentWidget() is page.ready)
        press(qtbot, page, "ready_trial")
        qtbot.waitUntil(lambda: page.followed.has_ended() and page.ready.start.isEnabled(), timeout=240_000)
        press(qtbot, page, "ready_start")
        qtbot.waitUntil(lambda: page.pages.currentWidget() is page.review and page.followed.has_ended() and
                        page.review.side.work.isHidden(), timeout=240_000)
    counts = page.review.project.counts()
    assert (counts.waiting, counts.left_out, set(counts.by_doubt)) == (5, 1, {LIE[1]})
    for _ in range(counts.waiting):
        assert page.review.pair.found.kind == "ok"
        qtbot.keyClick(page.review, Qt.Key.Key_A)
    assert page.review.middle.currentWidget() is page.review.dataset
    with qtbot.waitSignal(tab.idle):
        press(qtbot, page, "dataset_make")
    [entry] = tab.workspace().entries
    rows = [json.loads(line) for line in entry.dataset.path.read_text("utf-8").splitlines()]
    assert len(rows) + len(entry.eval_dataset.records) == 5
    assert all(row["document"] == "rules.md" and row["quotation"] for row in rows)
