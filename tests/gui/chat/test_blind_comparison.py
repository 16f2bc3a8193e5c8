"""Several models side by side, blind votes, their list, and the adapter's strength, with real child processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPlainTextEdit, QPushButton, QSlider, QSpinBox, QToolButton
from support import model_files

from slmstudio.core import paths
from slmstudio.core.data.reader import read_dataset
from slmstudio.core.votes import store as votes
from slmstudio.core.votes.store import ALL_BAD, ALL_GOOD, BEST, Answer, Vote, VotedModel
from slmstudio.core.votes.tally import Tally
from slmstudio.gui.chat.adapter_strength import AdapterStrength
from slmstudio.gui.chat.markdown_view import TextBlock
from slmstudio.gui.chat.tab import ChatTab
from slmstudio.gui.chat.vote_bar import place_name, score_text
from slmstudio.gui.votes.dialog import VotesDialog
from slmstudio.gui.votes.texts import verdict_text

BASE, TUNED = (VotedModel(name, f"/m/{name}.gguf", 1, name) for name in ("base", "tuned"))


@pytest.fixture
def models(tmp_path) -> list[Path]:
    """Four files that the fake worker takes for models."""
    found = [tmp_path / f"{name}.gguf" for name in ("tuned", "base", "third", "fourth")]
    for path in found:
        path.write_bytes(b"GGUF" + path.stem.encode())
    return found


@pytest.fixture
def tab(chat_tab: ChatTab) -> ChatTab:
    return chat_tab


def ready(qtbot, tab) -> None:
    qtbot.waitUntil(lambda: all(pane.state == "ready" for pane in tab.lanes.panes()), timeout=15_000)


def ask(qtbot, tab, question: str) -> None:
    editor = tab.findChild(QPlainTextEdit, "chat_input")
    editor.setPlainText(question)
    qtbot.keyClick(editor, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)


def press(qtbot, tab, name: str, kind: type = QPushButton) -> None:
    [button] = [each for each in tab.findChildren(kind, name) if each.isVisible()]
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def start(qtbot, tab, session, models, blind: bool = False) -> None:
    session.chat_requested.emit(models)
    ready(qtbot, tab)
    if blind:
        press(qtbot, tab, "blind")


def places(tab) -> list[str]:
    """The models from left to right, as they really stand."""
    tab.lanes.layout().activate()
    lanes = sorted(tab.lanes.shown(), key=lambda lane: lane.x())
    return [lane.pane.name for lane in lanes]


def vote(qtbot, tab, name: str) -> None:
    qtbot.waitUntil(lambda: any(each.isVisible() for each in tab.findChildren(QPushButton, name)), timeout=15_000)
    with qtbot.waitSignal(tab.comparison.voted, timeout=5000):
        press(qtbot, tab, name)


# -- several lanes -------------------------------------------------------------------------------------------


def test_four_models_answer_one_after_the_other(qtbot, tab, session, models):
    start(qtbot, tab, session, models)
    order: list[str] = []
    together: list[int] = []
    for pane in tab.panes:
        pane.answered.connect(lambda pane=pane: order.append(pane.name))
        pane.state_changed.connect(lambda: together.append(sum(each.state == "answering" for each in tab.panes)))
    ask(qtbot, tab, "hello")
    ready(qtbot, tab)
    assert list(dict.fromkeys(order)) == ["tuned", "base", "third", "fourth"] and max(together) == 1
    assert all(len(pane.lane.turns) == 2 for pane in tab.panes)
    assert not tab.findChild(QToolButton, "add_lane").isVisible(), "four is the most"


def test_lanes_come_and_go(qtbot, tab, session, models):
    start(qtbot, tab, session, models[:1])
    assert not tab.findChild(QToolButton, "add_lane").isVisible()
    assert not tab.findChild(QPushButton, "blind").isVisible()
    tab._offer([(path.stem, path) for path in models])
    press(qtbot, tab, "compare")
    ready(qtbot, tab)
    assert [path.stem for path in tab.lanes.models()] == ["tuned", "fourth"], "the base stands last in the list"
    press(qtbot, tab, "add_lane", QToolButton)
    ready(qtbot, tab)
    assert [path.stem for path in tab.lanes.models()] == ["tuned", "fourth", "third"]
    assert tab.lanes.lanes[2].choice.currentText() == "third"
    press(qtbot, tab, "remove_lane", QToolButton)
    assert tab.lanes.count == 2 and tab.panes[2]._thread is None
    press(qtbot, tab, "compare")
    assert tab.lanes.count == 1 and tab.panes[1]._thread is None
    qtbot.waitUntil(lambda: tab.choices[0].isVisible() and not tab.choices[1].isVisible(), timeout=5000)


def test_it_says_what_several_models_need(qtbot, tab, session, tmp_path):
    files = [tmp_path / f"{name}.gguf" for name in ("one", "two")]
    for path in files:
        path.write_bytes(model_files.small_gguf())
    start(qtbot, tab, session, files[:1])
    tab._offer([(path.stem, path) for path in files])
    press(qtbot, tab, "compare")
    qtbot.waitUntil(lambda: "2 models need about" in tab.input.note.text(), timeout=5000)
    assert "is free" in tab.input.note.text()
    ready(qtbot, tab)


def test_a_saved_comparison_opens_with_all_its_lanes(qtbot, tab, session, models):
    start(qtbot, tab, session, models[:3])
    ask(qtbot, tab, "hello")
    ready(qtbot, tab)
    qtbot.waitUntil(lambda: len(list(paths.chats_dir().glob("*.json"))) == 1, timeout=5000)
    [file] = paths.chats_dir().glob("*.json")
    session.chat_requested.emit(models[3:])
    ready(qtbot, tab)
    tab._open(file)
    ready(qtbot, tab)
    assert [pane.name for pane in tab.lanes.panes()] == ["tuned", "base", "third"]
    assert all(len(pane.lane.turns) == 2 for pane in tab.lanes.panes())


# -- blind ---------------------------------------------------------------------------------------------------


def test_names_are_hidden_until_the_vote_which_is_kept(qtbot, tab, session, models):
    start(qtbot, tab, session, models[:2], blind=True)
    tab.settings.system.setPlainText("Be kind.")
    ask(qtbot, tab, "hello")
    lanes = tab.lanes.shown()
    assert {lane.mask_name.text() for lane in lanes} == {"Left", "Right"}
    assert not any(lane.choice.isVisible() or lane.pane.line.isVisible() for lane in lanes)
    assert not any(lane.pane.bubbles.isVisible() for lane in lanes), "speed would tell who it is"
    qtbot.waitUntil(lambda: tab.findChild(QPushButton, "vote_1") is not None, timeout=15_000)
    assert all(lane.pane.bubbles.isVisible() for lane in lanes)
    shown = " ".join(label.text() for lane in lanes for label in lane.findChildren(type(lane.mask_name))
                     if label.isVisible())
    assert "tuned" not in shown and "base" not in shown and "tokens/s" not in shown
    stood = places(tab)
    assert votes.read() == ([], 0)
    vote(qtbot, tab, "vote_1")
    assert [lane.mask_name.text() for lane in lanes] == ["", ""] and all(lane.choice.isVisible() for lane in lanes)
    [kept], damaged = votes.read()
    assert kept.answers[kept.best].model.name == stood[1] and kept.blind and damaged == 0
    assert kept.order == votes.shuffled(2, kept.seed) and [kept.answers[i].model.name for i in kept.order] == stood
    assert kept.answers[0].messages == ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello"})
    assert kept.answers[0].text == "**नमस्ते** दुनिया, you asked: hello" and kept.settings["temperature"] == 0.3
    assert kept.answers[0].model.bytes == models[0].stat().st_size
    text = tab.votes.text.text()
    assert f"Left: {stood[0]} · Right: {stood[1]}" in text and f"{stood[1]} 1" in text and "more votes" in text


def test_lanes_are_shuffled_anew_for_each_question(qtbot, tab, session, models):
    start(qtbot, tab, session, models, blind=True)
    stood, verdicts = set(), ["vote_good", "vote_bad", "vote_0", "vote_3"]
    for number, name in enumerate(verdicts):
        ask(qtbot, tab, f"question {number}")
        stood.add(tuple(places(tab)))
        vote(qtbot, tab, name)
        assert [turn.content for turn in tab.panes[0].lane.turns if turn.role == "user"] == [f"question {number}"]
    found, _ = votes.read()
    assert [each.verdict for each in found] == [ALL_GOOD, ALL_BAD, BEST, BEST]
    assert [each.order.index(each.best) for each in found[2:]] == [0, 3], "the place is the one that was pressed"
    assert len({each.seed for each in found}) == 4 and len(stood) > 1
    assert {path.name for path in paths.chats_dir().glob("*.json")}, "each question's conversation is kept"


def stop_in(qtbot, tab, place: int) -> None:
    """Stop while the answer in this place is being written."""
    pane = tab.lanes.in_order()[place]
    qtbot.waitUntil(lambda: pane.state == "answering" and len(pane.bubbles.bubbles[-1].content) > 20, timeout=15_000)
    press(qtbot, tab, "chat_stop")
    assert tab.votes.isVisible() and "nothing to vote on" in tab.votes.text.text()
    assert not tab.comparison.masked and all(lane.choice.isVisible() for lane in tab.lanes.shown())
    assert votes.read() == ([], 0)


def test_stop_asks_for_no_vote(qtbot, tab, session, models):
    start(qtbot, tab, session, models[:2], blind=True)
    tab.settings.rows["max_tokens"].slider.setValue(16)
    for place in (0, 1, 1, 0):
        ask(qtbot, tab, "long story")
        assert [pane.state for pane in tab.lanes.in_order()] == ["answering", "waiting"], "from left to right"
        stop_in(qtbot, tab, place)


def test_a_model_that_dies_is_said_and_not_voted_on(qtbot, tab, session, models):
    start(qtbot, tab, session, models[:2], blind=True)
    ask(qtbot, tab, "die now")
    qtbot.waitUntil(lambda: all(pane.state == "failed" for pane in tab.lanes.panes()), timeout=15_000)
    assert not tab.comparison.masked and not tab.findChildren(QPushButton, "vote_0")
    assert all(pane.banner.isVisible() for pane in tab.lanes.panes())


def test_a_vote_that_cannot_be_kept_can_be_given_again(qtbot, tab, session, models):
    start(qtbot, tab, session, models[:2], blind=True)
    paths.votes_file().mkdir(parents=True)
    ask(qtbot, tab, "hello")
    qtbot.waitUntil(lambda: tab.findChild(QPushButton, "vote_0") is not None, timeout=15_000)
    press(qtbot, tab, "vote_0")
    qtbot.waitUntil(tab.banner.isVisible, timeout=5000)
    assert "keep the vote" in tab.banner._what.text() and tab.comparison.masked
    paths.votes_file().rmdir()
    vote(qtbot, tab, "vote_0")
    assert len(votes.read()[0]) == 1


def test_another_answer_is_not_drawn_while_names_are_hidden(qtbot, tab, session, models):
    start(qtbot, tab, session, models[:2], blind=True)
    ask(qtbot, tab, "hello")
    qtbot.waitUntil(lambda: tab.findChild(QPushButton, "vote_0") is not None, timeout=15_000)
    pane = tab.panes[0]
    pane.acted.emit("again", pane.lane.turns[1])
    pane.acted.emit("correct", pane.lane.turns[1])
    assert pane.state == "ready" and not tab.correct.isVisible()
    vote(qtbot, tab, "vote_good")
    pane.acted.emit("correct", pane.lane.turns[1])
    assert tab.correct.isVisible() and not tab.input.isVisible()
    assert tab.correct.question.text() == "hello"
    press(qtbot, tab, "correct_close", QToolButton)
    assert tab.input.isVisible()


def test_a_late_vote_does_not_tell_the_names_of_the_next_question(qtbot, tab, session, models):
    start(qtbot, tab, session, models[:2], blind=True)
    ask(qtbot, tab, "hello")
    vote(qtbot, tab, "vote_0")
    ask(qtbot, tab, "again")
    qtbot.waitUntil(lambda: tab.findChild(QPushButton, "vote_bad") is not None, timeout=15_000)
    tab.comparison._kept((votes.read()[0][0], []))
    assert tab.comparison.masked and not any(lane.choice.isVisible() for lane in tab.lanes.shown())
    vote(qtbot, tab, "vote_bad")
    assert [each.verdict for each in votes.read()[0]] == [BEST, ALL_BAD]


def test_another_model_ends_the_comparison(qtbot, tab, session, models, drop):
    start(qtbot, tab, session, models[:2], blind=True)
    ask(qtbot, tab, "hello")
    qtbot.waitUntil(lambda: tab.findChild(QPushButton, "vote_0") is not None, timeout=15_000)
    drop(tab, [models[2]])
    ready(qtbot, tab)
    assert not tab.comparison.masked and not any(
        button.isVisible() for button in tab.findChildren(QPushButton, "vote_0"))


def test_leaving_blind_shows_the_names(qtbot, tab, session, models):
    start(qtbot, tab, session, models[:2], blind=True)
    ask(qtbot, tab, "hello")
    qtbot.waitUntil(lambda: tab.findChild(QPushButton, "vote_0") is not None, timeout=15_000)
    press(qtbot, tab, "blind")
    assert not tab.votes.isVisible() and places(tab) == ["tuned", "base"]
    press(qtbot, tab, "blind")
    assert "Ask something" in tab.votes.text.text() and not any(
        button.isVisible() for button in tab.findChildren(QPushButton, "vote_0"))
    assert all(lane.choice.isVisible() for lane in tab.lanes.shown())


def test_every_control_is_explained(qtbot, tab, session, models, unexplained):
    start(qtbot, tab, session, models[:3], blind=True)
    ask(qtbot, tab, "hello")
    qtbot.waitUntil(lambda: tab.findChild(QPushButton, "vote_0") is not None, timeout=15_000)
    assert unexplained(tab) == []


def test_buttons_below_an_answer_open_the_panel(qtbot, tab, session, models):
    start(qtbot, tab, session, models[:1])
    tab.settings.system.setPlainText("Be kind.")
    ask(qtbot, tab, "hello")
    ready(qtbot, tab)
    tab.settings.system.setPlainText("Be rude.")
    press(qtbot, tab, "correct_message", QToolButton)
    assert tab.correct.isVisible() and tab.correct.title.text() == "Correct this answer"
    assert tab.correct.rows()[0][1].messages[0] == {"role": "system", "content": "Be kind."}, "what it was asked with"
    press(qtbot, tab, "test_message", QToolButton)
    assert tab.correct.title.text() == "Add to a test set"
    press(qtbot, tab, "correct_add")
    qtbot.waitUntil(lambda: "tests.jsonl has 1 row now" in tab.correct.note.text(), timeout=5000)
    tab.new_chat()
    assert not tab.correct.isVisible() and tab.input.isVisible()


# -- words and the list --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wins", "words"), [
    ([0, 0], "No vote prefers"), ([4, 4], "8 votes: as many for the one"),
    ([3, 9], "12 votes: tuned wins 9 of 12. Chance alone makes such a difference 15 % of the time. About 5 more votes"),
    ([1, 10], "tuned wins 10 of 11. Chance alone makes such a difference 1.2 % of the time, so it is hardly chance."),
    ([30, 0], "less than 0.1 %"), ([501, 500], "Even 2,000 more votes would hardly"),
    ([1, 0], "1 vote: base wins 1 of 1"),
])
def test_the_sentence_is_honest(wins, words):
    assert words in verdict_text(Tally(BASE, TUNED, wins))


def test_a_text_is_no_higher_than_it_must_be(qtbot):
    """An answer that was narrow while it was written is not left with empty room around it."""
    block = TextBlock("<p>नमस्ते दुनिया, this is a line of text that is wrapped where it is narrow.</p>")
    qtbot.addWidget(block)
    block.fit(900)
    height = block.height()
    block.fit(80)
    assert block.height() > 2 * height
    block.fit(900)
    assert block.height() == height


def test_the_score():
    assert score_text(Tally(BASE, TUNED, [3, 9], 1, 1)) == "base 3 · tuned 9 · ties 2"
    assert [place_name(place, 3) for place in range(3)] == ["A", "B", "C"]


def test_the_list_of_votes_and_its_export(qtbot, studio_home, session, tmp_path):
    asked = ({"role": "user", "content": "राशन कार्ड?"},)
    for number, (verdict, best) in enumerate([(BEST, 1), (BEST, 1), (BEST, 0), (ALL_BAD, None)]):
        votes.add(Vote(1.0, (Answer(BASE, asked, f"no {number}"), Answer(TUNED, asked, f"yes {number}")), 1, (0, 1),
                       verdict, best, True))
    with open(paths.votes_file(), "a", encoding="utf-8") as file:
        file.write("{broken\n")
    dialog = VotesDialog()
    qtbot.addWidget(dialog)
    dialog.show()
    qtbot.waitUntil(lambda: dialog.table.rowCount() == 1, timeout=5000)
    assert [dialog.table.item(0, column).text() for column in range(6)] == ["base", "1", "tuned", "2", "0", "1"]
    assert "3 votes: tuned wins 2 of 3" in dialog.sentence.text()
    assert dialog.note.text() == "4 votes, kept on this machine. 1 damaged line of the file was skipped."
    dialog.export_to(tmp_path / "pairs.jsonl", dialog._chosen())
    qtbot.waitUntil(lambda: "written to pairs.jsonl" in dialog.note.text(), timeout=5000)
    found = read_dataset(tmp_path / "pairs.jsonl")
    assert [(row.messages[-1]["content"], row.rejected) for row in found.records] == [
        ("yes 0", "no 0"), ("yes 1", "no 1"), ("no 2", "yes 2")]
    dialog.export_to(tmp_path / "gone" / "x" / "pairs.jsonl", None)
    qtbot.waitUntil(lambda: (tmp_path / "gone" / "x" / "pairs.jsonl").exists(), timeout=5000)
    (tmp_path / "file").write_text("")
    dialog.export_to(tmp_path / "file" / "pairs.jsonl", None)
    qtbot.waitUntil(dialog.banner.isVisible, timeout=5000)


def test_an_empty_list_says_what_to_do(qtbot, studio_home, session, unexplained):
    dialog = VotesDialog()
    qtbot.addWidget(dialog)
    dialog.show()
    qtbot.waitUntil(lambda: "no votes yet" in dialog.note.text(), timeout=5000)
    assert not dialog.export.isEnabled() and not dialog.export_all.isEnabled()
    assert unexplained(dialog) == []


# -- the adapter's strength ----------------------------------------------------------------------------------


@pytest.fixture
def with_adapter(tmp_path, studio_home) -> tuple[Path, Path]:
    """A base model and an adapter that fits it, exported by a run."""
    base = tmp_path / "base.gguf"
    base.write_bytes(model_files.gguf({"general.architecture": "llama"}, {"blk.0.attn_q.weight": (0, (8, 16), 512)}))
    lora = paths.runs_dir() / "helpdesk" / "exports" / "helpdesk-lora.gguf"
    lora.parent.mkdir(parents=True)
    lora.write_bytes(model_files.gguf(
        {"general.type": "adapter", "adapter.type": "lora", "general.architecture": "llama"},
        {"blk.0.attn_q.weight.lora_a": (0, (8, 2), 64), "blk.0.attn_q.weight.lora_b": (0, (2, 16), 128)}))
    return base, lora.resolve()


def test_the_strength_is_offered_only_where_an_adapter_fits(qtbot, tab, session, models, with_adapter):
    base, lora = with_adapter
    start(qtbot, tab, session, [base])
    strength = tab.findChildren(AdapterStrength)[0]
    qtbot.waitUntil(strength.isVisible, timeout=5000)
    pane = tab.panes[0]
    assert strength.name.text() == "helpdesk-lora on base" and strength.slider.value() == 0 and pane.adapter is None
    tab.findChild(QSlider, "adapter_strength").setValue(75)
    assert tab.findChild(QSpinBox, "adapter_percent").value() == 75
    qtbot.waitUntil(lambda: (pane.adapter, pane.strength) == (lora, 0.75), timeout=5000)
    tab.findChild(QSpinBox, "adapter_percent").setValue(150)
    qtbot.waitUntil(lambda: pane.strength == 1.5, timeout=5000)
    ask(qtbot, tab, "hello")
    ready(qtbot, tab)
    assert pane.lane.turns[1].figures["strength"] == 1.5
    assert pane.bubbles.bubbles[1].figures.text().endswith("adapter 150 %")
    tab.settings.context_changed.emit()
    assert pane.strength == 0
    qtbot.waitUntil(lambda: (pane.adapter, pane.strength) == (lora, 1.5), timeout=5000)
    assert strength.slider.value() == 150 and strength.isVisible()
    assert tab.settings._strength_title.isVisible()
    press(qtbot, tab, "reset_sampling", QToolButton)
    qtbot.waitUntil(lambda: pane.strength == 0, timeout=5000)
    assert strength.percent.value() == 0
    session.chat_requested.emit(models[:1])
    ready(qtbot, tab)
    qtbot.waitUntil(lambda: not strength.isVisible(), timeout=5000)
    assert not tab.settings._strength_title.isVisible()
    assert pane.adapter is None and pane.strength == 0


def test_a_vote_is_for_the_strength_that_answered(qtbot, tab, session, models, with_adapter):
    base, _ = with_adapter
    start(qtbot, tab, session, [base, models[1]], blind=True)
    strength = tab.findChildren(AdapterStrength)[0]
    qtbot.waitUntil(strength.isVisible, timeout=5000)
    strength.slider.setValue(100)
    qtbot.waitUntil(lambda: tab.panes[0].strength == 1.0, timeout=5000)
    ask(qtbot, tab, "hello")
    qtbot.waitUntil(lambda: tab.findChild(QPushButton, "vote_0") is not None, timeout=15_000)
    strength.slider.setValue(50)
    qtbot.waitUntil(lambda: tab.panes[0].strength == 0.5, timeout=5000)
    vote(qtbot, tab, "vote_good")
    [kept], _ = votes.read()
    assert kept.answers[0].model.name == "base + helpdesk-lora 100%" and kept.answers[0].model.strength == 1.0
    assert len(kept.answers[0].model.adapter_sha256) == 64 and kept.answers[1].model.adapter_sha256 == ""


def test_the_slider_shows_what_the_worker_says(qtbot, tab, session, with_adapter):
    start(qtbot, tab, session, with_adapter[:1])
    strength = tab.findChildren(AdapterStrength)[0]
    qtbot.waitUntil(strength.isVisible, timeout=5000)
    strength.slider.setValue(100)
    qtbot.waitUntil(lambda: tab.panes[0].strength == 1.0, timeout=5000)
    tab.panes[0].set_adapter(None, 0)
    qtbot.waitUntil(lambda: tab.panes[0].adapter is None, timeout=5000)
    assert strength.slider.value() == 0 and strength.percent.value() == 0
