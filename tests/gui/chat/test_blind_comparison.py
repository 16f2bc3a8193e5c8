"""Several models side by side, and blind votes, with real child processes."""

from __future__ import annotations

import pytest
from PySide6.QtWidgets import QPushButton, QToolButton, QWidgetItem
from shiboken6 import getAllValidWrappers
from support import model_files
from support.chat_window import answered, ask, can_vote, ready, start, vote
from support.window import press, text, texts

from slmstudio.core import paths
from slmstudio.core.votes import store as votes
from slmstudio.core.votes.store import ALL_BAD, ALL_GOOD, BEST


def places(tab) -> list[str]:
    """The models from left to right, as they really stand."""
    tab.lanes.layout().activate()
    return [lane.pane.name for lane in sorted(tab.lanes.shown(), key=lambda lane: lane.x())]


def names_are_shown(tab) -> bool:
    """All of them, and nothing is to be voted on."""
    assert not any(each.isVisible() for each in tab.findChildren(QPushButton, "vote_0"))
    return not tab.comparison.masked and all(lane.choice.isVisible() for lane in tab.lanes.shown())


# -- several lanes -------------------------------------------------------------------------------------------


def test_four_models_answer_one_after_the_other(qtbot, tab, session, models):
    start(qtbot, tab, session, models)
    order: list[str] = []
    together: list[int] = []
    for pane in tab.panes:
        pane.answered.connect(lambda pane=pane: order.append(pane.name))
        pane.state_changed.connect(lambda: together.append(sum(each.state == "answering" for each in tab.panes)))
    answered(qtbot, tab, "hello")
    assert list(dict.fromkeys(order)) == ["tuned", "base", "third", "fourth"] and max(together) == 1
    assert all(len(pane.lane.turns) == 2 for pane in tab.panes)
    assert not tab.findChild(QToolButton, "add_lane").isVisible(), "four is the most"


def test_lanes_come_and_go(qtbot, tab, session, models):
    start(qtbot, tab, session, models[:1])
    assert not tab.findChild(QToolButton, "add_lane").isVisible()
    assert not tab.findChild(QPushButton, "blind").isVisible()
    tab.choices[0].set_models([(path.stem, path) for path in models])
    press(qtbot, tab, "compare")
    ready(qtbot, tab)
    assert [path.stem for path in tab.lanes.models()] == ["tuned", "fourth"], "the base stands last in the list"
    press(qtbot, tab, "add_lane")
    ready(qtbot, tab)
    assert [path.stem for path in tab.lanes.models()] == ["tuned", "fourth", "third"]
    assert tab.lanes.lanes[2].choice.currentText() == "third"
    press(qtbot, tab, "remove_lane")
    assert tab.lanes.count == 2 and tab.panes[2].state == "empty"
    press(qtbot, tab, "compare")
    assert tab.lanes.count == 1 and tab.panes[1].state == "empty"
    qtbot.waitUntil(lambda: tab.choices[0].isVisible() and not tab.choices[1].isVisible())


def test_python_keeps_no_item_of_a_models_list_that_moves(tab):
    """Qt deletes the item then; what comes to lie at its address, as a style, PySide would take for the item."""
    items = [each for each in getAllValidWrappers() if type(each) is QWidgetItem]
    rows = [tab.middle.header, *(lane.head for lane in tab.lanes.lanes)]
    places = [(row, row.indexOf(choice)) for row in rows for choice in tab.choices if row.indexOf(choice) >= 0]
    assert len(places) == 2 and not [row for row, place in places if any(row.indexOf(each) == place for each in items)]


def test_it_says_what_several_models_need(qtbot, tab, session, tmp_path):
    files = [tmp_path / f"{name}.gguf" for name in ("one", "two")]
    for path in files:
        path.write_bytes(model_files.small_gguf())
    start(qtbot, tab, session, files)
    tab.choices[0].set_models([(path.stem, path) for path in files])
    press(qtbot, tab, "compare")
    press(qtbot, tab, "compare")
    qtbot.waitUntil(lambda: text(tab, "chat_note").startswith("2 models need about"))
    ready(qtbot, tab)


def test_a_saved_comparison_opens_with_all_its_lanes(qtbot, tab, session, models):
    start(qtbot, tab, session, models[:3])
    answered(qtbot, tab, "hello")
    qtbot.waitUntil(lambda: len(list(paths.chats_dir().glob("*.json"))) == 1)
    [file] = paths.chats_dir().glob("*.json")
    start(qtbot, tab, session, models[3:])
    tab.saved.opened.emit(file, "")
    ready(qtbot, tab)
    assert [pane.name for pane in tab.lanes.panes()] == ["tuned", "base", "third"]
    assert all(len(pane.lane.turns) == 2 for pane in tab.lanes.panes())


# -- blind ---------------------------------------------------------------------------------------------------


def test_names_are_hidden_until_the_vote_which_is_kept(qtbot, tab, session, models, unexplained):
    start(qtbot, tab, session, models[:2], blind=True)
    tab.settings.system.setPlainText("Be kind.")
    ask(qtbot, tab, "hello")
    lanes = tab.lanes.shown()
    assert {lane.title.text() for lane in lanes} == {"Left", "Right"}
    assert not any(lane.choice.isVisible() or lane.pane.line.isVisible() for lane in lanes)
    assert not any(lane.pane.bubbles.isVisible() for lane in lanes), "speed would tell who it is"
    can_vote(qtbot, tab)
    assert unexplained(tab) == [] and all(lane.pane.bubbles.isVisible() for lane in lanes)
    shown = " ".join(map(texts, lanes))
    assert "tuned" not in shown and "base" not in shown and "tokens/s" not in shown
    stood = places(tab)
    assert votes.read() == ([], 0)
    vote(qtbot, tab, "vote_1")
    assert [lane.title.text() for lane in lanes] == ["", ""] and all(lane.choice.isVisible() for lane in lanes)
    [kept], damaged = votes.read()
    assert kept.answers[kept.best].model.name == stood[1] and kept.blind and damaged == 0
    assert kept.order == votes.shuffled(2, kept.seed) and [kept.answers[i].model.name for i in kept.order] == stood
    assert kept.answers[0].messages == ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello"})
    assert kept.answers[0].text == "**नमस्ते** दुनिया, you asked: hello" and kept.settings["temperature"] == 0.3
    assert kept.answers[0].model.bytes == models[0].stat().st_size
    told = text(tab, "vote_text")
    assert f"Left: {stood[0]} · Right: {stood[1]}" in told and f"{stood[1]} 1" in told


def test_lanes_are_shuffled_anew_for_each_question(qtbot, tab, session, models):
    start(qtbot, tab, session, models, blind=True)
    stood, verdicts = set(), ["vote_good", "vote_bad", "vote_0", "vote_3"]
    for number, name in enumerate(verdicts):
        ask(qtbot, tab, f"question {number}")
        stood.add(tuple(places(tab)))
        assert {lane.title.text() for lane in tab.lanes.shown()} == set("ABCD")
        vote(qtbot, tab, name)
        assert [turn.content for turn in tab.panes[0].lane.turns if turn.role == "user"] == [f"question {number}"]
    found, _ = votes.read()
    assert [each.verdict for each in found] == [ALL_GOOD, ALL_BAD, BEST, BEST]
    assert [each.order.index(each.best) for each in found[2:]] == [0, 3], "the place is the one that was pressed"
    assert len({each.seed for each in found}) == 4 and len(stood) > 1
    assert {path.name for path in paths.chats_dir().glob("*.json")}, "each question's conversation is kept"


def test_stop_asks_for_no_vote(qtbot, tab, session, models):
    start(qtbot, tab, session, models[:2], blind=True)
    tab.settings.rows["max_tokens"].slider.setValue(16)
    for place in (0, 1, 1, 0):
        ask(qtbot, tab, "long story")
        panes = tab.lanes.in_order()
        assert [pane.state for pane in panes] == ["answering", "waiting"], "from left to right"
        qtbot.waitUntil(lambda pane=panes[place]: pane.state == "answering"
                        and len(pane.bubbles.bubbles[-1].content) > 20)
        press(qtbot, tab, "chat_stop")
        assert tab.votes.isVisible() and names_are_shown(tab) and votes.read() == ([], 0)


def test_a_model_that_dies_is_said_and_not_voted_on(qtbot, tab, session, models):
    start(qtbot, tab, session, models[:2], blind=True)
    ask(qtbot, tab, "die now")
    qtbot.waitUntil(lambda: all(pane.state == "failed" for pane in tab.lanes.panes()))
    assert names_are_shown(tab) and all(pane.banner.isVisible() for pane in tab.lanes.panes())


def test_a_vote_that_cannot_be_kept_can_be_given_again(qtbot, tab, session, models):
    start(qtbot, tab, session, models[:2], blind=True)
    paths.votes_file().mkdir(parents=True)
    ask(qtbot, tab, "hello")
    can_vote(qtbot, tab)
    press(qtbot, tab, "vote_0")
    qtbot.waitUntil(tab.banner.isVisible)
    assert tab.comparison.masked
    paths.votes_file().rmdir()
    vote(qtbot, tab, "vote_0")
    assert len(votes.read()[0]) == 1


def test_another_answer_is_not_drawn_while_names_are_hidden(qtbot, tab, session, models):
    start(qtbot, tab, session, models[:2], blind=True)
    ask(qtbot, tab, "hello")
    can_vote(qtbot, tab)
    pane = tab.panes[0]
    pane.acted.emit("again", pane.lane.turns[1])
    pane.acted.emit("correct", pane.lane.turns[1])
    assert pane.state == "ready" and not tab.correct.isVisible()
    vote(qtbot, tab, "vote_good")
    pane.acted.emit("correct", pane.lane.turns[1])
    assert tab.correct.isVisible() and not tab.input.isVisible() and tab.correct.question.text() == "hello"
    press(qtbot, tab, "correct_close")
    assert tab.input.isVisible()


def test_a_late_vote_does_not_tell_the_names_of_the_next_question(qtbot, tab, session, models, monkeypatch):
    start(qtbot, tab, session, models[:2], blind=True)
    ask(qtbot, tab, "hello")
    can_vote(qtbot, tab)
    with qtbot.waitSignal(tab.comparison.voted):
        press(qtbot, tab, "vote_0")
        ask(qtbot, tab, "again")  # before the vote is kept
    assert tab.comparison.masked and not any(lane.choice.isVisible() for lane in tab.lanes.shown())
    vote(qtbot, tab, "vote_bad")
    assert [each.verdict for each in votes.read()[0]] == [BEST, ALL_BAD]


@pytest.mark.parametrize("end", ["another model", "not blind"])
def test_what_ends_the_comparison_shows_the_names(qtbot, tab, session, models, drop, end):
    start(qtbot, tab, session, models[:2], blind=True)
    ask(qtbot, tab, "hello")
    can_vote(qtbot, tab)
    if end == "another model":
        drop(tab, [models[2]])
        ready(qtbot, tab)
    else:
        press(qtbot, tab, "blind")
        assert not tab.votes.isVisible() and places(tab) == ["tuned", "base"]
        press(qtbot, tab, "blind")
        assert text(tab, "vote_text")
    assert names_are_shown(tab)


def test_buttons_below_an_answer_open_the_panel(qtbot, tab, session, models):
    start(qtbot, tab, session, models[:1])
    tab.settings.system.setPlainText("Be kind.")
    answered(qtbot, tab, "hello")
    tab.settings.system.setPlainText("Be rude.")
    press(qtbot, tab, "correct_message")
    assert tab.correct.isVisible() and tab.correct.as_row.isVisible()
    assert tab.correct.rows()[0][1].messages[0] == {"role": "system", "content": "Be kind."}, "what it was asked with"
    press(qtbot, tab, "test_message")
    assert tab.correct.test_file.isVisible()
    press(qtbot, tab, "correct_add")
    qtbot.waitUntil(lambda: text(tab, "correct_note").startswith("tests.jsonl"))
    press(qtbot, tab, "new_chat")
    assert not tab.correct.isVisible() and tab.input.isVisible()
