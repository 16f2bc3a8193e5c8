"""What was open, and what was said of its columns, is there in the next sitting; files that were open are offered."""

from __future__ import annotations

import shutil

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QFileDialog, QToolButton
from support.data_window import HEAD, HINDI, ODD, SWAPPED, choose_evaluation, first, names, open_files, press, swap
from support.window import show_widget, text
from support.workbooks import write_xlsx

from slmstudio.core import paths, settings
from slmstudio.core.data import remembered
from slmstudio.core.data.reader import read_dataset
from slmstudio.core.data.versions.appending import NewRow, append
from slmstudio.gui.app import application as program
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.common.session import Session
from slmstudio.gui.corrections.panel import Answered, CorrectPanel
from slmstudio.gui.data.tab import DataTab


@pytest.fixture
def next_session(session: Session, qapp: QApplication):
    """`next_session()`: what the next start reads."""

    def make(before: Session = session) -> Session:
        before.settings.save()
        loaded, trouble = settings.load()
        assert trouble is None
        return Session(loaded)

    return make


@pytest.fixture
def next_sitting(qtbot, session: Session, next_session, new_tab):
    """`next_sitting()`: the Data tab with what comes back at the next start, and the session that this read."""

    def make(before: Session = session) -> tuple[DataTab, Session]:
        later = next_session(before)
        tab = new_tab(later)
        with qtbot.waitSignal(tab.idle):
            tab.restore()
        return tab, later

    return make


def test_a_choice_is_remembered_for_the_file_and_for_others_like_it(qtbot, next_sitting, new_tab, hindi, tmp_path):
    tab = new_tab()
    open_files(qtbot, tab, hindi)
    swap(qtbot, tab)
    tab.workspace().remove_current()
    open_files(qtbot, tab, hindi)
    assert first(tab)[0] == "तहसील में, काउंटर 1।", "opened again, it is read as before"

    tab, later = next_sitting()
    assert first(tab)[0] == "तहसील में, काउंटर 1।" and remembered.said_of(later.settings.mappings, HEAD) == SWAPPED
    alike = write_xlsx(tmp_path / "b.xlsx", {"s": [(b, c, a) for a, b, c in HINDI]})
    open_files(qtbot, tab, alike)
    assert first(tab)[0] == "तहसील में, काउंटर 1।"
    assert text(tab, "reading_summary").startswith("Read as you chose for files with these columns.")
    with qtbot.waitSignal(tab.idle):
        press(qtbot, tab, "reading_reset")
    assert first(tab)[0] == "राशन कार्ड 1?" and later.settings.mappings == {}
    assert "chose" not in text(tab, "reading_summary")


def test_what_does_not_fit_a_changed_file_any_more_is_said(qtbot, next_sitting, new_tab, odd):
    tab = new_tab()
    open_files(qtbot, tab, odd)
    qtbot.waitUntil(tab.pages.asking.use.isEnabled)
    with qtbot.waitSignal(tab.idle):
        press(qtbot, tab.pages.asking, "question_use")
    odd.write_text("question,answer\nWho?,She.\n", encoding="utf-8")
    tab, _ = next_sitting()
    assert first(tab) == ["Who?", "She."] and "no longer fit the file" in str(tab.banner.error)


def test_what_was_said_of_evaluation_rows_holds_in_the_next_sitting(qtbot, next_sitting, new_tab, session, odd):
    """Their columns tell nothing, and have other names than those that are learned."""
    test, rows = odd.with_name("test.csv"), odd.with_name("rows.csv")
    test.write_text(ODD, encoding="utf-8")
    rows.write_text("question,answer\n" + "Who?,She.\n" * 4, encoding="utf-8")
    tab = new_tab()
    open_files(qtbot, tab, rows)
    choose_evaluation(qtbot, tab, test)
    qtbot.waitUntil(tab.pages.asking.use.isEnabled)
    with qtbot.waitSignal(tab.idle):
        press(qtbot, tab.pages.asking, "question_use")
    assert tab.workspace().entry.eval_dataset.path == test
    session.settings.mappings = {}  # another file with these columns said otherwise since
    tab, _ = next_sitting()
    entry = tab.workspace().entry
    assert entry.eval_dataset.given == {"instruction": "Fld 1", "output": "Fld-2"}
    assert tab.banner.error is None


LEFT = Qt.MouseButton.LeftButton
ROWS = [{"instruction": f"Question {n}", "output": f"Answer {n}"} for n in range(1, 41)]
ASKED = ({"role": "user", "content": "Where is the ward office?"},)
BETTER = "Behind the market."


def recent(tab: DataTab) -> list[str]:
    return [row.name.text() for row in tab.pages.recent.rows]


def said(tab: DataTab) -> str:
    return str(tab.banner.error)


def test_the_datasets_of_a_sitting_are_there_in_the_next(qtbot, next_sitting, new_tab, write_rows):
    a, b, test = write_rows("a.jsonl", ROWS), write_rows("b.jsonl", ROWS[:20]), write_rows("test.jsonl", ROWS[:5])
    tab = new_tab()
    open_files(qtbot, tab, a, b)
    page = tab.workspace()
    page.split.share.setValue(25)
    page.split.seed.setValue(7)
    page.list.setCurrentRow(0)
    with qtbot.waitSignal(tab.idle):
        page.split.own.setChecked(True)
        dialog = tab.findChild(QFileDialog)
        dialog.fileSelected.emit(str(test))
        dialog.accept()
    qtbot.mouseClick(page.use, LEFT)
    page.list.setCurrentRow(1)

    tab, later = next_sitting()
    first, second = tab.workspace().entries
    assert (first.dataset.path, second.dataset.path) == (a, b)
    assert first.eval_dataset.path == test and len(first.eval_dataset.records) == 5
    assert (second.eval_dataset, second.eval_fraction, second.split_seed) == (None, 0.25, 7)
    assert tab.workspace().entry is second, "the one that was looked at"
    assert later.dataset is first.dataset and later.eval_dataset is first.eval_dataset and "data" in later.done
    assert (tab.workspace().split.share.value(), tab.workspace().split.seed.value()) == (25, 7)
    assert tab.banner.error is None


def test_what_is_taken_off_the_list_stays_off_and_is_offered_with_its_choices(qtbot, next_sitting, new_tab, write_rows):
    tab = new_tab()
    open_files(qtbot, tab, write_rows("a.jsonl", ROWS), write_rows("b.jsonl", ROWS))
    tab.workspace().split.share.setValue(20)
    tab.workspace().remove_current()
    tab, _ = next_sitting()
    assert names(tab) == ["a"]
    button = tab.findChild(QToolButton, "data_recent")
    qtbot.mouseClick(button, LEFT)
    offered = [action for action in button.files.actions() if not action.isSeparator() and action.menu() is None]
    assert [action.text() for action in offered] == ["b.jsonl"]
    with qtbot.waitSignal(tab.idle):
        offered[0].trigger()
    button.files.close()
    assert names(tab) == ["a", "b"] and tab.workspace().entry.eval_fraction == 0.2
    assert not button.isVisible(), "nothing else was open"


def test_a_missing_file_is_said_and_nothing_else_is_lost(qtbot, next_sitting, new_tab, write_rows, tmp_path):
    gone, changed = write_rows("gone.jsonl", ROWS), write_rows("changed.jsonl", ROWS)
    disk = tmp_path / "usb"
    disk.mkdir()
    on_disk = disk / "stick.jsonl"
    shutil.copy(gone, on_disk)
    tab = new_tab()
    open_files(qtbot, tab, gone, on_disk, changed)
    tab.workspace().list.setCurrentRow(1)
    qtbot.mouseClick(tab.workspace().use, LEFT)
    gone.unlink()
    disk.rename(tmp_path / "unplugged")
    write_rows("changed.jsonl", ROWS[:3])

    tab, second = next_sitting()
    assert names(tab) == ["changed"] and tab.workspace().entry.dataset.name == "changed"
    assert f"gone.jsonl is no longer in {tmp_path}. It was moved, renamed or deleted." in said(tab)
    assert "stick.jsonl can't be reached." in said(tab) and "unplugged" in said(tab)
    assert "changed.jsonl has changed since it was last open. It has 3 rows now." in said(tab)
    assert tab.banner.property("banner") == "warn"

    (tmp_path / "unplugged").rename(disk)
    tab, third = next_sitting(second)
    assert names(tab) == ["changed", "stick"], "its disk is back; what was deleted is not asked for again"
    assert third.dataset.path == on_disk and tab.banner.error is None


def test_missing_recent_files_are_grey_say_why_and_can_be_removed(qtbot, new_tab, next_session, write_rows):
    here, gone = write_rows("here.jsonl", ROWS), write_rows("gone.jsonl", ROWS)
    tab = new_tab()
    open_files(qtbot, tab, here, gone)
    tab.workspace().remove_current()
    tab.workspace().remove_current()
    gone.unlink()
    later = next_session()
    tab = new_tab(later)
    qtbot.waitUntil(lambda: gone in tab.memory.missing)
    assert sorted(recent(tab)) == ["gone.jsonl", "here.jsonl"]
    rows = {row.name.text(): row for row in tab.pages.recent.rows}
    assert rows["here.jsonl"].name.isEnabled() and rows["here.jsonl"].where.text() == str(here.parent)
    assert not rows["gone.jsonl"].name.isEnabled()
    assert rows["gone.jsonl"].where.text() == "Moved, renamed or deleted"
    with qtbot.waitSignal(tab.idle):
        qtbot.mouseClick(rows["gone.jsonl"].button, LEFT)
    assert "no longer in" in said(tab)
    remove = next(row for row in tab.pages.recent.rows if row.name.text() == "gone.jsonl").findChild(QToolButton)
    qtbot.mouseClick(remove, LEFT)
    assert recent(tab) == ["here.jsonl"]
    with qtbot.waitSignal(tab.idle):
        qtbot.mouseClick(tab.pages.recent.rows[0].button, LEFT)
    assert names(tab) == ["here"]
    assert [each.path for each in remembered.read_all(later.settings.datasets)] == [here]


def test_a_lost_evaluation_file_is_said_and_kept_for_later(qtbot, next_sitting, new_tab, write_rows, tmp_path):
    rows, test = write_rows("rows.jsonl", ROWS), write_rows("test.jsonl", ROWS[:4])
    tab = new_tab()
    open_files(qtbot, tab, rows)
    tab.workspace().set_eval_dataset(tab.workspace().entry, read_dataset(test))
    moved = test.rename(tmp_path / "elsewhere.jsonl")
    tab, second = next_sitting()
    assert "The evaluation rows for rows.jsonl couldn't be opened" in said(tab)
    assert "test.jsonl is no longer" in said(tab)
    assert tab.workspace().entry.eval_dataset is None
    moved.rename(test)
    tab, _ = next_sitting(second)
    assert tab.workspace().entry.eval_dataset.path == test and tab.banner.error is None


def test_closing_while_datasets_come_back_forgets_none(qtbot, new_tab, next_session, write_rows):
    tab = new_tab()
    open_files(qtbot, tab, *(write_rows(f"{name}.jsonl", ROWS) for name in "abc"))
    second = next_session()
    tab = new_tab(second)
    tab.restore()
    qtbot.waitUntil(lambda: len(tab.workspace().entries) >= 1)
    kept = [each.path.stem for each in remembered.read_all(second.settings.datasets) if each.open]
    assert sorted(kept) == ["a", "b", "c"]
    qtbot.waitUntil(lambda: tab.queue.reading is None)


def test_the_window_paints_first_and_the_data_comes_back_behind_another_tab(qtbot, qapp, session, next_session, new_tab,
                                                                            write_rows):
    tab = new_tab()
    open_files(qtbot, tab, write_rows("rows.jsonl", ROWS))
    qtbot.mouseClick(tab.workspace().use, LEFT)
    session.settings.last_tab, session.settings.welcomed = "training", True
    later = next_session()
    window = MainWindow(later)
    qtbot.addWidget(window)
    window.painted.connect(lambda: program._open_last(window, []))
    with qtbot.waitSignal(window.painted):
        window.show()
    assert later.dataset is None, "nothing is read before the first paint"
    qtbot.waitUntil(lambda: later.dataset is not None and later.dataset.name == "rows")
    qtbot.waitUntil(lambda: window.page("training").isVisible())
    saved = settings.load()[0]
    assert [each.used for each in remembered.read_all(saved.datasets)] == [True]


# -- corrections ---------------------------------------------------------------------------------------------


def correct(qtbot, panel: CorrectPanel) -> None:
    panel.open(Answered(ASKED, "I don't know.", ()), test=False)
    assert not panel.open_data.isVisible()
    panel.answer.setPlainText(BETTER)
    with qtbot.waitSignal(panel.stored):
        qtbot.mouseClick(panel.add, LEFT)


@pytest.fixture
def panel(qtbot, session: Session) -> CorrectPanel:
    return show_widget(qtbot, CorrectPanel(session), 760, 320)


def test_a_correction_appears_among_the_recent_files(qtbot, session, panel, new_tab):
    correct(qtbot, panel)
    tab = new_tab()
    qtbot.waitUntil(lambda: recent(tab) == ["corrections.jsonl"])
    qtbot.mouseClick(panel.undo, LEFT)
    qtbot.waitUntil(lambda: panel.note.text() == "Undone.")
    assert recent(tab) == [], "there is no such file any more"


def test_a_correction_leads_to_its_row_in_data(qtbot, session, panel, new_tab):
    file = paths.datasets_dir() / "corrections.jsonl"
    for number in range(5):
        append(file, NewRow(({"role": "user", "content": f"Q{number}"}, {"role": "assistant", "content": "A"})))
    tab = new_tab()
    correct(qtbot, panel)
    assert panel.note.text() == "corrections.jsonl now has 6 rows"
    with qtbot.waitSignal(tab.idle):
        qtbot.mouseClick(panel.open_data, LEFT)
    page = tab.workspace()
    assert page.entry.dataset.path == file and page.rows.place.text() == "row 6 of 6"
    assert page.rows.place.toolTip() == "line 6 of the file"


def test_an_open_dataset_gets_the_corrected_row_at_once(qtbot, session, panel, new_tab, write_rows):
    """It is in use, too, so the plan of the next run counts the new row."""
    file, other = write_rows("mine.jsonl", ROWS), write_rows("other.jsonl", ROWS)
    panel.row_file.set_path(file)
    tab = new_tab()
    open_files(qtbot, tab, file)
    qtbot.mouseClick(tab.workspace().use, LEFT)
    open_files(qtbot, tab, other)
    with qtbot.waitSignal(tab.idle):
        session.settings.correction_file = str(file)
        correct(qtbot, panel)
    mine, shown = tab.workspace().entries
    assert len(mine.dataset.records) == 41 and mine.dataset.records[-1].messages[-1]["content"] == BETTER
    assert session.dataset is mine.dataset
    assert tab.workspace().entry is shown, "what is looked at stays"
    with qtbot.waitSignal(tab.idle):
        qtbot.mouseClick(panel.undo, LEFT)
    assert len(mine.dataset.records) == 40 and session.dataset is mine.dataset


def test_a_file_that_is_gone_with_its_only_row_leaves_the_list(qtbot, session, panel, new_tab):
    tab = new_tab()
    correct(qtbot, panel)
    with qtbot.waitSignal(tab.idle):
        qtbot.mouseClick(panel.open_data, LEFT)
    assert names(tab) == ["corrections"]
    with qtbot.waitSignal(tab.idle):
        qtbot.mouseClick(panel.undo, LEFT)
    assert names(tab) == [] and tab.banner.error is None and tab.pages.recent.rows == []
