"""How the Data tab shows pairs, labelled rows and plain text, files that take long to read, and several languages."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QLineEdit
from support.data_window import open_files
from support.window import text

from slmstudio.core.model.facts import read_model
from slmstudio.core.run import rows_report
from slmstudio.gui.common.session import Session
from slmstudio.gui.data import reading
from slmstudio.gui.data.health import work
from slmstudio.gui.data.tab import DataTab

PAIRS = [{"prompt": f"Question {n}", "chosen": f"अच्छा {n}", "rejected": f"Worse {n}"} for n in range(1, 6)]
LABELLED = [{"prompt": f"Question {n}", "completion": f"Answer {n}", "label": n % 2 == 0} for n in range(1, 6)]
STORY = "Once upon\na time.\n\nThe end.\n\nThe end."


def table(tab: DataTab) -> list[list[str]]:
    """The titles and the first row, of the columns that are on screen."""
    view = tab.workspace().rows.table
    model, columns = view.model(), [c for c in range(view.model().columnCount()) if not view.isColumnHidden(c)]
    assert all(view.columnWidth(column) > 40 for column in columns)
    return [[model.headerData(column, Qt.Orientation.Horizontal) for column in columns],
            [model.index(0, column).data() for column in columns]]


def bubbles(tab: DataTab) -> list[str]:
    rows = tab.workspace().rows
    rows.mode.set_current(1)
    return [label.text() for label in rows.conversation.widget().findChildren(QLabel) if label.isVisible()]


def test_preference_pairs_show_both_answers(qtbot, tab: DataTab, write_rows):
    open_files(qtbot, tab, write_rows("pairs.jsonl", PAIRS))
    assert "preference pairs" in text(tab, "dataset_facts")
    assert table(tab) == [["Line", "Turns", "Question", "Chosen answer", "Rejected answer"],
                          ["1", "2", "Question 1", "अच्छा 1", "Worse 1"]]
    assert bubbles(tab) == ["user", "Question 1", "chosen answer", "अच्छा 1", "rejected answer", "Worse 1"]
    tab.findChild(QLineEdit, "rows_search").setText("worse 4")
    qtbot.waitUntil(lambda: text(tab, "rows_place") == "match 1 of 1")
    qtbot.waitUntil(lambda: "5 rows · " in text(tab, "statistics_figures"))
    qtbot.waitUntil(lambda: text(tab, "split_counts").startswith("4 rows for training · 1 for"))


def test_labelled_rows_show_their_mark(qtbot, tab: DataTab, write_rows):
    open_files(qtbot, tab, write_rows("labelled.jsonl", LABELLED))
    assert "good and bad answers" in text(tab, "dataset_facts")
    assert table(tab) == [["Line", "Turns", "Question", "Answer", "Rating"],
                          ["1", "2", "Question 1", "Answer 1", "bad"]]
    assert bubbles(tab) == ["user", "Question 1", "assistant · a bad answer", "Answer 1"]
    tab.workspace().rows.go(1)
    assert bubbles(tab)[2] == "assistant · a good answer"


def test_plain_text_shows_the_text(qtbot, tab: DataTab, session: Session, tmp_path: Path, tiny_model: Path):
    file = tmp_path / "story.txt"
    file.write_text(STORY, encoding="utf-8")
    open_files(qtbot, tab, file)
    assert "plain text" in text(tab, "dataset_facts")
    assert table(tab) == [["Line", "Text"], ["1", "Once upon a time."]]
    assert bubbles(tab) == ["text", "Once upon\na time."]
    qtbot.waitUntil(lambda: "3 rows · " in text(tab, "statistics_figures"))
    session.set_model(read_model(tiny_model))
    rows = tab.workspace().rows
    rows.mode.set_current(2)
    qtbot.waitUntil(lambda: "learned" in text(tab, "token_counts"))
    shown = rows.tokens.view.shown
    assert "".join(piece.text for piece in shown) == "Once upon\na time.<|im_end|>"
    assert all(piece.learned for piece in shown)
    assert [piece.special for piece in shown] == [False, True]


def test_the_columns_follow_the_dataset(qtbot, tab: DataTab, write_rows):
    open_files(qtbot, tab, write_rows("pairs.jsonl", PAIRS))
    open_files(qtbot, tab, write_rows("chat.jsonl", [{"instruction": "a", "output": "b"}]))
    assert table(tab) == [["Line", "Question", "Answer"], ["1", "a", "b"]]
    tab.workspace().list.setCurrentRow(0)
    assert table(tab)[0] == ["Line", "Turns", "Question", "Chosen answer", "Rejected answer"]


def test_choices_in_columns_of_their_own_are_shown_and_stay_when_another_column_is_chosen(qtbot, tab, tmp_path):
    file = tmp_path / "exam.csv"
    file.write_text("question,A,B,C,answer,hint\n" + "Capital of Goa?,Pune,Panaji,Ponda,B,c\n" * 3, encoding="utf-8")
    open_files(qtbot, tab, file)
    card = tab.workspace().reading
    card.change.setChecked(True)
    box = card.panel.targets["choices"].box
    assert (box.currentText(), box.currentData()) == ("A, B and C", "A,B,C")
    answer = card.panel.targets["output"].box
    answer.setCurrentIndex(answer.findData("hint"))
    assert card.panel.said() == "instruction=question,output=hint,choices=A,B,C"
    with qtbot.waitSignal(tab.idle):
        card.reread.emit(card.panel.said())
    entry = tab.workspace().entry
    assert entry.dataset.records[0].messages[1]["content"] == "C. Ponda"


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
    qtbot.waitUntil(lambda: entry.report is not None)
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
