"""The health of a dataset in the window: findings, their rows, what is decided, and the way back."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QPushButton, QTextEdit, QToolButton, QWidget
from support.data_window import open_files
from support.window import text

from slmstudio.core import paths
from slmstudio.core.data.versions import store
from slmstudio.core.model.facts import read_model
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.planning.row_counts import LostRows, RowCounts
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import is_busy
from slmstudio.gui.data.tab import DataTab

LEFT = Qt.MouseButton.LeftButton
PLANTED = [{"instruction": f"Which form does ward {n} need for a birth certificate?",
            "output": f"Form {n} at desk {n}."} for n in range(1, 31)]
PLANTED[4]["output"] += " Call 98234 56789."
PLANTED[9]["output"] = "<p>Use <b>form 10</b> at the desk.</p>"
PLANTED += [dict(PLANTED[0]), dict(PLANTED[1])]


@pytest.fixture
def tab(new_tab, monkeypatch, tmp_path: Path) -> DataTab:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "trash-home"))
    return new_tab(height=720)


def press(qtbot, tab: QWidget, name: str, kind: type = QPushButton) -> None:
    button = tab.findChild(kind, name)
    assert button is not None and button.isVisible() and button.isEnabled(), name
    button.setFocus() if kind is QPushButton else None
    qtbot.mouseClick(button, LEFT)


def checked(qtbot, tab: DataTab):
    """The report of the dataset that is shown, once it is there."""
    page = tab.workspace()
    qtbot.waitUntil(lambda: page.entry.report is not None and page.entry.report.asked.dataset is page.entry.dataset
                    and not is_busy(page.desk))
    return page.entry.report


@pytest.fixture
def planted(qtbot, tab: DataTab, write_rows) -> DataTab:
    open_files(qtbot, tab, write_rows("ward.jsonl", PLANTED))
    checked(qtbot, tab)
    return tab


def lines(tab: DataTab) -> list[str]:
    model = tab.workspace().rows.table.model()
    return [model.index(row, 0).data() for row in range(model.rowCount())]


def decide(tab: DataTab, kind: str, choice: str) -> None:
    """Choose as a person does."""
    box = tab.findChild(QComboBox, f"health_choice_{kind}")
    box.setCurrentIndex(box.findData(choice))
    box.activated.emit(box.currentIndex())


def make_version(qtbot, tab: DataTab) -> None:
    """Apply what is chosen, and wait until the version is shown."""
    with qtbot.waitSignal(tab.workspace().desk.replaced):
        press(qtbot, tab, "health_apply")
    checked(qtbot, tab)
    qtbot.waitUntil(lambda: tab.workspace().desk.version.bar.isVisible())


def test_findings_are_listed_and_lead_to_their_rows(qtbot, planted: DataTab):
    kinds = {finding.kind for finding in planted.workspace().entry.report.made.findings}
    assert {"duplicate_rows", "personal_phone", "html"} <= kinds
    assert text(planted, "health_chip") == f"{len(kinds)} findings"
    boxes = planted.workspace().desk.health.findChildren(QComboBox)
    assert {box.objectName().removeprefix("health_choice_") for box in boxes} == kinds
    assert all("recommended" in box.itemText(0) and box.currentIndex() == 0 for box in boxes)
    press(qtbot, planted, "health_show_duplicate_rows", QToolButton)
    qtbot.waitUntil(lambda: lines(planted) == ["31", "32"])
    assert text(planted, "rows_filter") == "2 of 32 rows: Duplicate rows"
    rows = planted.workspace().rows
    rows.search.setText("ward 2 need")
    qtbot.waitUntil(lambda: lines(planted) == ["32"])
    press(qtbot, planted, "rows_filter_clear")
    assert len(lines(planted)) == 32 and not rows.filter.isVisible()


def test_all_decisions_are_one_version_and_undone_with_one_key(qtbot, planted: DataTab, session: Session):
    page = planted.workspace()
    page.choose(page.entry)
    original, before = page.entry.dataset.path, page.entry.dataset.path.read_bytes()
    qtbot.waitUntil(lambda: text(planted, "health_outcome") == "About 30 of 32 rows are used.")
    decide(planted, "html", "keep")
    box, report = planted.findChild(QComboBox, "health_choice_html"), page.entry.report
    session.set_plan(RunConfig(name="x", model="x", train_file="x", max_length=64))  # which checks again
    assert checked(qtbot, planted) is not report and box.isVisible(), "the list keeps its place"
    press(qtbot, planted, "health_changes")
    qtbot.waitUntil(lambda: text(planted, "changes_summary") == "1 row is rewritten · 2 rows are removed · 30 rows "
                    "are left")
    changes = planted.findChild(QTextEdit, "changes_view").toPlainText()
    assert "98234 56789[PHONE]" in changes and "Line 31 · Duplicate rows · the row is removed" in changes
    qtbot.keyClick(planted.findChild(QTextEdit, "changes_view"), Qt.Key.Key_Escape)
    assert page.rows.isVisible() and not paths.datasets_dir().exists(), "nothing is done without a click"
    make_version(qtbot, planted)
    made = page.entry.dataset
    assert made.path == paths.datasets_dir() / "ward-v2.jsonl" and made.count == 30
    assert original.read_bytes() == before and session.dataset is made
    assert (text(planted, "health_chip"), {each.kind for each in page.entry.report.made.findings}) == (
        "decided", {"html"} | set(page.entry.report.lineage.decided) - {"personal_phone", "duplicate_rows"})
    decide(planted, "html", "mend")
    make_version(qtbot, planted)
    lineage = store.read_lineage(page.entry.dataset.path)
    assert (lineage.before.path, lineage.before.rows) == (original, 32), "the file as it was"
    assert lineage.decided["html"] == "mend" and lineage.decided["personal_phone"] == "mask"
    page.rows.table.setFocus()
    with qtbot.waitSignal(page.desk.replaced):
        qtbot.keyClick(page.rows.table, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert page.entry.dataset.path == original and session.dataset is page.entry.dataset
    qtbot.waitUntil(lambda: not page.desk.version.bar.isVisible())


def test_answers_are_chosen_one_by_one_side_by_side(qtbot, tab: DataTab, write_rows):
    asked = "When does the water come?"
    open_files(qtbot, tab, write_rows("ward.jsonl", [
        {"instruction": asked, "output": "At six."}, *PLANTED[:3], {"instruction": asked, "output": "At noon."},
        {"instruction": "Who mends the lamps?", "output": "The ward."}, {"instruction": "Who mends the lamps?",
                                                                         "output": "Nobody."}]))
    checked(qtbot, tab)
    decide(tab, "conflicting_answers", "by_hand")
    table = tab.workspace().rows.table
    qtbot.waitUntil(lambda: lines(tab) == ["1", "5", "6", "7"])
    cells = [table.model().index(0, column).data() for column in range(6) if not table.isColumnHidden(column)]
    assert cells == ["1", asked, "At six.", "At noon."]
    table.setFocus()
    qtbot.keyClick(table, Qt.Key.Key_Delete)
    assert lines(tab) == ["6", "7"], "what is decided is off the list"
    qtbot.keyClick(table, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert lines(tab) == ["1", "5", "6", "7"]


def test_rows_that_are_cut_are_whole_at_another_length(qtbot, session: Session, planted: DataTab, tiny_model: Path):
    session.set_model(read_model(tiny_model))
    planted.workspace().choose(planted.workspace().entry)
    wanted: list[tuple[str, object]] = []
    session.field_wanted.connect(lambda *field: wanted.append(field))
    plan = RunConfig(name="x", model="x", train_file="x", max_length=4)
    session.set_plan(plan, None, LostRows(RowCounts(0, 0, 32, 32, 1, True), False, 4, 128, 32, 1, None, 512, 100))
    qtbot.waitUntil(lambda: planted.findChild(QComboBox, "health_choice_no_answer") is not None)
    for box in planted.workspace().desk.health.findChildren(QComboBox):
        if box.findData("lengthen") < 0:
            box.setCurrentIndex(box.findData("keep"))
    press(qtbot, planted, "health_apply")
    assert wanted == [("max_length", 128)] and not paths.datasets_dir().exists()
    planted.workspace().rows.table.setFocus()
    qtbot.keyClick(planted.workspace().rows.table, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert wanted[1:] == [("max_length", None)]


def test_undo_without_the_file_before_keeps_the_version(qtbot, planted: DataTab):
    page = planted.workspace()
    original = page.entry.dataset.path
    make_version(qtbot, planted)
    original.unlink()
    press(qtbot, planted, "version_undo")
    qtbot.waitUntil(lambda: planted.banner.isVisible())
    assert "ward.jsonl is no longer there" in planted.banner.error.what
    assert page.entry.dataset.path.exists()


def test_a_healthy_file_says_so_and_going_back_is_instant(qtbot, planted: DataTab, write_rows):
    good = [{"instruction": q, "output": a} for q, a in (
        ("Where is the library?", "In the old fort, beside the river."),
        ("When does the market open?", "Every morning at seven."),
        ("Who repairs street lamps?", "The electrical department does it."))]
    open_files(qtbot, planted, write_rows("good.jsonl", good))
    assert checked(qtbot, planted).made.findings == ()
    assert text(planted, "health_words") == "✓ No problems were found in 3 rows."
    page = planted.workspace()
    report = page.entries[0].report
    page.list.setCurrentRow(0)
    assert page.entry.report is report and not is_busy(page.desk)
    assert text(planted, "health_chip").endswith("findings")


def test_a_check_is_cancelled_and_begun_again(qtbot, tab: DataTab, write_rows):
    rows = [{"instruction": f"Question {n} of ward {n % 90}?", "output": f"Answer {n} at desk {n % 7}."}
            for n in range(20_000)]
    open_files(qtbot, tab, write_rows("many.jsonl", rows))
    page = tab.workspace()
    strip = page.desk.health.strip
    qtbot.waitUntil(strip.isVisible)
    assert text(tab, "health_words") == "Checking 20,000 rows…"
    qtbot.mouseClick(strip.cancel, LEFT)
    assert "cancelled" in text(tab, "health_words") and page.entry.report is None
    page.entry.dataset.records[100:] = []
    press(qtbot, tab, "health_again")
    assert checked(qtbot, tab).asked.dataset is page.entry.dataset


def test_tokens_are_counted_and_the_cut_is_the_plans(qtbot, session: Session, tab: DataTab, write_rows,
                                                         tiny_model: Path):
    model = read_model(tiny_model)
    session.set_model(model)
    rows = [*PLANTED, {"instruction": "जन्म प्रमाण पत्र कहाँ मिलता है?", "output": "तहसील कार्यालय में मिलता है। " * 12}]
    open_files(qtbot, tab, write_rows("ward.jsonl", rows))
    report = checked(qtbot, tab)
    counts = report.made.counts
    assert text(tab, "health_about") == f"Tokens counted with {model.name}."
    assert f"longest {counts.max:,}" in text(tab, "length_figures")
    assert "No row is cut at 1,024 tokens, the usual sequence length." in text(tab, "length_figures")
    assert f"Devanagari\u00a0{counts.per_word['Devanagari']:.1f}" in text(tab, "length_figures")
    page = tab.workspace()
    assert page.desk.lengths.histogram.isVisible()
    page.choose(page.entry)
    qtbot.waitUntil(lambda: "for training" in text(tab, "split_counts"))
    session.set_plan(RunConfig(name="x", model="x", train_file="x", max_length=counts.p95, micro_batch_size=4,
                               gradient_accumulation_steps=2))
    qtbot.waitUntil(lambda: any(each.kind == "too_long" for each in page.entry.report.made.findings))
    assert page.entry.report.made.counts is counts  # the rows and the model are the same
    assert f"is cut at {counts.p95:,} tokens, the plan's sequence length. At {counts.max:,}, none is." in text(
        tab, "length_figures")
    steps = -(-int(text(tab, "split_counts").split()[0]) // 4)
    assert text(tab, "length_steps") == f"{-(-steps // 2)} steps per epoch, with 8 rows per step"
    press(qtbot, tab, "health_show_too_long", QToolButton)
    qtbot.waitUntil(lambda: lines(tab) == ["33"])


def test_a_model_that_cannot_count_is_told_and_the_rows_are_checked(qtbot, tab: DataTab, write_rows, tmp_path: Path):
    open_files(qtbot, tab, write_rows("ward.jsonl", PLANTED))
    checked(qtbot, tab)
    (tmp_path / "empty").mkdir()
    tab.workspace().desk.set_model(tmp_path / "empty", "Empty")
    qtbot.waitUntil(lambda: text(tab, "health_about").startswith("The tokens weren't counted."))
    assert text(tab, "health_chip").endswith("findings")


def test_a_damaged_lineage_is_told_in_the_tab(qtbot, planted: DataTab):
    page = planted.workspace()
    make_version(qtbot, planted)
    store.lineage_file(page.entry.dataset.path).write_text("{broken", encoding="utf-8")
    page.desk.version.show_entry(page.entry)
    qtbot.waitUntil(lambda: "damaged" in text(planted, "version_text"))
    assert not planted.findChild(QPushButton, "version_undo").isVisible()


def test_everything_has_a_name_and_a_tooltip(qtbot, planted: DataTab, unexplained):
    press(qtbot, planted, "health_changes")
    assert unexplained(planted) == []
    press(qtbot, planted, "changes_close")
    press(qtbot, planted, "rows_edit", QToolButton)
    assert unexplained(planted) == []
