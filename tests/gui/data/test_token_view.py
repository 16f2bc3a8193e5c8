"""Rows as the model sees them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PySide6.QtCore import Qt
from PySide6.QtGui import QTextCursor
from PySide6.QtWidgets import QLabel, QPushButton
from support import base_models
from support.data_window import open_files
from support.tiers import examples

from slmstudio.core.model.facts import read_model
from slmstudio.core.model.tokens import Encoded
from slmstudio.gui.common.session import Session
from slmstudio.gui.data.tab import DataTab
from slmstudio.gui.data.token_preview import Piece, TokenView, pieces

SAMPLE = [Piece("<|im_start|>", True, False), Piece("user\nWhere? 🏛\ufffc", False, False),
          Piece("<|im_end|>", True, False), Piece("<|im_end|>", True, True), Piece("पुणे", False, True),
          Piece("<|end|>", True, True), Piece("\n", False, False)]


def test_pieces_begin_and_end_with_learning_and_with_special_tokens():
    text = "<s>ab cd</s>"
    encoded = Encoded([1, 10, 11, 2], [False, False, True, True], [(0, 3), (3, 6), (6, 8), (8, 12)], text)
    assert pieces(encoded, {1, 2}) == [Piece("<s>", True, False), Piece("ab ", False, False), Piece("cd", False, True),
                                       Piece("</s>", True, True)]


def test_two_equal_special_tokens_side_by_side_stay_two():
    encoded = Encoded([2, 2], [False, False], [(0, 4), (4, 8)], "</s></s>")
    assert pieces(encoded, {2}) == [Piece("</s>", True, False)] * 2


def test_a_letter_of_several_tokens_is_learned_when_one_of_them_is():
    encoded = Encoded([7, 8, 9], [False, True, False], [(0, 1), (0, 1), (1, 2)], "कx")
    assert pieces(encoded, set()) == [Piece("क", False, True), Piece("x", False, False)]


TOKENS = st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 40), st.integers(0, 9))


@given(st.text(max_size=30), st.lists(TOKENS, max_size=12))
def test_the_pieces_are_the_text_whatever_the_offsets(text, tokens):
    offsets = [(min(start, len(text)), min(start + length, len(text))) for _, _, start, length in tokens]
    encoded = Encoded([t[0] for t in tokens], [t[1] for t in tokens], offsets, text)
    assert "".join(piece.text for piece in pieces(encoded, {0})) == text


@pytest.fixture
def view(qtbot, session: Session) -> TokenView:
    shown = TokenView()
    qtbot.addWidget(shown)
    shown.show()
    return shown


def test_what_is_copied_is_the_exact_text(view: TokenView):
    view.show_pieces(SAMPLE)
    view.selectAll()
    assert view.createMimeDataFromSelection().text() == "".join(piece.text for piece in SAMPLE)
    cursor = view.textCursor()
    cursor.setPosition(1)
    cursor.movePosition(QTextCursor.MoveOperation.End, QTextCursor.MoveMode.KeepAnchor)
    assert view.exact_text(cursor) == "".join(piece.text for piece in SAMPLE[1:])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(50), deadline=None)
@example(shown=[Piece("\ufeff", False, True)])
@example(shown=[Piece("a", False, True), Piece("\ufffe\ufeff🏛", False, False)])
@given(shown=st.lists(st.builds(Piece, st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1,
                                               max_size=8), st.booleans(), st.booleans()), max_size=8))
def test_any_row_is_copied_as_it_is(view: TokenView, shown):
    view.show_pieces(shown)
    view.selectAll()
    assert view.exact_text(view.textCursor()) == "".join(piece.text for piece in shown)


def test_learned_parts_are_on_green_and_special_tokens_are_chips(view: TokenView):
    view.show_pieces(SAMPLE)
    plain = view.grab().toImage()
    view.show_pieces([Piece(piece.text, piece.special, False) for piece in SAMPLE])
    assert view.grab().toImage() != plain


@pytest.fixture
def tab(qtbot, session: Session, rows_file: Path) -> DataTab:
    shown = DataTab(session)
    shown.resize(1256, 620)
    qtbot.addWidget(shown)
    shown.show()
    open_files(qtbot, shown, rows_file)
    shown.workspace().rows.mode.set_current(2)
    return shown


def test_without_a_model_the_view_says_so_and_leads_there(qtbot, tab: DataTab, session: Session):
    with qtbot.waitSignal(session.page_wanted) as heard:
        qtbot.mouseClick(tab.findChild(QPushButton, "token_choose_model"), Qt.MouseButton.LeftButton)
    assert heard.args[0] == "model"


def test_rows_are_shown_as_the_chosen_model_reads_them(qtbot, tab: DataTab, session: Session, tiny_model: Path):
    session.set_model(read_model(tiny_model))
    rows, preview = tab.workspace().rows, tab.workspace().rows.tokens
    counts = tab.findChild(QLabel, "token_counts")
    qtbot.waitUntil(lambda: "learned" in counts.text())
    for position in (0, 3):
        rows.go(position)
        record = tab.workspace().entry.dataset.records[position]
        answer = record.messages[-1]["content"]
        qtbot.waitUntil(lambda answer=answer: answer in "".join(p.text for p in preview.view.shown))
        learned = "".join(piece.text for piece in preview.view.shown if piece.learned)
        assert learned == answer + "<|im_end|>"
    assert counts.text().endswith(f"with {tiny_model.name}")


def test_a_model_without_a_template_reads_rows_in_the_one_that_suits_it_or_was_chosen(
        qtbot, tab: DataTab, session: Session, tiny_model: Path, tmp_path: Path):
    base = base_models.tiny(tiny_model, tmp_path / "base")
    session.set_model(read_model(base))
    preview = tab.workspace().rows.tokens

    def learned() -> str:
        return "".join(piece.text for piece in preview.view.shown if piece.learned)

    answer = tab.workspace().entry.dataset.records[0].messages[-1]["content"]
    qtbot.waitUntil(lambda: learned() == answer + "<|im_end|>")
    session.choose_template(base, "alpaca")
    qtbot.waitUntil(lambda: learned() == answer + "<|endoftext|>")
    assert "### Response:" in "".join(piece.text for piece in preview.view.shown)
