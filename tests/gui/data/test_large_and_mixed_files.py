"""Files that take long to read are seen before they are read, and files of several languages are split evenly."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from PySide6.QtCore import Qt
from support.data_window import open_files
from support.window import text

from slmstudio.core.run import rows_report
from slmstudio.gui.common.session import Session
from slmstudio.gui.data import reading
from slmstudio.gui.data.health import work
from slmstudio.gui.data.tab import DataTab

ROWS = [{"instruction": f"Question {n}", "output": f"Answer {n}"} for n in range(1, 41)]


def test_the_first_rows_of_a_large_file_are_there_while_it_is_read(qtbot, tab: DataTab, write_rows, monkeypatch):
    """Reading waits here until they are seen, so that they aren't too late."""
    monkeypatch.setattr(reading, "LARGE_BYTES", 1000)
    seen = threading.Event()
    whole = reading.read

    def late(*given):
        assert seen.wait(60)
        return whole(*given)

    monkeypatch.setattr(reading, "read", late)
    tab.open_files([write_rows("rows.jsonl", ROWS)])
    qtbot.waitUntil(lambda: "first_rows" in vars(tab.pages) and tab.pages.first_rows.isVisible())
    shown = tab.pages.first_rows.table.model()
    assert (shown.rowCount(), shown.headerData(0, Qt.Orientation.Horizontal)) == (40, "instruction")
    assert shown.index(2, 0).data() == ROWS[2]["instruction"]
    assert text(tab, "first_rows_title") == "rows.jsonl" and tab.progress.strips[0].isVisible()
    with qtbot.waitSignal(tab.idle):
        seen.set()
    assert tab.workspace().isVisible() and not tab.pages.first_rows.isVisible()


def test_of_a_large_file_that_cannot_be_read_nothing_stays(qtbot, tab: DataTab, write_rows, monkeypatch):
    monkeypatch.setattr(reading, "LARGE_BYTES", 10)
    open_files(qtbot, tab, write_rows("rows.jsonl", [{"messages": 5}] * 2))
    assert tab.banner.isVisible() and tab.pages.is_empty()


def test_many_rows_are_checked_in_a_process_of_their_own(qtbot, tab: DataTab, write_rows, monkeypatch):
    monkeypatch.setattr(work, "APART_FROM", 1)
    asked = []
    ask = rows_report.ask
    monkeypatch.setattr(rows_report, "ask", lambda *given: asked.append(given[0]) or ask(*given))
    open_files(qtbot, tab, write_rows("rows.jsonl", [*ROWS, *ROWS[:3]]))
    entry = tab.workspace().entry
    qtbot.waitUntil(lambda: entry.report is not None, timeout=30_000)
    assert asked == [entry.dataset]
    assert ("duplicate_rows", 3) in [(each.kind, each.count) for each in entry.report.made.findings]


def test_the_same_share_of_each_language_or_file_is_split_off(qtbot, tab: DataTab, session: Session, tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / f"{name}.jsonl").write_text("".join(
            json.dumps({"instruction": f"{name} {word} {n}", "output": "A."}) + "\n"
            for word in ("question", "प्रश्न") for n in range(4)), encoding="utf-8")
    open_files(qtbot, tab, tmp_path / "set")
    page = tab.workspace()
    box = page.split.by_box
    assert [box.itemData(at) for at in range(box.count())] == ["rows", "language", "source"]
    page.split.share.setValue(30)  # of 16 rows 5; of the 8 in a language or a file 2, of both together 4
    for by, held in (("source", 4), ("rows", 5), ("language", 4)):
        box.setCurrentIndex(box.findData(by))
        box.activated.emit(box.currentIndex())
        words = f"{16 - held} rows for training · {held} for evaluation"
        qtbot.waitUntil(lambda words=words: text(tab, "split_counts") == words)
        assert page.entry.split_by == by
    page.choose(page.entry)
    assert session.split_by == "language"


def test_one_file_cannot_be_split_by_files(qtbot, tab: DataTab, write_rows):
    open_files(qtbot, tab, write_rows("rows.jsonl", ROWS))
    box = tab.workspace().split.by_box
    assert [box.itemData(at) for at in range(box.count())] == ["rows", "language"]
