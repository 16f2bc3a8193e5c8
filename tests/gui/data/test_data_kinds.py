"""How the Data tab shows preference pairs, labelled rows and plain text."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QLineEdit
from support.data_window import open_files
from support.window import text

from slmstudio.core.model.facts import read_model
from slmstudio.gui.common.session import Session
from slmstudio.gui.data.tab import DataTab

PAIRS = [{"prompt": f"Question {n}", "chosen": f"अच्छा {n}", "rejected": f"Worse {n}"} for n in range(1, 6)]
LABELLED = [{"prompt": f"Question {n}", "completion": f"Answer {n}", "label": n % 2 == 0} for n in range(1, 6)]
STORY = "Once upon\na time.\n\nThe end.\n\nThe end."


def table(tab: DataTab) -> list[list[str]]:
    """The titles and the first row, of the columns that are on screen."""
    view = tab.workspace().rows.table
    model, columns = view.model(), [c for c in range(view.model().columnCount()) if not view.isColumnHidden(c)]
    assert all(view.columnWidth(column) > 40 for column in columns)
    return [[model.headerData(column, Qt.Orientation.Horizontal) for column in columns],
            [model.index(0, column).data() for column in columns]]


def bubbles(tab: DataTab) -> list[str]:
    rows = tab.workspace().rows
    rows.mode.set_current(1)
    return [label.text() for label in rows.conversation.widget().findChildren(QLabel) if label.isVisible()]


def test_preference_pairs_show_both_answers(qtbot, tab: DataTab, write_rows):
    open_files(qtbot, tab, write_rows("pairs.jsonl", PAIRS))
    assert "preference pairs" in text(tab, "dataset_facts")
    assert table(tab) == [["Line", "Turns", "Question", "Chosen answer", "Rejected answer"],
                          ["1", "2", "Question 1", "अच्छा 1", "Worse 1"]]
    assert bubbles(tab) == ["user", "Question 1", "chosen answer", "अच्छा 1", "rejected answer", "Worse 1"]
    tab.findChild(QLineEdit, "rows_search").setText("worse 4")
    qtbot.waitUntil(lambda: text(tab, "rows_place") == "match 1 of 1")
    qtbot.waitUntil(lambda: "5 rows · " in text(tab, "statistics_figures"))
    qtbot.waitUntil(lambda: text(tab, "split_counts").startswith("4 rows for training · 1 for"))


def test_labelled_rows_show_their_mark(qtbot, tab: DataTab, write_rows):
    open_files(qtbot, tab, write_rows("labelled.jsonl", LABELLED))
    assert "good and bad answers" in text(tab, "dataset_facts")
    assert table(tab) == [["Line", "Turns", "Question", "Answer", "Rating"],
                          ["1", "2", "Question 1", "Answer 1", "bad"]]
    assert bubbles(tab) == ["user", "Question 1", "assistant · a bad answer", "Answer 1"]
    tab.workspace().rows.go(1)
    assert bubbles(tab)[2] == "assistant · a good answer"


def test_plain_text_shows_the_text(qtbot, tab: DataTab, session: Session, tmp_path: Path, tiny_model: Path):
    file = tmp_path / "story.txt"
    file.write_text(STORY, encoding="utf-8")
    open_files(qtbot, tab, file)
    assert "plain text" in text(tab, "dataset_facts")
    assert table(tab) == [["Line", "Text"], ["1", "Once upon a time."]]
    assert bubbles(tab) == ["text", "Once upon\na time."]
    qtbot.waitUntil(lambda: "3 rows · " in text(tab, "statistics_figures"))
    session.set_model(read_model(tiny_model))
    rows = tab.workspace().rows
    rows.mode.set_current(2)
    qtbot.waitUntil(lambda: "learned" in text(tab, "token_counts"))
    shown = rows.tokens.view.shown
    assert "".join(piece.text for piece in shown) == "Once upon\na time.<|im_end|>"
    assert all(piece.learned for piece in shown)
    assert [piece.special for piece in shown] == [False, True]


def test_the_columns_follow_the_dataset(qtbot, tab: DataTab, write_rows):
    open_files(qtbot, tab, write_rows("pairs.jsonl", PAIRS))
    open_files(qtbot, tab, write_rows("chat.jsonl", [{"instruction": "a", "output": "b"}]))
    assert table(tab) == [["Line", "Question", "Answer"], ["1", "a", "b"]]
    tab.workspace().list.setCurrentRow(0)
    assert table(tab)[0] == ["Line", "Turns", "Question", "Chosen answer", "Rejected answer"]


def test_choices_in_columns_of_their_own_are_shown_and_stay_when_another_column_is_chosen(qtbot, tab, tmp_path):
    file = tmp_path / "exam.csv"
    file.write_text("question,A,B,C,answer,hint\n" + "Capital of Goa?,Pune,Panaji,Ponda,B,c\n" * 3, encoding="utf-8")
    open_files(qtbot, tab, file)
    card = tab.workspace().reading
    card.change.setChecked(True)
    box = card.panel.targets["choices"].box
    assert (box.currentText(), box.currentData()) == ("A, B and C", "A,B,C")
    answer = card.panel.targets["output"].box
    answer.setCurrentIndex(answer.findData("hint"))
    assert card.panel.said() == "instruction=question,output=hint,choices=A,B,C"
    with qtbot.waitSignal(tab.idle):
        card.reread.emit(card.panel.said())
    entry = tab.workspace().entry
    assert entry.dataset.records[0].messages[1]["content"] == "C. Ponda"
