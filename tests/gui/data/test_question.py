"""A file that doesn't say how it is to be read: it is asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton, QRadioButton
from support.data_window import ODD, choose_evaluation, first, names, open_files, pick, pick_and_read, press
from support.window import text
from support.workbooks import write_xlsx

from slmstudio.core.data import remembered
from slmstudio.core.data.candidates import Candidate
from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.reader import preview
from slmstudio.gui.data.question import QuestionPage
from slmstudio.gui.data.reading import Question, ReadRequest

LOOK = "Ref,Vinanti,Javaab diya,Stage\n" + "".join(
    f"{at},The tap in ward {at} has been dry for days.,The pipe in ward {at} was mended and it runs.,open\n"
    for at in range(40))
LINE = "instruction=Vinanti,output=Javaab diya"
BY_HAND = "question_by_hand"


@pytest.fixture
def look(tmp_path) -> Path:
    file = tmp_path / "look.csv"
    file.write_text(LOOK, encoding="utf-8")
    return file


def shown(page) -> list[str]:
    return [bubble.text.text() for bubble in page.conversation.bubbles]


def by_hand(qtbot, page) -> None:
    press(qtbot, page, BY_HAND, QRadioButton)
    assert page.panel.isVisible()


def choose_columns(qtbot, page, question="Fld 1", answer="Fld-2") -> None:
    by_hand(qtbot, page)
    pick(page, "instruction", question)
    pick(page, "output", answer)


def use(qtbot, tab) -> None:
    page = tab.pages.asking
    qtbot.waitUntil(page.use.isEnabled)
    with qtbot.waitSignal(tab.idle):
        press(qtbot, page, "question_use")


def test_a_newcomer_gets_to_training_with_two_choices(qtbot, tab, session, look, unexplained):
    open_files(qtbot, tab, look)
    page = tab.pages.asking
    assert page.isVisible() and session.dataset is None and tab.banner.error is None
    assert shown(page)[:2] == ["The tap in ward 0 has been dry for days.",
                               "The pipe in ward 0 was mended and it runs."] and len(shown(page)) == 6
    assert page.choices[0].radio.isChecked() and not page.panel.isVisible() and text(tab, "question_unused").endswith(
        ": Stage")
    assert unexplained(page) == []
    use(qtbot, tab)
    press(qtbot, tab, "data_use")
    assert session.dataset.given == {"instruction": "Vinanti", "output": "Javaab diya"} and session.dataset.is_sure
    assert remembered.said_of(session.settings.mappings, session.dataset.columns) == LINE
    other = look.with_name("other.csv")
    other.write_text(LOOK.replace("ward", "zone"), encoding="utf-8")
    open_files(qtbot, tab, other)
    assert names(tab) == ["look", "other"] and not tab.pages.is_asking()


def test_another_way_is_a_click_away_and_shows_its_rows(qtbot, tab, odd):
    open_files(qtbot, tab, odd)
    page = tab.pages.asking
    qtbot.waitUntil(lambda: shown(page)[:2] == ["why 1", "because 1"])
    qtbot.mouseClick(page.choices[1], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: shown(page)[:2] == ["why 1", "as 1"])
    page.choices[1].radio.setFocus()
    qtbot.keyClick(page.choices[1].radio, Qt.Key.Key_Up)
    qtbot.waitUntil(lambda: shown(page)[:2] == ["why 1", "because 1"])
    assert tab.focusWidget() is page.choices[0].radio
    page.mode.set_current(1)
    assert page.table.isVisible() and page.table.rows.rowCount() == 8
    assert page.table.rows.headerData(1, Qt.Orientation.Horizontal) == "Fld-2"


def test_columns_are_chosen_by_hand_and_joined(qtbot, tab, odd):
    open_files(qtbot, tab, odd)
    page = tab.pages.asking
    by_hand(qtbot, page)
    qtbot.waitUntil(lambda: shown(page)[:1] == ["why 1"])
    pick(page, "layout", "messages")
    assert not page.use.isEnabled() and text(page, "question_hint") == "Choose a column for: Conversation"
    pick(page, "messages", "xx")
    qtbot.waitUntil(page.error.isVisible)
    assert not page.use.isEnabled()
    pick(page, "layout", "instruction")
    choose_columns(qtbot, page)
    qtbot.waitUntil(lambda: shown(page)[:2] == ["why 1", "because 1"])
    assert not page.error.isVisible()
    qtbot.mouseClick(page.panel.targets["output"].add, Qt.MouseButton.LeftButton)
    pick(page, "output_2", "xx")
    assert page.chosen() == "instruction=Fld 1,output=Fld-2 + xx"


def test_a_file_may_be_left(qtbot, tab, odd):
    other = odd.with_name("other.csv")
    other.write_text(ODD, encoding="utf-8")
    open_files(qtbot, tab, odd, other)
    press(qtbot, tab, "question_leave")
    assert text(tab, "question_title") == "How should other.csv be read?"
    press(qtbot, tab, "question_leave")
    assert tab.findChild(QPushButton, "data_choose").isVisible()


def test_what_was_chosen_outlasts_another_language(qtbot, tab, new_tab, odd):
    open_files(qtbot, tab, odd)
    page = tab.pages.asking
    by_hand(qtbot, page)
    pick(page, "layout", "preference")
    new = new_tab()
    new.restore_state(tab.save_state())
    page = new.pages.asking
    assert page.isVisible() and page.panel.isVisible() and page.panel.layout_name == "preference"
    assert text(new, "question_hint") == "Choose a column for: Worse answer" and not page.use.isEnabled()
    pick(page, "layout", "instruction")
    choose_columns(qtbot, page)
    use(qtbot, new)
    assert first(new) == ["why 1", "because 1"]


@pytest.fixture
def large(write_rows) -> Path:
    return write_rows("large.jsonl", [{"question": f"Q{n}", "answer": f"A{n}"} for n in range(50_000)])


def test_a_question_that_waits_for_a_large_file_outlasts_another_language(qtbot, tab, new_tab, odd, large):
    with qtbot.waitSignal(tab.queue.was_read):
        tab.open_files([odd, large])
    new = new_tab()
    with qtbot.waitSignal(new.idle):
        new.restore_state(tab.save_state())
    page = new.pages.asking
    assert page.isVisible() and page.choices[0].radio.isChecked()
    assert text(new, "question_title") == "How should odd.csv be read?"


def test_evaluation_rows_are_read_with_the_same_columns(qtbot, tab, odd):
    open_files(qtbot, tab, odd)
    use(qtbot, tab)
    test = odd.with_name("test.csv")
    test.write_text(ODD.replace("xx", "yy"), encoding="utf-8")
    choose_evaluation(qtbot, tab, test)
    entry = tab.workspace().entry
    assert entry.eval_dataset.given == entry.dataset.given == {"instruction": "Fld 1", "output": "Fld-2"}
    pick_and_read(qtbot, tab, "output", "xx")
    assert entry.dataset.given["output"] == "xx" and entry.eval_dataset is None and entry.lost_eval == test
    assert "evaluation rows for odd.csv" in str(tab.banner.error)


def test_another_sheet_and_who_speaks_are_offered(qtbot, session, tmp_path):
    path = write_xlsx(tmp_path / "a.xlsx", {"eins": [["question", "answer"], ["Who?", "She."]],
                                            "zwei": [["question", "answer"], ["Where?", "Here."]]})
    people = Candidate("conversation", options=ReadOptions(user="Asha", assistant="Ravi"), certainty=0.5)
    found = preview(path)
    found = replace(found, candidates=(*found.candidates, Candidate("", options=ReadOptions(sheet="zwei")), people))
    page = QuestionPage()
    qtbot.addWidget(page)
    page.resize(1200, 600)
    page.show()
    page.add(ReadRequest(path), Question(found, ReadOptions()))
    page.show_first()
    assert shown(page) == ["Who?", "She."]
    qtbot.mouseClick(page.choices[1], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: shown(page) == ["Where?", "Here."])
    by_hand(qtbot, page)
    assert page.chosen() == "instruction=question,output=answer,sheet=zwei", "the way that was chosen is filled in"
    options = page.panel.options
    assert {name for name, cell in options.items() if cell.isVisible()} == {"sheet", "header", "user", "assistant"}
    pick(page, "header", "none")
    qtbot.waitUntil(lambda: page.panel.columns_count)
    assert page.chosen().endswith("sheet=zwei,header=none")
    for option, name in (("user", "Ravi"), ("assistant", "Asha")):
        pick(page, option, name)
    assert page.chosen().endswith("header=none,user=Ravi,assistant=Asha")
    with qtbot.waitSignal(page.left) as left:
        press(qtbot, page, "question_leave")
    assert left.args[0].path == path and page.path is None


def test_a_sheet_that_was_chosen_asks_for_its_columns(qtbot, tab, tmp_path):
    texts = [[f"{name} {n} of the ward office" for name in ("Tap", "Pipe", "Drain")] for n in range(9)]
    open_files(qtbot, tab, write_xlsx(tmp_path / "a.xlsx", {
        "2023": [["question", "answer"], ["Who?", "She."]], "2024": [["question", "answer"], ["Where?", "Here."]],
        "Notes": [["Fld 1", "Fld 2", "Fld 3"], *texts]}))
    page = tab.pages.asking
    notes = next(card for card in page.choices if "Notes" in card.radio.accessibleName())
    qtbot.mouseClick(notes, Qt.MouseButton.LeftButton)
    use(qtbot, tab)
    assert page.isVisible() and page.chosen() == "instruction=Fld 1,output=Fld 2,sheet=Notes"
    use(qtbot, tab)
    assert first(tab) == texts[0][:2] and tab.workspace().entry.dataset.is_sure


def test_who_speaks_in_a_text_is_chosen_by_hand(qtbot, tab, tmp_path):
    path = tmp_path / "klinik.txt"
    path.write_text("\n\n".join(f"Rogi: Mujhe {n} din se bukhar hai.\nVaidya: Aaram kijiye, {n} din tak.\n"
                                f"Rogi: Aur goli, {n} din tak?" for n in range(9)))
    open_files(qtbot, tab, path)
    page = tab.pages.asking
    by_hand(qtbot, page)
    qtbot.waitUntil(page.use.isEnabled)
    assert not page.panel.targets and page.panel.options["user"].box.currentData() == "Rogi"
    pick(page, "user", "Vaidya")
    pick(page, "assistant", "Rogi")
    qtbot.waitUntil(lambda: shown(page)[:1] == ["Aaram kijiye, 0 din tak."])


def test_the_text_between_joined_columns_is_chosen(qtbot, tab, odd):
    open_files(qtbot, tab, odd)
    page = tab.pages.asking
    choose_columns(qtbot, page)
    assert not page.panel.options["join"].isVisible()
    qtbot.mouseClick(page.panel.targets["output"].add, Qt.MouseButton.LeftButton)
    pick(page, "output_2", "xx")
    pick(page, "join", "\n")
    assert page.chosen().endswith(r",join=\n")
    use(qtbot, tab)
    assert first(tab)[1] == "because 1\nas 1"
