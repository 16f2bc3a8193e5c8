"""The health of a dataset in the window: findings, their rows, mending, and the way back."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QPushButton, QTextEdit, QToolButton, QWidget
from support.data_window import open_files
from support.window import text

from slmstudio.core import paths
from slmstudio.core.data.versions import store
from slmstudio.core.model.facts import read_model
from slmstudio.core.run.config import RunConfig
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


def make_version(qtbot, tab: DataTab) -> None:
    """Fix what looks like HTML, and wait until the version is shown."""
    press(qtbot, tab, "health_mend_html")
    qtbot.waitUntil(lambda: tab.findChild(QPushButton, "mend_write").isEnabled())
    with qtbot.waitSignal(tab.workspace().desk.replaced):
        press(qtbot, tab, "mend_write")
    qtbot.waitUntil(lambda: tab.workspace().desk.version.bar.isVisible())


def test_findings_are_listed_and_lead_to_their_rows(qtbot, planted: DataTab):
    kinds = {finding.kind for finding in planted.workspace().entry.report.made.findings}
    assert {"duplicate_rows", "personal_phone", "html"} <= kinds
    assert text(planted, "health_chip") == f"{len(kinds)} findings"
    press(qtbot, planted, "health_show_duplicate_rows")
    qtbot.waitUntil(lambda: lines(planted) == ["31", "32"])
    assert text(planted, "rows_filter") == "2 of 32 rows: Duplicate rows"
    rows = planted.workspace().rows
    rows.search.setText("ward 2 need")
    qtbot.waitUntil(lambda: lines(planted) == ["32"])
    press(qtbot, planted, "rows_filter_clear")
    assert len(lines(planted)) == 32 and not rows.filter.isVisible()


def test_several_kinds_are_mended_together_and_undone(qtbot, planted: DataTab, session: Session):
    page = planted.workspace()
    page.choose(page.entry)
    original, before = page.entry.dataset.path, page.entry.dataset.path.read_bytes()
    press(qtbot, planted, "health_mend_personal_phone")
    for kind in ("html", "duplicate_rows"):
        box = planted.findChild(QCheckBox, f"mend_{kind}")
        box.setChecked(True)
    qtbot.waitUntil(lambda: text(planted, "mend_summary") == "2 rows are rewritten · 2 rows are removed · 30 rows "
                    "are left")
    changes = planted.findChild(QTextEdit, "mend_changes").toPlainText()
    assert "98234 56789[PHONE]" in changes and "Line 31 · Duplicate rows · the row is removed" in changes
    with qtbot.waitSignal(page.desk.replaced):
        press(qtbot, planted, "mend_write")
    made = page.entry.dataset
    assert made.path == paths.datasets_dir() / "ward-v2.jsonl" and made.count == 30
    assert original.read_bytes() == before
    assert session.dataset is made
    lineage = store.read_lineage(made.path)
    assert lineage.before.path == original
    assert {"fix": "duplicate_rows", "rows": 2, "removed": 2} in lineage.steps
    qtbot.waitUntil(lambda: text(planted, "version_text").startswith("Made from ward.jsonl: "))
    assert "2 rows removed (Duplicate rows)" in text(planted, "version_text")
    assert "1 row masked (Phone numbers)" in text(planted, "version_text")
    assert not {"html", "personal_phone"} & {finding.kind for finding in checked(qtbot, planted).made.findings}
    with qtbot.waitSignal(page.desk.replaced):
        press(qtbot, planted, "version_undo")
    assert page.entry.dataset.path == original and session.dataset is page.entry.dataset
    assert not made.path.exists() and not store.lineage_file(made.path).exists()
    qtbot.waitUntil(lambda: not page.desk.version.bar.isVisible())


def test_undo_without_the_file_before_keeps_the_version(qtbot, planted: DataTab):
    page = planted.workspace()
    original = page.entry.dataset.path
    make_version(qtbot, planted)
    original.unlink()
    press(qtbot, planted, "version_undo")
    qtbot.waitUntil(lambda: planted.banner.isVisible())
    assert "ward.jsonl is no longer there" in planted.banner.error.what
    assert page.entry.dataset.path.exists()


def test_mending_nothing_and_giving_up(qtbot, planted: DataTab):
    press(qtbot, planted, "health_mend_html")
    planted.findChild(QCheckBox, "mend_html").setChecked(False)
    qtbot.waitUntil(lambda: text(planted, "mend_summary") == "Choose what to fix.")
    assert not planted.findChild(QPushButton, "mend_write").isEnabled()
    qtbot.keyClick(planted.findChild(QCheckBox, "mend_html"), Qt.Key.Key_Escape)
    assert planted.workspace().rows.isVisible()
    assert not paths.datasets_dir().exists()


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
    qtbot.waitUntil(lambda: "for training" in text(tab, "split_counts"))
    session.set_plan(RunConfig(name="x", model="x", train_file="x", max_length=counts.p95, micro_batch_size=4,
                               gradient_accumulation_steps=2))
    qtbot.waitUntil(lambda: any(each.kind == "too_long" for each in page.entry.report.made.findings))
    assert page.entry.report.made.counts is counts  # the rows and the model are the same
    assert f"is cut at {counts.p95:,} tokens, the plan's sequence length. At {counts.max:,}, none is." in text(
        tab, "length_figures")
    steps = -(-int(text(tab, "split_counts").split()[0]) // 4)
    assert text(tab, "length_steps") == f"{-(-steps // 2)} steps per epoch, with 8 rows per step"
    press(qtbot, tab, "health_show_too_long")
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
    press(qtbot, planted, "health_mend_html")
    assert unexplained(planted) == []
    press(qtbot, planted, "mend_cancel")
    press(qtbot, planted, "rows_edit", QToolButton)
    assert unexplained(planted) == []
