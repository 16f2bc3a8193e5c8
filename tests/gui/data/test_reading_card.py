"""How a file was read: shown, and changed."""

from __future__ import annotations

import json
import zipfile

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QComboBox, QFileDialog, QPushButton, QStackedWidget
from support.data_window import LEFT, SWAPPED, first, names, open_files, pick, pick_and_read, press, swap
from support.window import text

from slmstudio.core.run.rows_report import TokenCounts
from slmstudio.gui.app.main_window import ScrolledPages


def test_how_a_spreadsheet_was_read_is_shown(qtbot, tab, hindi, unexplained):
    open_files(qtbot, tab, hindi)
    card = tab.workspace().reading
    assert text(tab, "reading_facts") == "Excel · sheet “प्रश्न-पत्र”"
    assert "Each row is a question with its answer. Question: प्रश्न · Answer: उत्तर." in text(tab, "reading_summary")
    assert not card.reset.isVisible() and not card.panel.isVisible()
    press(qtbot, tab, "reading_change")
    assert card.panel.isVisible() and card.panel.mapping() == {"instruction": "प्रश्न", "output": "उत्तर"}
    assert card.panel.targets["output"].example.text() == "तहसील में, काउंटर 1।"
    assert text(tab, "reading_words").endswith(": श्रेणी")
    assert not card.unused.isVisible() and "2" not in text(tab, "reading_facts")
    assert unexplained(tab) == []
    assert all(box.accessibleName() and box.toolTip() for box in card.findChildren(QComboBox))


def test_the_fields_take_no_room_from_the_button_that_comes_next(qtbot, tab, hindi):
    pages = QStackedWidget()
    pages.addWidget(tab)
    window = ScrolledPages(pages)
    qtbot.addWidget(window)
    window.resize(1280, 646)  # what a window of 720 pixels leaves
    window.show()
    open_files(qtbot, tab, hindi)
    page = tab.workspace()
    page.desk.lengths.show_counts(TokenCounts("m", 2, 60, 70, 71, 71, 71, {"Latin": 1.3}, (60, 71)), 1024, "m", False)
    qtbot.waitUntil(lambda: page.desk.lengths.histogram.isVisible())
    before, needed = page.use.mapTo(page, QPoint()), page.minimumSizeHint().height()
    press(qtbot, tab, "reading_change")
    qtbot.waitUntil(lambda: page.reading.height() > 150 and page.minimumSizeHint().height() <= needed)  # laid out
    assert page.use.mapTo(page, QPoint()) == before
    press(qtbot, tab, "reading_change")
    assert page.statistics.isVisible() and page.desk.lengths.isVisible()
    tab.setParent(None)  # closed on its own


def test_other_columns_are_read_at_once_and_reset_goes_back(qtbot, tab, hindi):
    open_files(qtbot, tab, hindi)
    swap(qtbot, tab)
    assert first(tab) == ["तहसील में, काउंटर 1।", "राशन कार्ड 1?"]
    assert text(tab, "rows_place") == "row 1 of 30" and "Read as you chose." in text(tab, "reading_summary")
    assert tab.workspace().entry.dataset.line == SWAPPED
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
    assert "haven't changed yet" in card.error.error.remedy and tab.banner.error is None
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


def test_what_is_being_chosen_outlasts_another_language(qtbot, tab, new_tab, hindi):
    """As a window in another language does."""
    open_files(qtbot, tab, hindi)
    press(qtbot, tab, "reading_change")
    pick(tab.workspace().reading.panel, "layout", "preference")
    new = new_tab()
    with qtbot.waitSignal(new.idle):
        new.restore_state(tab.save_state())
    card = new.workspace().reading
    assert card.panel.isVisible() and card.panel.mapping() == {"prompt": "प्रश्न", "chosen": "उत्तर"}
    assert text(new, "reading_hint") == "Choose a column for: Worse answer"
    pick_and_read(qtbot, new, "rejected", "श्रेणी")
    assert new.workspace().entry.dataset.layout == "preference"


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
    assert tab.workspace().entry.dataset.line is None and tab.banner.error is None


def test_the_sheet_and_how_a_text_is_cut(qtbot, tab, hindi, tmp_path):
    story = tmp_path / "story.txt"
    story.write_text("Once upon\na time.\n\nThe end.\n", encoding="utf-8")
    open_files(qtbot, tab, hindi, story)
    panel = tab.workspace().reading.panel
    press(qtbot, tab, "reading_change")
    assert not panel.targets and not panel.layout_cell.isVisible() and not panel.options["sheet"].isVisible()
    pick_and_read(qtbot, tab, "text_by", "line")
    assert [record.text for record in tab.workspace().entry.dataset.records] == ["Once upon", "a time.", "The end."]
    tab.workspace().list.setCurrentRow(0)
    pick_and_read(qtbot, tab, "sheet", "पुराना")
    assert first(tab) == ["Who?", "She."] and panel.mapping() == {"instruction": "question", "output": "answer"}
    assert tab.workspace().entry.dataset.line == "sheet=पुराना"


def test_columns_that_are_not_used_are_named_and_the_data_can_be_used(qtbot, tab, session, tmp_path):
    file = tmp_path / "weighted.csv"
    rows = "Who?,She.,2,train\nWho?,He.,2,test\n" * 2
    file.write_text(f"question,answer,loss_weight,split\n{rows}", encoding="utf-8")
    open_files(qtbot, tab, file)
    assert text(tab, "reading_words").endswith(": split") and "loss_weight" in text(tab, "reading_summary")
    press(qtbot, tab, "data_use")
    assert session.dataset is tab.workspace().entry.dataset


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
    problem = page.desk.problems.problems.problems[1]
    assert (problem.file, problem.line, problem.lines) == ("b.jsonl", 3, (3, 4, 5, 6))
    assert page.desk.problems.problems.index(1, 0).data().startswith("b.jsonl, line 3, column 2: ")
    page.desk.problems.list.doubleClicked.emit(page.desk.problems.problems.index(1, 0))
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
