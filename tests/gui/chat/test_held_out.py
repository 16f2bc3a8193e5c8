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
    run = make_run("helpdesk")
    hold_out(run, [asked(f"question {n}", f"answer {n}", "Be brief.", n) for n in range(5)])
    session.open_run_chat(run)
    qtbot.waitUntil(lambda: tab.lanes.count == 2 and tab.talk.held_out.isVisible())
    ready(qtbot, tab)
    return run


def test_a_run_beside_its_base_is_named_and_asked_what_it_never_learned(qtbot, tab, opened, unexplained):
    strip, lanes = tab.talk.held_out, tab.lanes.shown()
    assert [lane.title.text() for lane in lanes] == ["Tuned", "Before"]
    assert lanes[0].title.toolTip() == "helpdesk" and all(lane.choice.isVisible() for lane in lanes)
    offered = [button.accessibleName() for button in strip.buttons]
    assert len(set(offered)) == 3 and not strip.expect.isEnabled() and unexplained(tab) == []
    place = strip.others.mapTo(tab, strip.others.rect().topLeft())
    press(qtbot, strip, "held_out_others")
    assert set(offered) < {*offered, *(button.accessibleName() for button in strip.buttons)}
    row = strip.buttons[0].accessibleName()
    strip.buttons[0].click()
    ready(qtbot, tab)
    assert [said(pane)[0] for pane in tab.panes] == [row] * 2
    assert tab.settings.system.toPlainText() == "Be brief." and not strip.buttons[0].isVisible()
    press(qtbot, strip, "held_out_expected")
    shown = strip.findChild(QLabel, "expected_answer")
    assert shown.isVisible() and shown.text() == row.replace("question", "answer")
    press(qtbot, strip, "held_out_others")
    assert strip.buttons[1].isVisible() and strip.others.mapTo(tab, strip.others.rect().topLeft()) == place
    asked_then = strip.buttons[1].accessibleName()
    strip.buttons[1].click()
    ready(qtbot, tab)
    assert said(tab.panes[0])[0] == asked_then and len(said(tab.panes[0])) == 2, "a chat of its own"
    assert text(strip, "expected_answer") == asked_then.replace("question", "answer")
    answered(qtbot, tab, "and then?")
    assert not shown.isVisible() and not strip.expect.isEnabled(), "that question isn't a row's"
    tab.new_chat()
    assert not strip.expect.isEnabled() and not shown.isVisible()
