"""Scores and answers of evaluated runs in the Results tab, driven as a person would."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMenu, QPushButton
from support import evaluated_runs
from support.results_window import compared, show
from support.tiers import first_fast
from support.window import press, settle

from slmstudio.core import files, jobs
from slmstudio.core.chat import assistant
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import rivals
from slmstudio.core.evaluation.advice import proposals
from slmstudio.core.evaluation.scoring import read_scores
from slmstudio.core.run import notes
from slmstudio.core.settings import Settings
from slmstudio.gui.common.tasks import is_busy
from slmstudio.gui.evaluation.answer_view import read_found
from slmstudio.gui.evaluation.scores import TRAINING
from slmstudio.gui.results.columns import STANDARD
from slmstudio.gui.results.run_details import SCORES
from slmstudio.gui.results.run_facts import read_facts
from slmstudio.gui.results.tab import ResultsTab


def names(tab) -> list[str]:
    return [run.config.name for run in tab.table.runs.runs]


def search(qtbot, tab, line: str) -> None:
    tab.bar.search.setFocus()
    tab.bar.search.clear()
    qtbot.keyClicks(tab.bar.search, line)
    qtbot.keyClick(tab.bar.search, Qt.Key.Key_Return)


# -- rivals of the tuned model ------------------------------------------------------------------------------------


def test_the_best_or_another_marked_one_answers_in_chat(qtbot, tab, make_run, wanted_pages):
    run = make_run("helpdesk")
    job = evaluated_runs.write(run, "evaluate-1", 60, ("base", "tuned", "prompt", "examples"), train_run=str(run))
    show(qtbot, tab, 1)
    view = tab.details.evaluation.scores.rivals
    qtbot.waitUntil(view.isVisible)
    assert view.sentence.text() == rivals.sentence(read_scores(job.folder)) and view.marked() == "tuned"
    rows = [[cell.text for cell in row] for row in view.table.figures.rows]
    assert [row[0] for row in rows] == ["Base", "Tuned", "Prompt", "Examples"]
    assert rows[1][2] == "" and all(row[2].startswith("▲ +") for row in (rows[0], *rows[2:]))
    assert (rows[3][3], view.table.figures.rows[3][3].detail) == ("912 tokens", "1.4 s · 1.3 GB")
    view.table.selectRow(2)
    show(qtbot, tab, 1)
    assert view.marked() == "prompt", "the runs were read again"
    press(qtbot, tab, "rivals_use")
    qtbot.waitUntil(lambda: bool(wanted_pages))
    assert wanted_pages == [("chat", "open_models", ([run],))] and assistant.read(run).rival == "prompt"
    view.table.selectRow(1)
    press(qtbot, tab, "rivals_use")
    qtbot.waitUntil(lambda: len(wanted_pages) == 2)
    assert wanted_pages[1] == ("chat", "opening.open", (run,)) and assistant.read(run) is None


def test_without_rivals_there_is_no_such_table(qtbot, tab, make_run):
    evaluated_runs.write(make_run("helpdesk"))
    show(qtbot, tab, 1)
    assert tab.details.evaluation.scores.rivals.isHidden()


# -- the table ---------------------------------------------------------------------------------------------------


def test_a_later_look_at_a_few_rows_does_not_become_the_runs_score(make_run):
    run = make_run("small")
    evaluated_runs.write(run, "evaluate-1", count=24)
    whole = read_facts(run)
    evaluated_runs.write(run, "evaluate-2", count=1)
    facts = read_facts(run)
    assert len(facts.evaluations) == 2 and facts.scored.folder.name == "evaluate-1"
    assert facts.values["tuned.chrf"] == whole.values["tuned.chrf"]


def test_runs_are_found_by_their_fields_notes_and_scores(qtbot, tab, make_run):
    # A reason names other fields and figures, and is neither of them.
    evaluated_runs.write(make_run("small", lora_rank=4, reasons={"lora_rank": "9 of 10 such runs do well with 4."}))
    big = make_run("big", lora_rank=32)
    notes.write(big, notes.Notes("for the Pune office", ("best",)))
    show(qtbot, tab, 2)
    for line, found in (("rank>8", ["big"]), ("PUNE", ["big"]), ("tag=best", ["big"]), ("chrf>20", ["small"]),
                        ("", ["big", "small"]), ("loss=1.2", ["big", "small"]), ("rank=5", [])):
        search(qtbot, tab, line)
        assert names(tab) == found, line
    assert tab.bar.note.text() == "No run matches this search."
    assert tab.curves.pages.currentIndex() == 0, "no curves of a run that is not in the table"
    search(qtbot, tab, "nosuch>5")
    assert "nosuch" in tab.bar.note.text()


def test_selection_sort_and_filter_outlast_a_refresh_and_a_restart(qtbot, tab, make_run, session):
    for number, name in enumerate(("a", "b", "c")):
        make_run(name, lora_rank=2 ** (number + 2))
    show(qtbot, tab, 3)
    tab.table.set_columns([*STANDARD, "lora_rank"])
    tab.bar.chooser.changed.emit([*STANDARD, "lora_rank"])
    tab.table.sortByColumn(tab.table.runs.columns.index("lora_rank"), Qt.SortOrder.AscendingOrder)
    search(qtbot, tab, "rank<10")
    tab.table.select({tab.table.runs.shown[0].folder})
    assert names(tab) == ["a", "b"] and tab.table.selected()[0].config.name == "a"
    make_run("d", lora_rank=2)
    tab.refresh()
    qtbot.waitUntil(lambda: names(tab) == ["d", "a", "b"])
    assert [run.config.name for run in tab.table.selected()] == ["a"]
    session.settings = Settings.from_dict(session.settings.to_dict())
    again = ResultsTab(session)
    qtbot.addWidget(again)
    show(qtbot, again, 4)
    assert names(again) == ["d", "a", "b"] and again.table.runs.columns[-1] == "lora_rank"
    assert again.bar.search.text() == "rank<10"
    assert again.table.horizontalHeader().sortIndicatorSection() == again.table.runs.columns.index("lora_rank")


def test_table_and_details_never_tell_of_different_runs(qtbot, tab, make_run, monkeypatch):
    """After sorting, filtering and a refresh, at once, and though the curves of a run can't be read."""
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
    qtbot.waitUntil(lambda: same("c") and tab.details.isEnabled() and not is_busy(tab))
    make_run("d")
    tab.refresh()
    qtbot.waitUntil(lambda: "d" in names(tab))
    assert same("c"), "a new run does not take the place of the chosen one"

    def unreadable(run: object) -> None:
        raise UserError("The exports can't be read.", "", "")

    monkeypatch.setattr("slmstudio.gui.results.tab.read_exports", unreadable)
    tab.table.selectRow(names(tab).index("b"))
    qtbot.waitUntil(tab.banner.isVisible)
    assert same("b")


def test_any_field_becomes_a_column_and_runs_without_it_come_last(qtbot, tab, make_run):
    evaluated_runs.write(make_run("scored"))
    make_run("bare")
    show(qtbot, tab, 2)
    press(qtbot, tab, "runs_columns")
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
    from slmstudio.gui.common.dialogs import write_csv

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
    qtbot.waitUntil(lambda: notes.read(run).tags == ("best", "for the demo"))
    editor.text.setPlainText("Besser als alles zuvor.")
    editor.save()
    qtbot.waitUntil(lambda: notes.read(run).text == "Besser als alles zuvor.")
    qtbot.waitUntil(lambda: "best" in str(tab.table.runs.index(0, 0).data(tab_detail())))
    assert tab.bar.tags.isVisible()
    press(qtbot, tab, "runs_tags")
    (menu,) = tab.bar.findChildren(QMenu)
    next(action for action in menu.actions() if action.text() == "for the demo").trigger()
    menu.close()
    assert names(tab) == ["helpdesk"]


def tab_detail() -> int:
    from slmstudio.gui.common.widgets.table_cells import DETAIL

    return DETAIL


def test_any_number_of_runs_is_compared(qtbot, tab, make_run, tmp_path):
    for number in range(12):
        run = make_run(f"run {number}", lora_rank=number + 1)
        if number < 2:
            evaluated_runs.write(run)
    show(qtbot, tab, 12)
    tab.table.selectAll()
    compare = tab.curves.compare
    qtbot.waitUntil(lambda: compare.isVisible() and len(compared(tab)) == 12)
    assert len([name for name in compare.curves.plot.curves if name.endswith("eval")]) == 12
    compare.curves.which.set_current(1)
    assert len(compare.curves.plot.curves) == 12
    compare.tabs.set_current(1)
    assert [row[0].text for row in compare.settings.figures.rows] == ["Rank"]
    compare.tabs.set_current(2)
    chrf = next(row for row in compare.scores.figures.rows if row[0].text == "chrF++")
    assert len(chrf) == 13 and sum(cell.text != "—" for cell in chrf[1:]) == 2
    assert "10 of them haven't been evaluated yet" in compare.hint.text()
    for name in ("losses.png", "losses.svg"):
        compare.save_picture(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 5000
    assert (tmp_path / "losses.svg").read_text().count("<path") > 5, "drawn, not a picture in an SVG"


@pytest.mark.parametrize(("request_of_one", "said"), first_fast([
    ({"seed": 7}, "All tested on the same rows"), (None, "can't be compared"),
    ({"max_new_tokens": 256}, "asked with a different answer length"),
    ({"seed": 7, "limit": 20}, "can't be compared")], 2))
def test_scores_compare_where_the_same_was_asked(qtbot, tab, make_run, tmp_path, request_of_one, said):
    """A seed that drew nothing makes no difference; how long answers may be does, and other rows (None) do."""
    one, two = make_run("one"), make_run("two")
    evaluated_runs.write(one, count=20)
    if request_of_one is None:
        evaluated_runs.write(two, count=22)
    else:
        evaluated_runs.write(two, count=20, **{"test": str(one / "tests.jsonl"), **request_of_one})
    show(qtbot, tab, 2)
    tab.table.selectAll()
    qtbot.waitUntil(lambda: len(compared(tab)) == 2)
    tab.curves.compare.tabs.set_current(2)
    assert said in tab.curves.compare.hint.text()


# -- scores ------------------------------------------------------------------------------------------------------


def test_the_verdict_comes_first_and_then_the_figures(qtbot, tab, make_run, tmp_path):
    run = make_run("helpdesk")
    evaluated_runs.write(run, count=60, models=("base", "tuned", "Q4_K_M"))
    show(qtbot, tab, 1)
    details = tab.details
    details.tabs.set_current(SCORES)
    scores = details.evaluation.scores
    assert scores.sentence.text().startswith("Better: ") and "p\xa0<\xa00.001" in scores.sentence.text()
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
    qtbot.waitUntil((tmp_path / "scores.csv").exists)


def test_the_verdict_in_plain_words_and_what_to_do_next(qtbot, tab, make_run, session, wanted_pages):
    """The run's loss was still falling: the first proposal continues it, with the epochs filled in."""
    run = make_run("helpdesk")
    evaluated_runs.write(run, count=60, train_run=str(run))
    show(qtbot, tab, 1)
    tab.details.tabs.set_current(SCORES)
    verdict = tab.details.evaluation.scores.verdict
    advice = read_found(run, read_facts(run).scored).advice
    qtbot.waitUntil(lambda: (verdict.headline.accessibleName(), verdict.caveat.accessibleName()) == (
        advice.headline, advice.caveat))
    assert verdict.frame.property("banner") == advice.tone == "ok" and verdict.title.isVisible()
    assert [chip.isVisible() for *_, chip in verdict.cells] == [True] * 3 and verdict.all.isVisible()
    settle()
    [first] = [each for each in tab.findChildren(QPushButton)
               if each.isVisible() and each.property("kind") == "primary"]
    assert (first.text(), first.toolTip()) == (advice.proposals[0].text, advice.proposals[0].reason)
    qtbot.mouseClick(first, Qt.MouseButton.LeftButton)
    assert wanted_pages == [("training", "next.go_on_from", (run, {"epochs": 1.0}))]


def test_every_proposal_prepares_what_it_says(qtbot, tab, make_run, session, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.touch()
    run = make_run("helpdesk")
    record = files.read_json(run / jobs.RUN)
    files.write_atomically(run / jobs.RUN, files.dump_pretty({**record, "train_file": str(rows)}))
    evaluated_runs.write(run, count=60, train_run=str(run))
    show(qtbot, tab, 1)
    told = []
    for signal in (session.page_wanted, tab.details.resume):
        signal.connect(lambda *wanted: told.append(wanted))

    def follow(action, changes=None):
        told.clear()
        proposal = proposals.Proposal(action, "Do it", "Because.", changes or {})
        section = tab.details.evaluation
        section.scores.proposal_wanted.emit(section.scores.current(), proposal)
        return told

    for action in (proposals.ROWS, proposals.COUNT, proposals.TEMPLATE):
        [(page, method, (file, proposal))] = follow(action)
        assert (page, method, file, proposal.action) == ("data", "advise", rows, action)
    assert follow(proposals.MODEL) == [("model", "show_larger", (Path(record["model"]),))]
    assert follow(proposals.AGAIN, {"max_length": 512}) == [("training", "next.plan_again", (run, {"max_length": 512}))]
    assert [each.folder for [each] in follow(proposals.RESUME)] == [run]
    follow(proposals.EXPORT)
    assert not tab.details.export.isHidden()
    panel = tab.details.evaluation.panel
    follow(proposals.EVALUATE, {"limit": 730, "test": str(run / "tests.jsonl")})
    qtbot.waitUntil(lambda: panel.choice.limit.value() == 730)
    qtbot.waitUntil(lambda: panel.choice.limit_label.text() == "of 60")
    assert panel.choice.apply({"models": []})["test"] == str(run / "tests.jsonl")


def test_saved_scores_can_be_computed_with(qtbot, tab, make_run, tmp_path):
    run = make_run("helpdesk")
    evaluated_runs.write(run, count=60)
    show(qtbot, tab, 1)
    scores = tab.details.evaluation.scores
    kept = files.read_json(run / "jobs" / "evaluate-1" / "scores.json")

    def saved(name: str) -> list[list[str]]:
        scores.save_table(tmp_path / name)
        qtbot.waitUntil((tmp_path / name).exists)
        with open(tmp_path / name, encoding="utf-8-sig", newline="") as file:
            return list(csv.reader(file))

    head, first, *_ = saved("all.csv")
    assert head == ["", "Base", "Base 95% from", "Base 95% to", "Base rows",
                    "Tuned", "Tuned 95% from", "Tuned 95% to", "Tuned rows", "Tuned p"]
    want = kept["models"][1]["scores"]["chrf"]
    p = next(each["p"] for each in kept["comparisons"] if each["metric"] == "chrf")
    assert first[0] == "chrF++" and [float(each) for each in first[5:]] == [
        want["value"], want["low"], want["high"], want["rows"], p]
    scores.groups.set_current(1)
    head, first, *_ = saved("groups.csv")
    want = kept["models"][1]["by_category"]["forms"]["chrf"]
    assert first[:2] == ["forms", "chrF++"] and float(first[head.index("Tuned")]) == want["value"]


def test_rows_that_were_learned_are_scored_apart(qtbot, tab, make_run):
    run = make_run("helpdesk")
    job = evaluated_runs.write(run, count=24)
    scores = files.read_json(job.folder / "scores.json")
    for model in scores["models"]:
        model["by_training"] = {"learned": model["scores"], "new": model["scores"]}
    files.write_atomically(job.folder / "scores.json", files.dump_pretty(scores))
    show(qtbot, tab, 1)
    tab.details.tabs.set_current(SCORES)
    view = tab.details.evaluation.scores
    assert view.groups.button(TRAINING).isVisible()
    view.groups.set_current(TRAINING)
    assert [row[0].text for row in view.table.figures.rows] == ["In the training rows", "Not in the training rows"]


def test_a_run_that_was_not_evaluated_says_what_to_do(qtbot, tab, make_run):
    make_run("helpdesk")
    show(qtbot, tab, 1)
    tab.details.tabs.set_current(SCORES)
    verdict = tab.details.evaluation.scores.verdict
    qtbot.waitUntil(lambda: bool(verdict.buttons))
    assert verdict.headline.text() and not verdict.questions.isVisible() and tab.details.evaluate_button.isEnabled()


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
