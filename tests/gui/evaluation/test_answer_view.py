"""The answer first: its states, and that nothing moves from one to the next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.window import settle

from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.advice import Advice, Proposal
from slmstudio.core.evaluation.advice.evidence import Evidence
from slmstudio.core.evaluation.at_end import Answers
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import scrolled
from slmstudio.gui.evaluation.answer_view import AnswerView, Found

ADVICE = Advice("Better: wording. But it repeats itself in 4 of 15 answers. Not ready.", "bad", "Better: chrF++.", (
    Proposal("again", "Train again with a learning rate of 7e-05", "Steps that are too large can do that."),
    Proposal("chat", "Talk to it", "Questions of your own show what no score does.")), Evidence())
ANSWERS = (Answers("आय प्रमाण पत्र की वैधता कितनी है?", "एक वर्ष।", "I am sorry. " * 40, "एक वर्ष।", "same"),
           Answers("Where do I report a broken street light?", "", "Hello", "At the ward office.", "close"),
           Answers("Why?", "", "", "Because. " * 90, "repeats"))


@pytest.fixture
def view(qtbot, session) -> Iterator[AnswerView]:
    made = AnswerView()
    area = scrolled(made)
    qtbot.addWidget(area)
    area.resize(640, 480)
    with qtbot.waitExposed(area):
        area.show()
    yield made


def places(view: AnswerView) -> list[object]:
    settle()
    parts = [view.frame, view.headline, view.caveat, *(cell for row in view.cells for cell in row[:3])]
    bar = view.parent().parent().verticalScrollBar().maximum() > 0
    return [bar, *((part.mapTo(view, part.rect().topLeft()).toTuple(), part.size().toTuple()) for part in parts)]


@pytest.mark.parametrize("percent", [100, 150])
def test_nothing_moves_between_waiting_live_failed_and_done(view, qapp, percent):
    theme.apply(qapp, "light", percent)
    try:
        view.show_waiting("")
        waiting = places(view)
        view.show_waiting("3 of 30 answers, about 1 min left", ANSWERS[:1])
        assert places(view) == waiting and view.cells[0][2].text() == "एक वर्ष।" and view.cells[1][0].text() == "…"
        view.show_failed(UserError("The model doesn't fit.", "It needs 9 GB.", "Close other programs."))
        assert places(view) == waiting
        view.show_found(Found(ADVICE, ("about 25 min", ""), ANSWERS, 15))
        assert places(view) == waiting
    finally:
        theme.apply(qapp, "light", 100)


def test_when_it_is_done_the_first_button_is_the_thing_to_do(qtbot, view):
    view.show_found(Found(ADVICE, ("about 25 min", ""), ANSWERS, 15))
    assert view.frame.property("banner") == "bad" and view.headline.accessibleName() == ADVICE.headline
    assert [row[3].kind for row in view.cells] == ["ok", "ok", "bad"] and all(row[3].isVisible() for row in view.cells)
    assert view.cells[0][1].text().endswith("…") and "sorry" in view.cells[0][1].toolTip(), "what doesn't fit"
    assert [each.property("kind") for each in view.buttons] == ["primary", "plain"]
    assert "about 25 min" in view.buttons[0].toolTip() and "min" not in view.buttons[1].toolTip()
    with qtbot.waitSignal(view.wanted) as wanted:
        view.buttons[1].click()
    assert wanted.args == [ADVICE.proposals[1]]


def test_the_expected_answer_is_readable_in_the_narrow_column_of_results(view):
    view.parent().parent().resize(460, 480)
    expected = "Form 10 is given out at window 10 of the Nashik ward office."
    view.show_found(Found(ADVICE, ("", ""), (Answers("Where?", expected, "I do not know.", "Ask.", "other"),), 1))
    settle()
    assert expected in view.references[0].text(), "whole"


def test_what_failed_can_be_tried_again_and_text_asks_no_questions(qtbot, view):
    view.show_failed(UserError("The model doesn't fit.", "It needs 9 GB.", ""))
    assert view.headline.text() == "The model doesn't fit." and view.caveat.text() == "It needs 9 GB."
    with qtbot.waitSignal(view.retry):
        view.buttons[0].click()
    view.show_found(Found(ADVICE, ("", "")))
    assert not view.questions.isVisible() and view.headline.isVisible()
