"""The answers of evaluated runs, row by row, driven as a person would."""

from __future__ import annotations

import csv
import json
import os
import time

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel
from support import evaluated_runs
from support.results_window import show
from support.window import press, texts

from slmstudio.core import files, jobs, paths
from slmstudio.core.evaluation import item_edits
from slmstudio.core.evaluation.testset.reader import read_test_set
from slmstudio.core.votes import store
from slmstudio.gui.common import tasks
from slmstudio.gui.common.tasks import is_busy
from slmstudio.gui.evaluation.answers.rows_model import GAINS, ORDERS
from slmstudio.gui.evaluation.answers.votes import VoteDialog
from slmstudio.gui.results.run_details import SCORES


@pytest.fixture
def answers(qtbot, tab, make_run):
    """The answers of an evaluated run, open in the tab."""
    run = make_run("helpdesk")
    evaluated_runs.write(run, count=24)
    show(qtbot, tab, 1)
    tab.details.tabs.set_current(SCORES)
    press(qtbot, tab, "read_all")
    qtbot.waitUntil(lambda: len(tab.rows.table.rows.shown) == 24)
    order(qtbot, tab, ORDERS.index(GAINS))
    return run


def column(tab, number: int) -> list[str]:
    model = tab.rows.table.rows
    return [model.index(row, number).data() for row in range(model.rowCount())]


def order(qtbot, tab, place: int) -> None:
    before = list(tab.rows.table.rows.shown)
    tab.rows.filters.order.setCurrentIndex(place)
    tab.rows.apply()
    qtbot.waitUntil(lambda: not is_busy(tab.rows) and tab.rows.table.rows.shown != before)


def test_rows_are_sorted_by_gain_loss_and_worst(qtbot, tab, answers):
    gains = [float(text.replace("−", "-")) for text in column(tab, 4)]
    assert gains == sorted(gains, reverse=True) and gains[0] > 0 > gains[-1]
    order(qtbot, tab, 1)
    assert [float(text.replace("−", "-")) for text in column(tab, 4)] == sorted(gains)
    order(qtbot, tab, 2)
    tuned = [float(text) for text in column(tab, 3)]
    assert tuned == sorted(tuned)
    order(qtbot, tab, 4)
    assert column(tab, 0) == [str(line) for line in range(1, 25)]


def test_rows_are_filtered_and_none_is_said(qtbot, tab, answers):
    rows = tab.rows
    rows.filters.language.setCurrentIndex(rows.filters.language.findData("hi"))
    rows.filters.language.activated.emit(0)
    qtbot.waitUntil(lambda: len(rows.table.rows.shown) == 12)
    rows.filters.search.setText("PUNE")
    qtbot.waitUntil(lambda: len(rows.table.rows.shown) == 4)
    assert "4 of 24" in rows.count.text()
    rows.filters.search.setText("nothing like it")
    qtbot.waitUntil(lambda: "No row matches" in texts(rows))


def test_the_words_that_differ_are_marked(qtbot, tab, answers):
    order(qtbot, tab, 4)
    tab.rows.table.selectRow(1)
    detail = tab.rows.detail
    qtbot.waitUntil(lambda: "window 10" in detail.second.text.toPlainText())
    html = detail.second.text.toHtml()
    assert 'underline' in html and html.count("text-decoration: underline") >= 1
    assert "underline" in detail.reference.text.toHtml() and detail.second.chip.text().startswith("chrF++ ")
    assert detail.question.toPlainText() == "Where do I get form 1 in Nashik?"
    assert "I do not know" in detail.first.text.toPlainText()
    assert "underline" not in detail.first.text.toHtml(), "where hardly a word is the same, marks say nothing"


def test_correct_this_feeds_the_next_dataset(qtbot, tab, session, answers, studio_home, wanted_pages):
    order(qtbot, tab, 1)
    row = tab.rows.current()
    press(qtbot, tab.rows, "row_correct")
    panel = tab.rows.correct
    assert panel.isVisible() and panel.answer.toPlainText() == row.references[0]
    panel.as_pair.setChecked(True)
    press(qtbot, tab.rows, "correct_add")
    made = studio_home / "datasets" / "corrections.jsonl"
    qtbot.waitUntil(lambda: made.exists() and panel.undo.isVisible())
    learned = json.loads(made.read_text("utf-8"))
    assert learned["messages"][-1]["content"] == row.references[0]
    pair = json.loads((studio_home / "datasets" / "preferences.jsonl").read_text("utf-8"))
    assert row.answers["tuned"] in json.dumps(pair, ensure_ascii=False)
    press(qtbot, tab.rows, "correct_open")
    [(page, _, (opened, line))] = wanted_pages
    assert page == "data" and [file.name for file in opened] == ["preferences.jsonl", "corrections.jsonl"] and line == 1
    qtbot.keyClick(panel, Qt.Key.Key_Escape)
    assert not panel.isVisible() and tab.rows.isVisible()


def test_a_row_becomes_a_test(qtbot, tab, answers, studio_home):
    press(qtbot, tab.rows, "row_test")
    assert tab.rows.correct.category.text() == tab.rows.current().category
    press(qtbot, tab.rows, "correct_add")
    made = studio_home / "datasets" / "tests.jsonl"
    qtbot.waitUntil(made.exists)
    assert json.loads(made.read_text("utf-8"))["category"] == tab.rows.current().category


def test_a_category_is_changed_in_the_evaluation_and_not_in_the_test_file(qtbot, tab, answers):
    asked = (answers / "tests.jsonl").read_bytes()
    field = tab.rows.detail.category
    field.setText("certificates")
    field.editingFinished.emit()
    qtbot.waitUntil(lambda: "Tags saved" in tab.rows.count.text())
    assert tab.rows.current().category == "certificates", "the row stays chosen"
    scores = files.read_json(answers / "jobs" / "evaluate-1" / "scores.json")
    assert "certificates" in scores["models"][1]["by_category"]
    assert (answers / "tests.jsonl").read_bytes() == asked


def test_a_reference_is_corrected_in_its_place_and_a_row_removed_and_both_undone(qtbot, tab, answers):
    rows, file = tab.rows, answers / "tests.jsonl"
    before = file.read_bytes()
    order(qtbot, tab, 4)
    rows.table.selectRow(2)
    score = column(tab, 3)[2]
    qtbot.keyClick(rows.table, Qt.Key.Key_F2)
    pane = rows.detail.reference
    assert pane.is_edited() and not pane.keep.isEnabled(), "nothing is different yet"
    pane.editor.setPlainText("Please ask at window 3.\n---\nWindow 3.")
    press(qtbot, rows, "reference_keep")
    qtbot.waitUntil(lambda: "Reference corrected" in rows.count.text() and rows.undo.isVisible())
    assert rows.current().references == ["Please ask at window 3.", "Window 3."], "the row stays chosen"
    assert column(tab, 3)[2] != score
    qtbot.mouseClick(rows.detail.remove, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(rows.table.rows.shown) == 23 and "removed" in rows.count.text())
    assert rows.current().id == 3 and rows.current().line == 4, "the next row"
    press(qtbot, rows, "rows_undo")
    qtbot.waitUntil(lambda: len(rows.table.rows.shown) == 24)
    assert rows.current().id == 2, "it is looked at again"
    qtbot.waitUntil(rows.edits.can_undo)
    press(qtbot, rows, "rows_undo")
    qtbot.waitUntil(lambda: column(tab, 3)[2] == score)
    assert file.read_bytes() == before and rows.undo.isHidden()


def test_what_cannot_be_changed_is_said_and_esc_leaves_the_reference(qtbot, tab, answers):
    rows = tab.rows
    jobs.write_process_file(answers / "jobs" / "evaluate-1", os.getpid())
    qtbot.mouseClick(rows.detail.remove, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(rows.banner.isVisible)
    assert len(rows.table.rows.shown) == 24 and rows.undo.isHidden() and rows.detail.isEnabled()
    rows.detail.reference.begin()
    qtbot.keyClick(rows.detail.reference.editor, Qt.Key.Key_Escape)
    assert not rows.detail.reference.is_edited() and rows.isVisible()


def test_reading_many_answers_shows_how_far_it_is_and_can_be_cancelled(qtbot, tab, answers, monkeypatch):
    def scored(self, progress, known):
        while True:  # until it is cancelled
            progress(30, 100)
            time.sleep(0.01)

    monkeypatch.setattr("slmstudio.core.evaluation.answer_rows.Rows.scored", scored)
    press(qtbot, tab.rows, "rows_back")
    press(qtbot, tab, "read_all")
    strip = tab.rows.strip
    qtbot.waitUntil(lambda: strip.isVisible() and strip.bar.value() == 300)
    qtbot.mouseClick(strip.cancel, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: tab.details.isVisible())
    assert tasks.shut_down(60_000), "the work has ended too"


def test_a_hundred_thousand_rows_are_shown_at_once(qtbot, tab, answers):
    """What is drawn is asked of the model; nothing is made for each row."""
    table, rows = tab.rows.table, tab.rows.table.rows.rows
    many = [rows[number % len(rows)] for number in range(100_000)]
    table.rows.show_rows(many, list(range(len(many))), tab.rows.filters.view())
    asked: list[int] = []
    data = table.rows.data
    table.rows.data = lambda index, role=0: (asked.append(index.row()), data(index, role))[1]
    table.scrollToBottom()
    table.grab()
    assert table.rows.rowCount() == 100_000 and max(asked) == 99_999 and len(set(asked)) < 200


def test_rows_are_saved_as_they_are_shown(qtbot, tab, answers, tmp_path):
    tab.rows.save_table(tmp_path / "answers.csv")
    qtbot.waitUntil((tmp_path / "answers.csv").exists)
    with open(tmp_path / "answers.csv", encoding="utf-8-sig", newline="") as file:
        head, *rows = list(csv.reader(file))
    assert head[:5] == ["line", "category", "language", "question", "reference"] and len(rows) == 24
    assert rows[0][head.index("tuned answer")] == tab.rows.table.rows.row_at(0).answers["tuned"]


def test_votes_are_blind_kept_and_said_on_the_page(qtbot, tab, answers):
    press(qtbot, tab.rows, "rows_vote")
    dialog = tab.rows.findChild(VoteDialog)
    qtbot.waitUntil(lambda: dialog.buttons["left"].isEnabled())
    text = " ".join(label.text() for label in dialog.findChildren(QLabel)) + dialog.windowTitle()
    assert "uned" not in text and "ase" not in text.replace("Please", ""), "nobody is told whose they are"
    asked = len(dialog.left)
    for _ in range(asked):
        shown = dialog.left[0].shown
        dialog.vote("left" if shown[0] == "tuned" else "right")
        wait_until_kept(qtbot, dialog)
    assert not dialog.buttons["left"].isEnabled()
    qtbot.waitUntil(lambda: "tuned is better" in dialog.result.text())
    dialog.close()
    assert len(store.read()[0]) == asked
    press(qtbot, tab.rows, "rows_back")
    scores = tab.details.evaluation.scores
    qtbot.waitUntil(lambda: "In your own blind votes, tuned is better" in scores.remarks.text())


@pytest.fixture
def dialog(qtbot, tab, answers):
    """The vote, with its first question."""
    press(qtbot, tab.rows, "rows_vote")
    made = tab.rows.findChild(VoteDialog)
    qtbot.waitUntil(lambda: made.buttons["left"].isEnabled())
    return made


def wait_until_kept(qtbot, dialog) -> None:
    qtbot.waitUntil(lambda: not is_busy(dialog))


def kept_votes() -> list[str]:
    """What each line of the votes says: the better model's name, or the verdict."""
    file = paths.votes_file()
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []
    return [line["verdict"] if line["best"] is None else line["names"][line["best"]] for line in lines]


def test_keys_vote_and_the_space_bar_on_a_button_presses_that(qtbot, dialog, answers):
    first = dialog.left[0]
    qtbot.keyClick(dialog.focusWidget(), Qt.Key.Key_Space)
    wait_until_kept(qtbot, dialog)
    assert kept_votes() == ["all good"], "from the start, without a click"
    for button in (dialog.show_result, dialog.undo):
        button.setFocus(Qt.FocusReason.TabFocusReason)
        assert button.hasFocus()
        for key in (Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_S):
            qtbot.keyClick(button, key)
        assert kept_votes() == ["all good"]
    dialog.show_result.setFocus()
    qtbot.keyClick(dialog.show_result, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: "no difference" in dialog.result.text())
    assert kept_votes() == ["all good"]
    dialog.undo.setFocus()
    for _ in range(2):  # once more than there is to take back
        qtbot.keyClick(dialog.undo, Qt.Key.Key_Space)
        wait_until_kept(qtbot, dialog)
    assert kept_votes() == ["all good", "taken back"] and dialog.left[0] == first
    assert dialog.count.text().startswith("0 votes") and dialog.result.text() == ""


def test_a_vote_is_written_off_the_ui_thread_and_one_that_cannot_be_is_still_asked_for(qtbot, dialog, answers):
    first, wrote = dialog.left[0], []
    paths.votes_file().mkdir(parents=True)  # so that it can't be written
    dialog.vote("good")
    dialog.vote("bad")  # which has to wait
    assert is_busy(dialog) and dialog.left[0] == first
    wait_until_kept(qtbot, dialog)
    assert dialog.banner.error is not None and dialog.left[0] == first and dialog.count.text().startswith("0 votes")
    paths.votes_file().rmdir()
    dialog.voted.connect(lambda: wrote.append(kept_votes()))
    dialog.vote("good")
    wait_until_kept(qtbot, dialog)
    assert wrote == [["all good"]] and dialog.left[0] != first


def test_the_last_vote_is_taken_back_and_a_question_that_was_skipped_comes_again(qtbot, dialog, answers):
    first, second, third = dialog.left[:3]
    for key in (Qt.Key.Key_Left, Qt.Key.Key_S):
        qtbot.keyClick(dialog.question, key)
        wait_until_kept(qtbot, dialog)
    assert dialog.left[0] == third and len(kept_votes()) == 1
    for shown in (second, first):
        qtbot.keyClick(dialog.question, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        wait_until_kept(qtbot, dialog)
        assert dialog.left[0] == shown
    assert kept_votes()[1:] == ["taken back"]
    assert first.row.answers[first.shown[0]].strip() in dialog.sides[0].text.toPlainText()
    qtbot.mouseClick(dialog.buttons["good"], Qt.MouseButton.LeftButton)
    wait_until_kept(qtbot, dialog)
    assert kept_votes()[2:] == ["all good"] and dialog.left[0] == second


def test_taking_the_only_vote_back_leaves_the_focus_on_the_button(qtbot, dialog, answers):
    qtbot.keyClick(dialog.question, Qt.Key.Key_Left)
    wait_until_kept(qtbot, dialog)
    dialog.show_result.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.keyClick(dialog.show_result, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    wait_until_kept(qtbot, dialog)
    assert dialog.show_result.hasFocus(), "else the next space bar might vote"
    dialog.question.setFocus()
    qtbot.keyClick(dialog.question, Qt.Key.Key_S)
    assert dialog.show_result.isHidden(), "there is no result"


def test_escape_leads_back_to_the_runs(qtbot, tab, answers):
    tab.rows.table.setFocus()
    qtbot.keyClick(tab.rows.table, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: tab.details.isVisible())
    assert not tab.rows.table.rows.rows, "rows are let go of"


def test_answers_that_are_gone_are_said(qtbot, tab, make_run):
    run = make_run("helpdesk")
    job = evaluated_runs.write(run)
    show(qtbot, tab, 1)
    (job.folder / "items.jsonl").unlink()
    tab.details.tabs.set_current(SCORES)
    press(qtbot, tab, "read_all")
    qtbot.waitUntil(tab.rows.banner.isVisible)
    press(qtbot, tab.rows, "rows_back")
    assert tab.details.isVisible()


def test_corrections_are_saved_as_a_test_set_of_their_own(qtbot, tab, answers, tmp_path):
    asked = (answers / "tests.jsonl").read_bytes()
    item_edits.set_tags(answers / "jobs" / "evaluate-1", 3, "law", "")
    tab.rows.save_test_set(tmp_path / "corrected.jsonl")
    qtbot.waitUntil(lambda: "corrected.jsonl" in tab.rows.count.text())
    items = read_test_set(tmp_path / "corrected.jsonl").items
    assert (items[3].category, len(items)) == ("law", 24)
    assert (answers / "tests.jsonl").read_bytes() == asked


def test_every_control_is_explained(qtbot, tab, answers, unexplained):
    press(qtbot, tab.rows, "rows_back")
    tab.details.evaluation.panel.show()
    assert [name for name in unexplained(tab) if "ollama" not in name] == []
