"""The Data tab, from the empty window to "Use this data"."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QComboBox, QFileDialog, QLabel, QLineEdit, QPushButton, QRadioButton, QToolButton, QWidget
from support.data_window import choose_evaluation, open_files, press
from support.tiers import first_fast
from support.window import text

from slmstudio.core import paths
from slmstudio.core.data import reader, split
from slmstudio.core.evaluation.advice import Proposal, proposals
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.widgets.table_cells import DETAIL
from slmstudio.gui.data.tab import DataTab

LEFT = Qt.MouseButton.LeftButton
ROWS = [{"instruction": f"Question {n}", "output": f"Answer {n}"} for n in range(1, 41)]


@pytest.fixture
def opened(qtbot, tab: DataTab, write_rows) -> DataTab:
    """Forty rows are open."""
    open_files(qtbot, tab, write_rows("rows.jsonl", ROWS))
    return tab


def test_the_sample_opens_with_its_own_test_rows(qtbot, tab: DataTab):
    with qtbot.waitSignal(tab.idle):
        press(qtbot, tab, "data_sample")
    entry = tab.workspace().entry
    assert entry.dataset.path == paths.starter_train_file()
    assert entry.eval_dataset.path == paths.starter_test_file()
    assert text(tab, "dataset_name") == "helpdesk_train"
    assert "UTF-8" in text(tab, "dataset_facts")
    assert tab.workspace().desk.problems.problems.problems == ()
    assert tab.findChild(QRadioButton, "split_own").isChecked()
    learned, kept = len(entry.dataset.records), len(entry.eval_dataset.records)
    words = f"{learned} rows for training · {kept} for evaluation"
    qtbot.waitUntil(lambda: text(tab, "split_counts").startswith(words))
    qtbot.waitUntil(lambda: "Longest row" in text(tab, "statistics_figures"))


def test_files_are_dropped_anywhere(qtbot, tab: DataTab, write_rows, drop):
    with qtbot.waitSignal(tab.idle):
        drop(tab, [write_rows("a.jsonl", ROWS[:3]), write_rows("b.jsonl", ROWS[:5])])
    listed = tab.workspace().list
    assert [listed.item(i).text() for i in range(listed.count())] == ["a", "b"]
    assert listed.item(1).data(DETAIL).startswith("5 rows · ")
    assert tab.workspace().entry.dataset.name == "b"


def test_files_are_chosen_in_a_dialog(qtbot, tab: DataTab, write_rows):
    file = write_rows("chosen.jsonl", ROWS)
    press(qtbot, tab, "data_choose")
    dialog = tab.findChild(QFileDialog)
    with qtbot.waitSignal(tab.idle):
        dialog.filesSelected.emit([str(file)])
        dialog.accept()
    assert text(tab, "dataset_name") == "chosen"


def test_a_second_drop_while_reading_waits_its_turn(qtbot, tab: DataTab, write_rows, drop):
    first, second = write_rows("first.jsonl", ROWS * 2000), write_rows("second.jsonl", ROWS)
    drop(tab, [first])
    assert tab.progress.strips[1].isVisible()
    assert not tab.findChild(QPushButton, "data_choose").isEnabled()
    drop(tab, [second])
    assert "1 more waiting" in tab.progress.strips[1].label.text()
    with qtbot.waitSignal(tab.idle):
        pass
    assert [entry.dataset.name for entry in tab.workspace().entries] == ["first", "second"]
    assert not tab.progress.strips[0].isVisible()


def test_reading_is_cancelled(qtbot, tab: DataTab, write_rows, drop):
    drop(tab, [write_rows("large.jsonl", ROWS * 5000)])
    with qtbot.waitSignal(tab.idle):
        qtbot.mouseClick(tab.progress.strips[1].cancel, LEFT)
    assert tab.findChild(QPushButton, "data_choose").isEnabled()
    assert tab.banner.error is None
    with qtbot.waitSignal(tab.idle):
        drop(tab, [write_rows("small.jsonl", ROWS)])
    assert [entry.dataset.name for entry in tab.workspace().entries] == ["small"]


@pytest.mark.parametrize(("name", "rows", "what"), [
    ("nowhere.jsonl", None, "nowhere.jsonl"),
    ("story.txt", "Once upon a time.\n\nThe end.", "story.txt can't be used to evaluate rows.jsonl.")])
def test_evaluation_rows_that_cannot_be_used_are_told_and_change_nothing(qtbot, opened, tmp_path, name, rows, what):
    if rows is not None:
        (tmp_path / name).write_text(rows, encoding="utf-8")
    choose_evaluation(qtbot, opened, tmp_path / name)
    assert opened.banner.isVisible() and what in opened.banner.error.what
    assert opened.findChild(QRadioButton, "split_off").isChecked()
    assert opened.workspace().entry.eval_dataset is None


def test_several_bad_files_are_told_together(qtbot, tab: DataTab, tmp_path: Path, write_rows):
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    open_files(qtbot, tab, tmp_path / "nowhere.jsonl", write_rows("good.jsonl", ROWS), picture)
    assert tab.banner.error.what == "2 files couldn't be read."
    assert tab.banner.findChild(QWidget, "banner_list").model().rowCount() == 2
    assert text(tab, "dataset_name") == "good"
    open_files(qtbot, tab, write_rows("good.jsonl", ROWS))
    assert not tab.banner.isVisible()


def test_every_problem_is_listed_and_leads_to_its_line(qtbot, tab: DataTab, write_rows):
    rows = [row if n % 10 or n == 40 else "{broken" for n, row in enumerate(ROWS, 1)]
    open_files(qtbot, tab, write_rows("some_bad.jsonl", rows))
    qtbot.waitUntil(lambda: tab.findChild(QComboBox, "health_choice_unusable") is not None)
    press(qtbot, tab, "health_show_unusable", QToolButton)
    findings = tab.workspace().desk.problems
    assert [problem.line for problem in findings.problems.problems] == [10, 20, 30]
    index = findings.problems.index(1, 0)
    place = findings.list.visualRect(index).center()
    qtbot.mouseClick(findings.list.viewport(), LEFT, pos=place)
    qtbot.mouseDClick(findings.list.viewport(), LEFT, pos=place)
    assert "line 20" in QGuiApplication.clipboard().text()
    assert tab.findChild(QLabel, "rows_place").toolTip() == "line 21 of the file"
    assert tab.workspace().rows.isVisible()
    findings.copy_all()
    assert len(QGuiApplication.clipboard().text().splitlines()) == 3


def test_rows_are_walked_through(qtbot, opened: DataTab):
    assert text(opened, "rows_place") == "row 1 of 40"
    assert not opened.findChild(QToolButton, "rows_previous").isEnabled()
    press(qtbot, opened, "rows_next", QToolButton)
    rows = opened.workspace().rows
    qtbot.mouseClick(rows.mode.button(1), LEFT)
    bubbles = [label.text() for label in rows.conversation.findChildren(QLabel) if label.isVisible()]
    assert bubbles == ["user", "Question 2", "assistant", "Answer 2"]
    rows.search.setFocus()
    qtbot.keyClick(rows.search, Qt.Key.Key_Right, Qt.KeyboardModifier.AltModifier)
    assert text(opened, "rows_place") == "row 3 of 40"
    qtbot.keyClick(rows.search, Qt.Key.Key_Left, Qt.KeyboardModifier.AltModifier)
    assert text(opened, "rows_place") == "row 2 of 40"


def test_a_row_of_the_table_opens_as_a_conversation(qtbot, opened: DataTab):
    rows = opened.workspace().rows
    table = rows.table
    place = QPoint(table.columnViewportPosition(2) + 20, table.rowViewportPosition(4) + 10)
    qtbot.mouseClick(table.viewport(), LEFT, pos=place)
    assert text(opened, "rows_place") == "row 5 of 40"
    qtbot.keyClick(table, Qt.Key.Key_Return)
    assert rows.conversation.isVisible()


def test_the_search_finds_any_script_and_any_case(qtbot, tab: DataTab, write_rows):
    rows = [*ROWS, {"instruction": "जन्म प्रमाण पत्र कितने दिन में मिलता है?", "output": "सात दिन"},
            {"instruction": "Café au lait", "output": "yes"}]
    open_files(qtbot, tab, write_rows("rows.jsonl", rows))
    field = tab.findChild(QLineEdit, "rows_search")
    # ड़ and é typed in their decomposed forms find the composed ones.
    for typed, place in (("ANSWER 40", "match 1 of 1"), ("प्रमाण", "match 1 of 1"), ("CAFE\u0301", "match 1 of 1"),
                         ("nowhere", "no row contains this text"), ("question", "match 1 of 40"), ("", "row 1 of 42")):
        field.setFocus()
        field.selectAll()
        field.insert(typed) if typed else field.clear()
        qtbot.waitUntil(lambda place=place: text(tab, "rows_place") == place)


def test_the_split_is_set_and_counted(qtbot, opened: DataTab):
    qtbot.waitUntil(lambda: text(opened, "split_counts").startswith("36 rows for training · 4 for"))
    split = opened.workspace().split
    split.share.setValue(25)
    qtbot.waitUntil(lambda: text(opened, "split_counts").startswith("30 rows for training · 10 for"))
    split.seed.setValue(7)
    entry = opened.workspace().entry
    assert (entry.eval_fraction, entry.split_seed) == (0.25, 7)


def test_evaluation_rows_come_from_a_file(qtbot, opened: DataTab, write_rows):
    file = write_rows("test.jsonl", ROWS[:6])
    choose_evaluation(qtbot, opened, file)
    qtbot.waitUntil(lambda: text(opened, "split_counts").startswith("40 rows for training · 6 for"))
    assert opened.workspace().entry.eval_dataset.path == file
    press(qtbot, opened, "split_remove", QToolButton)
    qtbot.waitUntil(lambda: text(opened, "split_counts").startswith("36 rows for training · 4 for"))
    assert opened.workspace().entry.eval_dataset is None


def test_choosing_no_evaluation_file_goes_back_to_splitting(qtbot, opened: DataTab):
    press(qtbot, opened, "split_own", QRadioButton)
    opened.findChild(QFileDialog).reject()
    assert opened.findChild(QRadioButton, "split_off").isChecked()


def test_a_file_that_changed_its_kind_loses_its_evaluation_rows(qtbot, opened: DataTab, write_rows):
    entry = opened.workspace().entry
    opened.workspace().set_eval_dataset(entry, entry.dataset)
    open_files(qtbot, opened, write_rows("rows.jsonl", [{"text": "Once upon a time."}, {"text": "The end."}]))
    assert opened.workspace().entry.dataset.layout == "text"
    assert opened.workspace().entry.eval_dataset is None


def test_every_control_has_a_name_and_a_tooltip(opened: DataTab, unexplained):
    assert unexplained(opened) == []


def test_a_proposal_is_said_where_files_are_added(qtbot, tab: DataTab, write_rows):
    file = write_rows("few.jsonl", ROWS[:3])
    with qtbot.waitSignal(tab.idle):
        tab.advise(file, Proposal(proposals.ROWS, "Add rows about “forms”", "It got worse there."))
    assert text(tab, "data_advice") == "Add rows about “forms”. It got worse there."
    assert text(tab, "dataset_name") == "few"
    tab.advise(file, Proposal(proposals.COUNT, "Count the answers", "If most are alike."))
    answer = tab.workspace().entry.dataset.records[0].messages[-1]["content"]
    qtbot.waitUntil(lambda: text(tab, "data_advice").startswith(f"“{answer[:40]}”: 1 of 3 rows · "))


def test_use_this_data(qtbot, opened: DataTab, session: Session):
    opened.workspace().split.share.setValue(20)
    with qtbot.waitSignal(session.dataset_changed), qtbot.waitSignal(session.page_wanted) as heard:
        press(qtbot, opened, "data_use")
    assert heard.args[0] == "model"
    assert session.dataset is opened.workspace().entry.dataset
    assert (session.eval_dataset, session.eval_fraction, session.split_seed) == (None, 0.2, 0)
    assert "data" in session.done
    # The split of data in use is in force at once.
    opened.workspace().split.seed.setValue(3)
    assert session.split_seed == 3


def test_a_file_that_is_read_again_takes_its_old_place(qtbot, opened: DataTab, session: Session, write_rows):
    opened.workspace().split.share.setValue(20)
    press(qtbot, opened, "data_use")
    open_files(qtbot, opened, write_rows("rows.jsonl", ROWS[:10]))
    assert len(opened.workspace().entries) == 1
    assert len(session.dataset.records) == 10
    assert session.eval_fraction == 0.2
    assert text(opened, "rows_place") == "row 1 of 10"


def test_the_usual_share_is_that_of_the_rows_that_are_there(qtbot, tab: DataTab, session: Session, write_rows,
                                                            monkeypatch: pytest.MonkeyPatch):
    """By hand a share stays as it is."""
    monkeypatch.setattr(split, "ENOUGH", 2)
    rows = [{"question": f"Q{n}", "answer": f"A{n}"} for n in range(50)]
    file = write_rows("rows.jsonl", rows)
    open_files(qtbot, tab, file)
    page = tab.workspace()
    page.choose(page.entry)
    assert session.eval_fraction == 0.04
    write_rows("rows.jsonl", rows[:40])
    open_files(qtbot, tab, file)
    assert session.eval_fraction == 0.05 and page.split.share.value() == 5
    page.replace_dataset(page.entry, reader.read_dataset(write_rows("mended.jsonl", rows[:25])))
    assert session.eval_fraction == 0.08 and page.split.share.value() == 8
    page.split.share.setValue(20)
    page.replace_dataset(page.entry, reader.read_dataset(file))
    assert session.eval_fraction == 0.2


def test_the_last_dataset_is_taken_off_the_list(qtbot, opened: DataTab, session: Session):
    press(qtbot, opened, "data_use")
    opened.workspace().list.setFocus()
    qtbot.keyClick(opened.workspace().list, Qt.Key.Key_Delete)
    assert session.dataset is None
    assert "data" not in session.done
    assert opened.findChild(QPushButton, "data_sample").isVisible()


@pytest.mark.parametrize("count", first_fast([10_000, 100_000]))
def test_very_many_rows_and_problems(qtbot, tab: DataTab, tmp_path: Path, count: int):
    file = tmp_path / "many.jsonl"
    with open(file, "w", encoding="utf-8") as out:
        for n in range(count):
            out.write(f'{{"instruction": "Question {n}", "output": "Answer {n}"}}\n{{broken\n')
    with qtbot.waitSignal(tab.idle):
        tab.open_files([file])
    rows = tab.workspace().rows
    assert rows.table.model().rowCount() == count
    findings = tab.workspace().desk.problems
    assert len(findings.problems.problems[0].lines) == count
    rows.go(500)
    findings.list.doubleClicked.emit(findings.problems.index(0, 0))
    assert text(tab, "rows_place") == f"row 2 of {count:,}", "it leads to the first row after the first fault"
    rows.table.scrollToBottom()
    last = rows.table.visualRect(rows.table.model().index(count - 1, 0))
    assert last.isValid() and rows.table.viewport().rect().contains(last.center())
    rows.go(count - 1)
    assert text(tab, "rows_place") == f"row {count:,} of {count:,}"


def test_real_hindi_rows(qtbot, tab: DataTab, data_dir: Path):
    with qtbot.waitSignal(tab.idle):
        tab.open_files([data_dir / "xquad_hi_instructions.jsonl"])
    tab.workspace().rows.mode.set_current(1)
    qtbot.waitUntil(lambda: "307 rows" in text(tab, "statistics_figures"))
    assert "Devanagari" in tab.findChild(QWidget, "statistics_scripts").accessibleName()


def test_one_row_is_one_row(qtbot, tab: DataTab, write_rows):
    open_files(qtbot, tab, write_rows("one.jsonl", ROWS[:1]))
    assert tab.workspace().list.item(0).data(DETAIL).startswith("1 row · ")
    qtbot.waitUntil(lambda: text(tab, "statistics_figures").startswith("1 row · "))
    qtbot.waitUntil(lambda: text(tab, "split_counts") == "1 row for training · 0 for evaluation")
