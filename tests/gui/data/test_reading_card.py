"""How a file was read: shown, changed, remembered, and asked for where the columns tell nothing."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QFileDialog, QLabel, QPushButton, QWidget
from support.workbooks import write_xlsx

from slmstudio.core import settings
from slmstudio.core.data.mapping import shapes
from slmstudio.gui.common.session import Session
from slmstudio.gui.data.tab import DataTab

LEFT = Qt.MouseButton.LeftButton
HEAD = ("प्रश्न", "उत्तर", "श्रेणी")
HINDI = [HEAD, *((f"राशन कार्ड {n}?", f"तहसील में, काउंटर {n}।", f"वर्ग {n % 3}") for n in range(1, 31))]
ODD = "Fld 1,Fld-2,xx\n" + "".join(f"why {n},because {n},text {n}\n" for n in range(1, 9))
SWAPPED = "instruction=उत्तर,output=प्रश्न"


@pytest.fixture
def hindi(tmp_path: Path) -> Path:
    old = [("question", "answer"), ("Who?", "She.")]
    return write_xlsx(tmp_path / "नागरिक.xlsx", {"प्रश्न-पत्र": HINDI, "पुराना": old})


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    file = tmp_path / "odd.csv"
    file.write_text(ODD, encoding="utf-8")
    return file


def open_files(qtbot, tab: DataTab, *files: Path) -> None:
    with qtbot.waitSignal(tab.idle):
        tab.open_files(list(files))


def text(tab: QWidget, name: str) -> str:
    return tab.findChild(QLabel, name).text()


def press(qtbot, tab: QWidget, name: str) -> None:
    button = tab.findChild(QPushButton, name)
    assert button.isVisible() and button.isEnabled(), name
    qtbot.mouseClick(button, LEFT)


def pick(place: QWidget, field: str, value: str) -> None:
    """Choose something of a field, as a person would."""
    box = place.findChild(QComboBox, f"mapping_{field}")
    assert box.findData(value) >= 0, (field, value)
    box.setCurrentIndex(box.findData(value))
    box.activated.emit(box.currentIndex())


def pick_and_read(qtbot, tab: DataTab, field: str, value: str) -> None:
    with qtbot.waitSignal(tab.idle):
        pick(tab.workspace().reading.panel, field, value)


def swap(qtbot, tab: DataTab) -> None:
    """What the program takes for questions are answers, and the other way round."""
    panel = tab.workspace().reading.panel
    with qtbot.waitSignal(tab.idle):
        pick(panel, "instruction", "उत्तर")
        pick(panel, "output", "प्रश्न")


def first(tab: DataTab) -> list[str]:
    return [message["content"] for message in tab.workspace().entry.dataset.records[0].messages]


def names(tab: DataTab) -> list[str]:
    return [entry.dataset.name for entry in tab.workspace().entries]


def test_how_a_spreadsheet_was_read_is_shown(qtbot, tab, hindi, unexplained):
    open_files(qtbot, tab, hindi)
    card = tab.workspace().reading
    assert text(tab, "reading_facts") == "Excel · sheet “प्रश्न-पत्र”"
    assert "Each row is a question with its answer. Question: प्रश्न · Answer: उत्तर." in text(tab, "reading_summary")
    assert not card.reset.isVisible() and not card.panel.isVisible()
    press(qtbot, tab, "reading_change")
    assert card.panel.isVisible() and card.panel.mapping() == {"instruction": "प्रश्न", "output": "उत्तर"}
    assert card.panel.targets["output"].example.text() == "तहसील में, काउंटर 1।"
    assert text(tab, "reading_unused") == "Not used: श्रेणी" and "2" not in text(tab, "reading_facts")
    assert unexplained(tab) == []
    assert all(box.accessibleName() and box.toolTip() for box in card.findChildren(QComboBox))


def test_other_columns_are_read_at_once_and_reset_goes_back(qtbot, tab, hindi):
    open_files(qtbot, tab, hindi)
    swap(qtbot, tab)
    assert first(tab) == ["तहसील में, काउंटर 1।", "राशन कार्ड 1?"]
    assert text(tab, "rows_place") == "row 1 of 30" and "Read as you chose." in text(tab, "reading_summary")
    assert tab.workspace().entry.reading == (SWAPPED, ())
    with qtbot.waitSignal(tab.idle):
        press(qtbot, tab, "reading_reset")
    assert first(tab)[0] == "राशन कार्ड 1?" and not tab.workspace().reading.reset.isVisible()


def test_a_layout_waits_for_its_columns_and_a_wrong_one_leaves_the_rows(qtbot, tab, hindi):
    open_files(qtbot, tab, hindi)
    press(qtbot, tab, "reading_change")
    card = tab.workspace().reading
    pick(card.panel, "layout", "preference")
    assert tab.queue.reading is None and text(tab, "reading_hint") == "Choose a column for: Worse answer"
    assert card.panel.mapping() == {"prompt": "प्रश्न", "chosen": "उत्तर"}
    pick_and_read(qtbot, tab, "rejected", "श्रेणी")
    assert tab.workspace().entry.dataset.layout == "preference" and not card.hint.isVisible()
    pick(card.panel, "layout", "messages")
    pick_and_read(qtbot, tab, "messages", "उत्तर")
    assert card.error.isVisible() and "no row that can be used" in card.error.error.what
    assert "still as they were" in card.error.error.remedy and tab.banner.error is None
    assert tab.workspace().entry.dataset.layout == "preference" and text(tab, "rows_place") == "row 1 of 30"


def test_columns_that_are_being_chosen_stay_when_the_file_is_read_again(qtbot, tab, hindi):
    open_files(qtbot, tab, hindi)
    swap(qtbot, tab)
    panel = tab.workspace().reading.panel
    pick(panel, "layout", "preference")
    open_files(qtbot, tab, hindi)
    assert panel.layout_name == "preference" and text(tab, "reading_hint") == "Choose a column for: Worse answer"
    with qtbot.waitSignal(tab.idle):
        press(qtbot, tab, "reading_reset")
    assert panel.layout_name == "instruction" and first(tab)[0] == "राशन कार्ड 1?"


def test_another_tab_takes_over_what_is_being_chosen(qtbot, tab, new_tab, hindi):
    """As a window in another language does."""
    open_files(qtbot, tab, hindi)
    press(qtbot, tab, "reading_change")
    pick(tab.workspace().reading.panel, "layout", "preference")
    new = new_tab()
    with qtbot.waitSignal(new.idle):
        new.take_over(tab)
    card = new.workspace().reading
    assert card.panel.isVisible() and card.panel.mapping() == {"prompt": "प्रश्न", "chosen": "उत्तर"}
    assert text(new, "reading_hint") == "Choose a column for: Worse answer"
    pick_and_read(qtbot, new, "rejected", "श्रेणी")
    assert new.workspace().entry.dataset.layout == "preference"


def test_another_tab_asks_for_the_columns_that_are_not_chosen_yet(qtbot, tab, new_tab, odd):
    open_files(qtbot, tab, odd)
    pick(tab.pages.asking, "output", "Fld-2")
    new = new_tab()
    new.take_over(tab)
    page = new.pages.asking
    assert page.isVisible() and page.table.rows.rowCount() == 8
    assert page.panel.mapping() == {"output": "Fld-2"}
    assert text(new, "unmapped_hint") == "Choose a column for: Question" and not page.read.isEnabled()
    box = page.panel.targets["instruction"].box
    box.setCurrentIndex(box.findData("Fld 1"))
    box.activated.emit(box.currentIndex())
    with qtbot.waitSignal(new.idle):
        press(qtbot, page, "unmapped_read")
    assert first(new) == ["why 1", "because 1"]


@pytest.fixture
def large(write_rows) -> Path:
    return write_rows("large.jsonl", [{"question": f"Q{n}", "answer": f"A{n}"} for n in range(50_000)])


def test_another_tab_takes_over_a_question_that_waits_for_a_large_file(qtbot, tab, new_tab, odd, large):
    with qtbot.waitSignal(tab.queue.was_read):
        tab.open_files([odd, large])
    new = new_tab()
    with qtbot.waitSignal(new.idle):
        new.take_over(tab)
    page = new.pages.asking
    assert page.isVisible() and page.panel.layout_name == "instruction" and page.panel.mapping() == {}
    assert text(new, "unmapped_title") == "What do the columns of odd.csv hold?" and not page.read.isEnabled()


def test_another_tab_asks_for_the_next_file_without_what_was_chosen_for_the_first(qtbot, tab, new_tab, odd, large):
    second = odd.with_name("second.csv")
    second.write_text(ODD.replace("Fld", "Col"), encoding="utf-8")
    open_files(qtbot, tab, odd, second)
    pick(tab.pages.asking, "instruction", "Fld 1")
    pick(tab.pages.asking, "output", "Fld-2")
    with qtbot.waitSignal(tab.queue.was_read):
        press(qtbot, tab, "unmapped_read")
        tab.open_files([large])
    new = new_tab()
    with qtbot.waitSignal(new.idle):
        new.take_over(tab)
    page = new.pages.asking
    assert text(new, "unmapped_title") == "What do the columns of second.csv hold?"
    assert page.panel.mapping() == {} and not page.read.isEnabled()


def test_reading_in_another_way_is_cancelled(qtbot, tab, write_rows):
    open_files(qtbot, tab, write_rows("large.jsonl", [{"question": f"Q{n}", "answer": f"A{n}"} for n in range(50_000)]))
    press(qtbot, tab, "reading_change")
    panel = tab.workspace().reading.panel
    pick(panel, "layout", "text")
    pick(panel, "text", "answer")
    assert tab.progress.strips[0].isVisible() and "large.jsonl" in tab.progress.strips[0].label.text()
    with qtbot.waitSignal(tab.idle):
        qtbot.mouseClick(tab.progress.strips[0].cancel, LEFT)
    assert panel.mapping() == {"instruction": "question", "output": "answer"} and first(tab) == ["Q0", "A0"]
    assert tab.workspace().entry.reading[0] is None and tab.banner.error is None


def test_the_sheet_and_how_a_text_is_cut(qtbot, tab, hindi, tmp_path):
    story = tmp_path / "story.txt"
    story.write_text("Once upon\na time.\n\nThe end.\n", encoding="utf-8")
    open_files(qtbot, tab, hindi, story)
    panel = tab.workspace().reading.panel
    press(qtbot, tab, "reading_change")
    assert not panel.targets and not panel.layout_cell.isVisible() and not panel.sheet_cell.isVisible()
    pick_and_read(qtbot, tab, "cut", "line")
    assert [record.text for record in tab.workspace().entry.dataset.records] == ["Once upon", "a time.", "The end."]
    tab.workspace().list.setCurrentRow(0)
    pick_and_read(qtbot, tab, "sheet", "पुराना")
    assert first(tab) == ["Who?", "She."] and panel.mapping() == {"instruction": "question", "output": "answer"}
    assert tab.workspace().entry.reading[0] == "sheet=पुराना"


def test_columns_that_tell_nothing_are_asked_for(qtbot, tab, odd, write_rows):
    open_files(qtbot, tab, write_rows("good.jsonl", [{"instruction": "a", "output": "b"}]), odd)
    page = tab.pages.asking
    assert page.isVisible() and text(tab, "unmapped_title") == "What do the columns of odd.csv hold?"
    assert page.table.rows.rowCount() == 8 and page.table.rows.headerData(1, Qt.Orientation.Horizontal) == "Fld-2"
    assert not page.read.isEnabled() and text(tab, "unmapped_hint") == "Choose a column for: Question, Answer"
    assert tab.banner.error is None
    pick(page, "layout", "messages")
    pick(page, "messages", "xx")
    with qtbot.waitSignal(tab.idle):
        press(qtbot, page, "unmapped_read")
    assert page.isVisible() and page.error.isVisible()
    pick(page, "layout", "instruction")
    pick(page, "instruction", "Fld 1")
    pick(page, "output", "Fld-2")
    assert not page.error.isVisible()
    with qtbot.waitSignal(tab.idle):
        press(qtbot, page, "unmapped_read")
    assert tab.workspace().isVisible() and names(tab) == ["good", "odd"] and first(tab) == ["why 1", "because 1"]


def test_such_a_file_may_be_left(qtbot, tab, odd, tmp_path):
    other = odd.with_name("other.csv")
    other.write_text(ODD, encoding="utf-8")
    open_files(qtbot, tab, odd, other)
    press(qtbot, tab, "unmapped_leave")
    assert text(tab, "unmapped_title") == "What do the columns of other.csv hold?"
    press(qtbot, tab, "unmapped_leave")
    assert tab.findChild(QPushButton, "data_choose").isVisible()


def test_a_choice_is_remembered_for_the_file_and_for_others_with_its_columns(qtbot, new_tab, session, hindi, tmp_path):
    tab = new_tab()
    open_files(qtbot, tab, hindi)
    swap(qtbot, tab)
    tab.workspace().remove_current()
    open_files(qtbot, tab, hindi)
    assert first(tab)[0] == "तहसील में, काउंटर 1।", "opened again, it is read as before"

    session.settings.save()
    later = Session(settings.load()[0])
    tab = new_tab(later)
    with qtbot.waitSignal(tab.idle):
        tab.restore()
    assert first(tab)[0] == "तहसील में, काउंटर 1।" and shapes.said_of(later.settings.mappings, HEAD) == SWAPPED
    alike = write_xlsx(tmp_path / "b.xlsx", {"s": [(b, c, a) for a, b, c in HINDI]})
    open_files(qtbot, tab, alike)
    assert first(tab)[0] == "तहसील में, काउंटर 1।"
    assert text(tab, "reading_summary").startswith("Read as you chose for files with these columns.")
    with qtbot.waitSignal(tab.idle):
        press(qtbot, tab, "reading_reset")
    assert first(tab)[0] == "राशन कार्ड 1?" and later.settings.mappings == {}
    assert "chose" not in text(tab, "reading_summary")


def test_what_does_not_fit_a_changed_file_any_more_is_said(qtbot, new_tab, session, odd):
    tab = new_tab()
    open_files(qtbot, tab, odd)
    pick(tab.pages.asking, "instruction", "Fld 1")
    pick(tab.pages.asking, "output", "Fld-2")
    with qtbot.waitSignal(tab.idle):
        press(qtbot, tab.pages.asking, "unmapped_read")
    odd.write_text("question,answer\nWho?,She.\n", encoding="utf-8")
    session.settings.save()
    tab = new_tab(Session(settings.load()[0]))
    with qtbot.waitSignal(tab.idle):
        tab.restore()
    assert first(tab) == ["Who?", "She."] and "no longer fit the file" in str(tab.banner.error)


def test_what_was_said_of_evaluation_rows_holds_in_the_next_sitting(qtbot, new_tab, session, odd):
    """Their columns tell nothing, and have other names than those that are learned."""
    test, rows = odd.with_name("test.csv"), odd.with_name("rows.csv")
    test.write_text(ODD, encoding="utf-8")
    rows.write_text("question,answer\n" + "Who?,She.\n" * 4, encoding="utf-8")
    tab = new_tab()
    open_files(qtbot, tab, rows)
    tab.workspace().split.own.setChecked(True)
    dialog = tab.findChild(QFileDialog)
    with qtbot.waitSignal(tab.idle):
        dialog.fileSelected.emit(str(test))
        dialog.accept()
    pick(tab.pages.asking, "instruction", "Fld 1")
    pick(tab.pages.asking, "output", "Fld-2")
    with qtbot.waitSignal(tab.idle):
        press(qtbot, tab.pages.asking, "unmapped_read")
    assert tab.workspace().entry.eval_dataset.path == test
    session.settings.mappings = {}  # another file with these columns said otherwise since
    session.settings.save()
    tab = new_tab(Session(settings.load()[0]))
    with qtbot.waitSignal(tab.idle):
        tab.restore()
    entry = tab.workspace().entry
    assert entry.eval_dataset.given == {"instruction": "Fld 1", "output": "Fld-2"}
    assert tab.banner.error is None


def test_evaluation_rows_are_read_with_the_same_columns(qtbot, tab, odd):
    open_files(qtbot, tab, odd)
    pick(tab.pages.asking, "instruction", "Fld 1")
    pick(tab.pages.asking, "output", "Fld-2")
    with qtbot.waitSignal(tab.idle):
        press(qtbot, tab.pages.asking, "unmapped_read")
    test = odd.with_name("test.csv")
    test.write_text(ODD.replace("xx", "yy"), encoding="utf-8")
    tab.workspace().split.own.setChecked(True)
    dialog = tab.findChild(QFileDialog)
    with qtbot.waitSignal(tab.idle):
        dialog.fileSelected.emit(str(test))
        dialog.accept()
    entry = tab.workspace().entry
    assert entry.eval_dataset.given == entry.dataset.given == {"instruction": "Fld 1", "output": "Fld-2"}
    pick_and_read(qtbot, tab, "output", "xx")
    assert entry.dataset.given["output"] == "xx" and entry.eval_dataset is None and entry.lost_eval == test
    assert "evaluation rows for odd.csv" in str(tab.banner.error)


def test_columns_that_matter_are_warned_of_before_the_data_is_used(qtbot, tab, session, tmp_path):
    file = tmp_path / "weighted.csv"
    file.write_text("question,answer,loss_weight,split\n" + "Who?,She.,2,train\n" * 4, encoding="utf-8")
    open_files(qtbot, tab, file)
    assert text(tab, "reading_matter") == "Not used, though they affect training: loss_weight, split"
    press(qtbot, tab, "data_use")
    assert session.dataset is None
    assert text(tab, "unused_text") == "loss_weight and split affect training, but aren't used."
    press(qtbot, tab, "unused_choose")
    assert tab.workspace().reading.panel.isVisible() and not tab.workspace().strip.isVisible()
    press(qtbot, tab, "data_use")
    press(qtbot, tab, "unused_accept")
    assert session.dataset is tab.workspace().entry.dataset and not tab.workspace().strip.isVisible()
    session.set_dataset(None)
    press(qtbot, tab, "data_use")
    assert session.dataset is not None, "it is asked once"
    pick_and_read(qtbot, tab, "system", "split")
    press(qtbot, tab, "data_use")
    assert text(tab, "unused_text") == "loss_weight affects training, but isn't used."


def test_a_folder_is_dropped_and_its_rows_name_their_files(qtbot, tab, tmp_path, drop):
    folder = tmp_path / "ward"
    folder.mkdir()
    for name in "ab":
        rows = [json.dumps({"instruction": f"{name}{n}", "output": "x"}) for n in range(4)]
        (folder / f"{name}.jsonl").write_text("\n".join([*rows[:2], *["{broken"] * 4, *rows[2:]]), encoding="utf-8")
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as file:
        file.write(folder / "a.jsonl", "a.jsonl")
    with qtbot.waitSignal(tab.idle):
        drop(tab, [folder, packed])
    assert names(tab) == ["ward", "packed"]
    tab.workspace().list.setCurrentRow(0)
    page = tab.workspace()
    table = page.rows.table
    shown = {table.model().headerData(column, Qt.Orientation.Horizontal): column for column in range(6)}
    assert not table.isColumnHidden(shown["File"])
    assert table.model().index(4, shown["File"]).data() == "b.jsonl"
    problem = page.findings.problems.problems[1]
    assert (problem.file, problem.line, problem.lines) == ("b.jsonl", 3, (3, 4, 5, 6))
    assert page.findings.list.itemDelegate().place(problem) == "b.jsonl, 4 rows, from line 3"
    page.findings.list.doubleClicked.emit(page.findings.problems.index(1, 0))
    assert text(tab, "rows_place") == "row 7 of 8"
    assert page.rows.place.toolTip() == "line 7 of b.jsonl"


def test_all_kinds_of_files_and_folders_are_offered(qtbot, tab, tmp_path):
    press(qtbot, tab, "data_choose")
    dialog = tab.findChild(QFileDialog)
    filters = dialog.nameFilters()
    assert filters[0].startswith("Datasets (*.jsonl ") and filters[-1] == "All files (*)"
    assert all(ending in filters[0] for ending in ("*.xlsx", "*.csv", "*.parquet", "*.pdf", "*.docx", "*.gz", "*.zip"))
    dialog.reject()
    qtbot.waitUntil(lambda: tab.findChild(QFileDialog) is None)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "rows.csv").write_text("question,answer\nWho?,She.\n", encoding="utf-8")
    press(qtbot, tab, "data_folder")
    dialog = tab.findChild(QFileDialog)
    assert dialog.fileMode() == QFileDialog.FileMode.Directory
    with qtbot.waitSignal(tab.idle):
        dialog.fileSelected.emit(str(tmp_path / "in"))
        dialog.reject()
    assert names(tab) == ["in"]
    assert tab.findChild(QPushButton, "data_add_folder").isVisible()
