"""Scores and answers of evaluated runs in the Results tab, driven as a person would."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path

import evaluated_runs
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QPushButton

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import item_tags
from slmstudio.core.run import folder, notes
from slmstudio.core.run.config import RunConfig
from slmstudio.core.settings import Settings
from slmstudio.core.settings import load as load_settings
from slmstudio.gui import tasks
from slmstudio.gui.evaluation_votes import VoteDialog
from slmstudio.gui.results_columns import STANDARD
from slmstudio.gui.results_tab import ResultsTab
from slmstudio.gui.run_details import SCORES


@pytest.fixture
def make_run(studio_home, tiny_model):
    """`make_run("name")`: the folder of a run that has ended, without the work."""

    def make(name: str, **fields) -> Path:
        job = folder.create(RunConfig(name=name, model=str(tiny_model), train_file="rows.jsonl", **fields))
        for number, loss in enumerate((2.0, 1.5, 1.2)):
            files.append_line(job.folder / jobs.EVENTS, {"protocol": 1, "time": 100.0 + number, "type": "eval",
                                                         "global_step": 20 * number, "eval_loss": loss})
        (job.folder / "adapter").mkdir()
        jobs.write_outcome(job.folder, jobs.Outcome("finished", result={"eval_loss_after": 1.2}))
        return job.folder

    return make


@pytest.fixture
def tab(qtbot, session, studio_home):
    made = ResultsTab(session)
    qtbot.addWidget(made)
    made.resize(1280, 640)
    return made


def show(qtbot, tab, runs: int) -> None:
    tab.show()
    tab.refresh()
    qtbot.waitUntil(lambda: len(tab.table.runs.facts) == runs and tab._loading is None and (
        tab.details._run is not None), timeout=10_000)


def press(qtbot, widget, name: str) -> None:
    qtbot.mouseClick(widget.findChild(QPushButton, name), Qt.MouseButton.LeftButton)


def names(tab) -> list[str]:
    return [run.config.name for run in tab.table.runs.runs]


def search(qtbot, tab, line: str) -> None:
    tab.bar.search.setFocus()
    tab.bar.search.clear()
    qtbot.keyClicks(tab.bar.search, line)
    qtbot.keyClick(tab.bar.search, Qt.Key.Key_Return)


# -- the table ---------------------------------------------------------------------------------------------------


def test_runs_are_found_by_their_fields_notes_and_scores(qtbot, tab, make_run):
    evaluated_runs.write(make_run("small", lora_rank=4))
    big = make_run("big", lora_rank=32)
    notes.write(big, notes.Notes("for the Pune office", ("best",)))
    show(qtbot, tab, 2)
    for line, found in (("rank>8", ["big"]), ("PUNE", ["big"]), ("tag=best", ["big"]), ("chrf>20", ["small"]),
                        ("", ["big", "small"]), ("loss=1.2", ["big", "small"]), ("rank=5", [])):
        search(qtbot, tab, line)
        assert names(tab) == found, line
    assert tab.bar.note.text() == "No run is like this."
    search(qtbot, tab, "nosuch>5")
    assert "nosuch" in tab.bar.note.text()


def test_selection_sort_and_filter_outlast_a_refresh_and_a_restart(qtbot, tab, make_run, session):
    for number, name in enumerate(("a", "b", "c")):
        make_run(name, lora_rank=2 ** (number + 2))
    show(qtbot, tab, 3)
    tab.table.set_columns([*STANDARD, "lora_rank"])
    tab.bar._choose_columns([*STANDARD, "lora_rank"])
    tab.table.sortByColumn(tab.table.runs.columns.index("lora_rank"), Qt.SortOrder.AscendingOrder)
    search(qtbot, tab, "rank<10")
    tab.table.select({tab.table.runs.shown[0].folder})
    assert names(tab) == ["a", "b"] and tab.table.selected()[0].config.name == "a"
    make_run("d", lora_rank=2)
    tab.refresh()
    qtbot.waitUntil(lambda: names(tab) == ["d", "a", "b"], timeout=5000)
    assert [run.config.name for run in tab.table.selected()] == ["a"]
    kept, trouble = load_settings()
    assert trouble is None
    session.settings = Settings.from_dict(kept.to_dict())
    again = ResultsTab(session)
    qtbot.addWidget(again)
    show(qtbot, again, 4)
    assert names(again) == ["d", "a", "b"] and again.table.runs.columns[-1] == "lora_rank"
    assert again.bar.search.text() == "rank<10"
    assert again.table.horizontalHeader().sortIndicatorSection() == again.table.runs.columns.index("lora_rank")


def test_table_and_details_never_tell_of_different_runs(qtbot, tab, make_run, monkeypatch):
    """After sorting, filtering and a refresh, at once, and though the curves of a run cannot be read."""
    for number, name in enumerate(("a", "b", "c")):
        make_run(name, lora_rank=2 ** (number + 2))
    show(qtbot, tab, 3)

    def same(name: str) -> bool:
        return [run.config.name for run in tab.table.selected()] == [name] and tab.details.title.text() == name

    assert same("c")
    tab.table.selectRow(names(tab).index("a"))
    assert same("a"), "before anything of it is read"
    tab.table.set_columns([*STANDARD, "lora_rank"])
    for order_ in (Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder):
        tab.table.sortByColumn(len(STANDARD), order_)
        assert same("a")
    search(qtbot, tab, "rank>4")
    assert same("c"), "the chosen one is hidden: the newest that is left"
    search(qtbot, tab, "rank>99")
    assert tab.table.selected() == [] and not tab.details.isEnabled()
    search(qtbot, tab, "")
    qtbot.waitUntil(lambda: same("c") and tab.details.isEnabled() and tab._loading is None, timeout=60_000)
    make_run("d")
    tab.refresh()
    qtbot.waitUntil(lambda: "d" in names(tab), timeout=60_000)
    assert same("c"), "a new run does not take the place of the chosen one"

    def unreadable(run: object) -> None:
        raise UserError("The exports cannot be read.", "", "")

    monkeypatch.setattr("slmstudio.gui.results_tab.read_exports", unreadable)
    tab.table.selectRow(names(tab).index("b"))
    qtbot.waitUntil(tab.banner.isVisible, timeout=60_000)
    assert same("b")


def test_any_field_becomes_a_column_and_runs_without_it_come_last(qtbot, tab, make_run):
    evaluated_runs.write(make_run("scored"))
    make_run("bare")
    show(qtbot, tab, 2)
    tab.bar._offer_columns()
    chooser = tab.bar.chooser
    chooser.search.setText("split_seed")
    (item,) = [chooser.list.item(row) for row in range(chooser.list.count()) if not chooser.list.item(row).isHidden()]
    item.setCheckState(Qt.CheckState.Checked)
    chooser.hide()
    assert "split_seed" in tab.table.runs.columns
    column = tab.table.runs.columns.index("tuned.chrf")
    for order in (Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder):
        tab.table.sortByColumn(column, order)
        assert names(tab) == ["scored", "bare"]
    assert tab.table.runs.index(1, column).data() == "—"


def test_the_table_is_saved_as_it_is_shown(qtbot, tab, make_run, tmp_path):
    make_run("=cmd|' /C calc'!A0")
    make_run("हेल्पडेस्क")
    show(qtbot, tab, 2)
    from slmstudio.gui.results_save import write_csv

    write_csv(tmp_path / "runs.csv", tab.table.runs.as_table())
    with open(tmp_path / "runs.csv", encoding="utf-8-sig", newline="") as file:
        head, *rows = list(csv.reader(file))
    assert head[0] == "Run" and [row[0] for row in rows] == ["हेल्पडेस्क", "'=cmd|' /C calc'!A0"]
    assert rows[0][2] == "1.2"


def test_notes_and_tags_are_kept_as_one_goes_elsewhere(qtbot, tab, make_run):
    run = make_run("helpdesk")
    show(qtbot, tab, 1)
    editor = tab.details.notes
    qtbot.keyClicks(editor.tags, "best, for the demo,BEST")
    qtbot.keyClick(editor.tags, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: notes.read(run).tags == ("best", "for the demo"), timeout=5000)
    editor.text.setPlainText("Besser als alles zuvor.")
    editor.save()
    qtbot.waitUntil(lambda: notes.read(run).text == "Besser als alles zuvor.", timeout=5000)
    qtbot.waitUntil(lambda: "best" in str(tab.table.runs.index(0, 0).data(tab_detail())), timeout=5000)
    assert tab.bar.tags.isVisible()
    tab.bar._show_tag("for the demo")
    assert names(tab) == ["helpdesk"]


def tab_detail() -> int:
    from slmstudio.gui.table_cells import DETAIL

    return DETAIL


def test_any_number_of_runs_is_compared(qtbot, tab, make_run, tmp_path):
    for number in range(12):
        run = make_run(f"run {number}", lora_rank=number + 1)
        if number < 2:
            evaluated_runs.write(run)
    show(qtbot, tab, 12)
    tab.table.selectAll()
    compare = tab.compare
    qtbot.waitUntil(lambda: compare.isVisible() and len(compare._runs) == 12, timeout=10_000)
    assert len([name for name in compare.curves.plot._curves if name.endswith("eval")]) == 12
    compare.curves.which.set_current(1)
    assert len(compare.curves.plot._curves) == 12
    compare.tabs.set_current(1)
    assert [row[0].text for row in compare.settings.figures.rows] == ["Rank"]
    compare.tabs.set_current(2)
    chrf = next(row for row in compare.scores.figures.rows if row[0].text == "chrF++")
    assert len(chrf) == 13 and sum(cell.text != "—" for cell in chrf[1:]) == 2
    assert "10 of them were not evaluated" in compare.hint.text()
    for name in ("losses.png", "losses.svg"):
        compare.save_picture(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 5000
    assert (tmp_path / "losses.svg").read_text().count("<path") > 5, "drawn, not a picture in an SVG"


def test_scores_on_other_rows_are_not_compared_in_silence(qtbot, tab, make_run):
    evaluated_runs.write(make_run("one"), count=20)
    evaluated_runs.write(make_run("two"), count=22)
    show(qtbot, tab, 2)
    tab.table.selectAll()
    qtbot.waitUntil(lambda: len(tab.compare._runs) == 2, timeout=5000)
    tab.compare.tabs.set_current(SCORES + 1)
    assert "do not compare" in tab.compare.hint.text()


# -- scores ------------------------------------------------------------------------------------------------------


def test_the_verdict_comes_first_and_then_the_figures(qtbot, tab, make_run, tmp_path):
    run = make_run("helpdesk")
    evaluated_runs.write(run, count=60, models=("base", "tuned", "Q4_K_M"))
    show(qtbot, tab, 1)
    details = tab.details
    assert details.verdict.text().startswith("Better: ") and "p\xa0<\xa00.001" in details.verdict.text()
    details.tabs.set_current(SCORES)
    scores = details.evaluation.scores
    assert scores.verdict.sentence.text() == details.verdict.text() and scores.verdict.property("banner") == "ok"
    kept = files.read_json(run / "jobs" / "evaluate-1" / "scores.json")
    chrf = scores.table.figures.rows[0]
    want = kept["models"][1]["scores"]["chrf"]
    assert (chrf[0].text, chrf[2].text, chrf[2].detail) == (
        "chrF++", f"▲ {want['value']:.1f}", f"{want['low']:.1f}–{want['high']:.1f}")
    scores.groups.set_current(2)
    assert [row[0].text for row in scores.table.figures.rows] == ["en", "hi"]
    assert scores.table.figures.rows[1][2].text.startswith("▲ ") and scores.table.figures.rows[1][2].detail
    assert scores.group_verdicts.text().count("Better: ") == 2, "a verdict for each language"
    scores.groups.set_current(1)
    assert [row[0].text for row in scores.table.figures.rows] == ["forms", "places"]
    scores.save_table(tmp_path / "scores.csv")
    qtbot.waitUntil((tmp_path / "scores.csv").exists, timeout=5000)


def test_a_run_that_was_not_evaluated_says_what_to_do(qtbot, tab, make_run):
    make_run("helpdesk")
    show(qtbot, tab, 1)
    tab.details.tabs.set_current(SCORES)
    assert tab.details.evaluation.scores.empty.isVisible() and tab.details.evaluate_button.isEnabled()
    assert tab.details.verdict.isHidden()


def test_an_evaluation_that_was_ended_says_so(qtbot, tab, make_run):
    evaluated_runs.write(make_run("helpdesk"), finished=False)
    show(qtbot, tab, 1)
    tab.details.tabs.set_current(SCORES)
    scores = tab.details.evaluation.scores
    assert scores.cut_off.isVisible() and scores.resume.isVisible() and not scores.verdict.isVisible()


def test_scores_that_cannot_be_read_hide_nothing_else(qtbot, tab, make_run):
    run = make_run("helpdesk")
    job = evaluated_runs.write(run)
    (job.folder / "scores.json").write_text('{"models": 7}')
    show(qtbot, tab, 1)
    scores = tab.details.evaluation.scores
    assert names(tab) == ["helpdesk"] and scores.cut_off.isVisibleTo(scores)


# -- rows --------------------------------------------------------------------------------------------------------


@pytest.fixture
def answers(qtbot, tab, make_run):
    """The answers of an evaluated run, open in the tab."""
    run = make_run("helpdesk")
    evaluated_runs.write(run, count=24)
    show(qtbot, tab, 1)
    tab.details.tabs.set_current(SCORES)
    press(qtbot, tab, "rows_gain")
    qtbot.waitUntil(lambda: len(tab.rows.table.rows.shown) == 24, timeout=10_000)
    return run


def column(tab, number: int) -> list[str]:
    model = tab.rows.table.rows
    return [model.index(row, number).data() for row in range(model.rowCount())]


def order(qtbot, tab, place: int) -> None:
    before = list(tab.rows.table.rows.shown)
    tab.rows.filters.order.setCurrentIndex(place)
    tab.rows.apply()
    qtbot.waitUntil(lambda: tab.rows._task is None and tab.rows.table.rows.shown != before, timeout=5000)


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
    qtbot.waitUntil(lambda: len(rows.table.rows.shown) == 12, timeout=5000)
    rows.filters.search.setText("PUNE")
    qtbot.waitUntil(lambda: len(rows.table.rows.shown) == 4, timeout=5000)
    assert "4 of 24" in rows.count.text()
    rows.filters.search.setText("nothing like it")
    qtbot.waitUntil(lambda: rows._pages.currentIndex() == 1, timeout=5000)
    assert rows._empty.isVisible()


def test_the_words_that_differ_are_marked(qtbot, tab, answers):
    order(qtbot, tab, 4)
    tab.rows.table.selectRow(1)
    detail = tab.rows.detail
    qtbot.waitUntil(lambda: "window 10" in detail.second.text.toPlainText(), timeout=5000)
    html = detail.second.text.toHtml()
    assert 'underline' in html and html.count("text-decoration: underline") >= 1
    assert "underline" in detail.reference.text.toHtml() and detail.second.chip.text().startswith("chrF++ ")
    assert detail.question.toPlainText() == "Where do I get form 1 in Nashik?"


def test_correct_this_feeds_the_next_dataset(qtbot, tab, answers, studio_home):
    order(qtbot, tab, 1)
    row = tab.rows.current()
    press(qtbot, tab.rows, "row_correct")
    panel = tab.rows.correct
    assert panel.isVisible() and panel.answer.toPlainText() == row.references[0]
    panel.as_pair.setChecked(True)
    press(qtbot, tab.rows, "correct_add")
    made = studio_home / "datasets" / "corrections.jsonl"
    qtbot.waitUntil(lambda: made.exists() and panel.undo.isVisible(), timeout=5000)
    learned = json.loads(made.read_text("utf-8"))
    assert learned["messages"][-1]["content"] == row.references[0]
    pair = json.loads((studio_home / "datasets" / "preferences.jsonl").read_text("utf-8"))
    assert row.answers["tuned"] in json.dumps(pair, ensure_ascii=False)
    qtbot.keyClick(panel, Qt.Key.Key_Escape)
    assert not panel.isVisible() and tab.rows.isVisible()


def test_a_row_becomes_a_test(qtbot, tab, answers, studio_home):
    press(qtbot, tab.rows, "row_test")
    assert tab.rows.correct.category.text() == tab.rows.current().category
    press(qtbot, tab.rows, "correct_add")
    made = studio_home / "datasets" / "tests.jsonl"
    qtbot.waitUntil(made.exists, timeout=5000)
    assert json.loads(made.read_text("utf-8"))["category"] == tab.rows.current().category


def test_a_category_is_changed_in_the_evaluation_and_in_the_test_file(qtbot, tab, answers):
    line = tab.rows.current().line
    field = tab.rows.detail.category
    field.setText("certificates")
    field.editingFinished.emit()
    qtbot.waitUntil(lambda: "test file" in tab.rows.count.text(), timeout=10_000)
    assert tab.rows.current().category == "certificates", "the row stays chosen"
    scores = files.read_json(answers / "jobs" / "evaluate-1" / "scores.json")
    assert "certificates" in scores["models"][1]["by_category"]
    kept = json.loads((answers / "tests.jsonl").read_text("utf-8").splitlines()[line - 1])
    assert kept["category"] == "certificates"


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
    qtbot.waitUntil(lambda: "Reference corrected" in rows.count.text() and rows.undo.isVisible(), timeout=60_000)
    assert rows.current().references == ["Please ask at window 3.", "Window 3."], "the row stays chosen"
    assert column(tab, 3)[2] != score and b"Window 3." in file.read_bytes()
    qtbot.mouseClick(rows.detail.remove, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(rows.table.rows.shown) == 23 and "removed" in rows.count.text(), timeout=60_000)
    assert rows.current().id == 3 and rows.current().line == 3, "the next row, on its line in the file now"
    press(qtbot, rows, "rows_undo")
    qtbot.waitUntil(lambda: len(rows.table.rows.shown) == 24, timeout=60_000)
    assert rows.current().id == 2, "it is looked at again"
    qtbot.waitUntil(rows.edits.can_undo, timeout=60_000)
    press(qtbot, rows, "rows_undo")
    qtbot.waitUntil(lambda: column(tab, 3)[2] == score, timeout=60_000)
    assert file.read_bytes() == before and rows.undo.isHidden()


def test_what_cannot_be_changed_is_said_and_esc_leaves_the_reference(qtbot, tab, answers):
    rows = tab.rows
    (answers / "tests.jsonl").write_bytes(b'{"instruction": "Something else?", "output": "Yes."}\n' * 24)
    qtbot.mouseClick(rows.detail.remove, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(rows.banner.isVisible, timeout=60_000)
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
    press(qtbot, tab, "rows_worst")
    strip = tab.rows.strip
    qtbot.waitUntil(lambda: strip.isVisible() and strip.bar.value() == 300, timeout=60_000)
    qtbot.mouseClick(strip.cancel, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: tab.details.isVisible(), timeout=60_000)
    assert tasks.shut_down(60_000), "the work has ended too"


def test_a_hundred_thousand_rows_are_shown_at_once(qtbot, tab, answers):
    """What is drawn is asked of the model; nothing is made for each row."""
    table, rows = tab.rows.table, tab.rows._rows
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
    qtbot.waitUntil((tmp_path / "answers.csv").exists, timeout=5000)
    with open(tmp_path / "answers.csv", encoding="utf-8-sig", newline="") as file:
        head, *rows = list(csv.reader(file))
    assert head[:5] == ["line", "category", "language", "question", "reference"] and len(rows) == 24
    assert rows[0][head.index("tuned answer")] == tab.rows.table.rows.row_at(0).answers["tuned"]


def test_votes_are_blind_kept_and_said_on_the_page(qtbot, tab, answers):
    press(qtbot, tab.rows, "rows_vote")
    dialog = tab.rows.findChild(VoteDialog)
    qtbot.waitUntil(lambda: dialog.buttons["left"].isEnabled(), timeout=60_000)
    text = " ".join(label.text() for label in dialog.findChildren(QLabel)) + dialog.windowTitle()
    assert "uned" not in text and "ase" not in text.replace("Please", ""), "nobody is told whose they are"
    asked = len(dialog._left)
    for _ in range(asked):
        shown = dialog._left[0].shown
        dialog.vote("left" if shown[0] == "tuned" else "right")
    assert not dialog.buttons["left"].isEnabled()
    qtbot.waitUntil(lambda: "tuned is better" in dialog.result.text(), timeout=60_000)
    dialog.close()
    assert len((answers / "jobs" / "evaluate-1" / "own-votes.jsonl").read_text("utf-8").splitlines()) == asked
    press(qtbot, tab.rows, "rows_back")
    scores = tab.details.evaluation.scores
    qtbot.waitUntil(lambda: "In your own blind votes tuned is better" in scores.remarks.text(), timeout=60_000)


def test_escape_leads_back_to_the_runs(qtbot, tab, answers):
    tab.rows.table.setFocus()
    qtbot.keyClick(tab.rows.table, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: tab.details.isVisible(), timeout=5000)
    assert not tab.rows._rows, "rows are let go of"


def test_answers_that_are_gone_are_said(qtbot, tab, make_run):
    run = make_run("helpdesk")
    job = evaluated_runs.write(run)
    show(qtbot, tab, 1)
    (job.folder / "items.jsonl").unlink()
    tab.details.tabs.set_current(SCORES)
    press(qtbot, tab, "rows_worst")
    qtbot.waitUntil(tab.rows.banner.isVisible, timeout=5000)
    press(qtbot, tab.rows, "rows_back")
    assert tab.details.isVisible()


def test_a_test_file_that_has_changed_is_left_alone(make_run):
    run = make_run("helpdesk")
    job = evaluated_runs.write(run)
    other = b'{"instruction": "Something else?", "output": "Yes."}\n' * 24
    (run / "tests.jsonl").write_bytes(other)
    assert item_tags.set_tags(job.folder, 3, "law", "") is False
    assert (run / "tests.jsonl").read_bytes() == other
    rows = [json.loads(line) for line in (job.folder / "items.jsonl").read_text("utf-8").splitlines()]
    assert (rows[3]["category"], rows[3]["language"], len(rows)) == ("law", None, 24)


def test_every_control_is_explained(qtbot, tab, answers, unexplained):
    press(qtbot, tab.rows, "rows_back")
    tab.details.evaluation.panel.show()
    assert [name for name in unexplained(tab) if "ollama" not in name] == []
