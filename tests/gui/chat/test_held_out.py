"""A run beside its base, asked what it never learned."""

from __future__ import annotations

import pytest
from PySide6.QtWidgets import QLabel
from support.chat_window import answered, ready, said
from support.held_out_rows import asked, hold_out
from support.window import press, text


@pytest.fixture
def opened(qtbot, tab, session, make_run):
    """A run that held five rows out, open in Chat."""
    run = make_run("helpdesk", learning_rate=3e-4)
    hold_out(run, [asked(f"question {n}", f"answer {n}", "Be brief.", n) for n in range(5)])
    session.open_run_chat(run)
    qtbot.waitUntil(lambda: tab.lanes.count == 2 and tab.talk.held_out.isVisible())
    ready(qtbot, tab)
    return run


def test_a_run_beside_its_base_is_named_and_asked_what_it_never_learned(qtbot, tab, opened, unexplained):
    strip, lanes = tab.talk.held_out, tab.lanes.shown()
    assert [lane.title.text() for lane in lanes] == ["Tuned", "Before"]
    assert lanes[0].title.toolTip() == "helpdesk" and all(lane.choice.isVisible() for lane in lanes)
    offered = [button.row.question for button in strip.buttons]
    assert len(set(offered)) == 3 and not strip.expect.isEnabled() and unexplained(tab) == []
    place = strip.others.mapTo(tab, strip.others.rect().topLeft())
    press(qtbot, strip, "held_out_others")
    assert set(offered) < {*offered, *(button.row.question for button in strip.buttons)}
    row = strip.buttons[0].row
    strip.buttons[0].click()
    ready(qtbot, tab)
    assert [said(pane)[0] for pane in tab.panes] == [row.question] * 2
    assert tab.settings.system.toPlainText() == "Be brief." and not strip.buttons[0].isVisible()
    press(qtbot, strip, "held_out_expected")
    shown = strip.findChild(QLabel, "expected_answer")
    assert shown.isVisible() and shown.text() == row.expected
    press(qtbot, strip, "held_out_others")
    assert strip.buttons[1].isVisible() and strip.others.mapTo(tab, strip.others.rect().topLeft()) == place
    strip.buttons[1].click()
    ready(qtbot, tab)
    assert said(tab.panes[0])[0] == strip.buttons[1].row.question and len(said(tab.panes[0])) == 2, "a chat of its own"
    answered(qtbot, tab, "and then?")
    assert text(strip, "expected_answer") == strip.buttons[1].row.expected
    tab.new_chat()
    assert not strip.expect.isEnabled() and not shown.isVisible()


def test_a_run_that_repeats_itself_is_planned_more_gently(qtbot, tab, session, opened):
    answered(qtbot, tab, "repeat this")
    tuned, before = (pane.bubbles for pane in tab.panes)
    assert tuned.gently.isVisible() and before.penalty.isVisible() and not before.gently.isVisible()
    session.page_wanted.disconnect()  # there is no Training tab here
    with qtbot.waitSignal(session.page_wanted) as wanted:
        press(qtbot, tuned, "loop_train")
    assert wanted.args[:2] == ["training", "next.plan_again"] and wanted.args[2] == (opened, {"learning_rate": 1e-4})
    press(qtbot, tab, "blind")
    answered(qtbot, tab, "repeat that")
    assert tuned.loop.isVisible() and not tuned.gently.isVisible(), "it would tell which model was trained"
