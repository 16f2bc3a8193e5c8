"""Watch it learn: the newest answers, the earlier ones, and what stands there before the first."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QScrollArea, QToolButton
from support import training_window
from support.shown_texts import cut
from support.training_window import ENDLESS, button, commands, wait_for_steps
from support.window import press, show_widget

from slmstudio.core.data import reader
from slmstudio.core.model import facts
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.training.run_feed import RunFeed
from slmstudio.gui.training.watch_panel import SampleAnswers

tab, planned, run = training_window.tab, training_window.planned, training_window.run
CONFIG = RunConfig(name="n", model="m", train_file="t", eval_steps=20)


@pytest.fixture
def watch(qtbot, qapp) -> SampleAnswers:
    return show_widget(qtbot, SampleAnswers(), 270, 320)


def sample(step: int, *answers: str, reference: str | None = None) -> dict:
    return {"type": "sample", "global_step": step, "seconds": 0.1, "samples": [
        {"prompt": f"प्रश्न {n}?", "answer": answer, "reference": reference} for n, answer in enumerate(answers)]}


def fold(*events: dict) -> RunHistory:
    history = RunHistory()
    for event in events:
        history.add(event)
    return history


def answers(watch: SampleAnswers) -> list[str]:
    return [bubble.text.text() for bubble in watch.answers.bubbles[1::2]]


def test_before_the_first_answer_it_says_when_that_comes(watch):
    assert "fixed questions" in watch.waiting.text()
    watch.update_from(RunHistory(), CONFIG, True)
    assert "before the first step" in watch.waiting.text() and "step 20" in watch.waiting.text()
    history = fold({"type": "plan", "total_steps": 100}, {"type": "step", "global_step": 45, "train_loss": 1.0})
    watch.update_from(history, CONFIG, True)
    assert "step 60" in watch.waiting.text() and watch.now.isEnabled()
    watch.update_from(history, CONFIG, False)
    assert "No answers were recorded" in watch.waiting.text() and not watch.now.isVisible()
    watch.update_from(history, RunConfig(name="n", model="m", train_file="t", sample_max_tokens=0), True)
    assert "asks no questions" in watch.waiting.text()


@pytest.mark.parametrize("panel", [SampleAnswers, RunFeed])
def test_where_there_is_little_room_what_it_says_before_the_run_scrolls(qtbot, qapp, session, panel):
    made = panel()
    qtbot.addWidget(made)
    made.resize(made.minimumSizeHint())
    with qtbot.waitExposed(made):
        made.show()
    qapp.processEvents()
    assert list(cut(made)) == []
    area, = (each for each in made.findChildren(QScrollArea) if each.isVisible())
    assert area.accessibleName()
    made.activateWindow()
    area.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.waitUntil(area.hasFocus)
    assert area.verticalScrollBar().maximum() > 0
    qtbot.keyClick(area, Qt.Key.Key_Down)
    assert area.verticalScrollBar().value() > 0


def test_the_newest_answers_and_the_earlier_ones(qtbot, watch):
    history = fold(sample(0, "?", "??", reference="आवेदन के 7 दिन।"))
    watch.update_from(history, CONFIG, True)
    assert answers(watch) == ["?", "??"] and not watch.slider.isVisible()
    history.add(sample(20, "சான்றிதழ்", ""))
    history.add(sample(40, "৭ দিন", "seven days"))
    watch.update_from(history, CONFIG, True)
    assert answers(watch) == ["৭ দিন", "seven days"] and watch.step.text() == "step 40"
    qtbot.mouseClick(watch.findChild(QToolButton, "watch_earlier"), Qt.MouseButton.LeftButton)
    assert answers(watch) == ["சான்றிதழ்", "(empty answer)"] and watch.step.text() == "step 20"
    watch.slider.setValue(0)
    assert not watch.earlier.isEnabled() and "Reference: आवेदन के 7 दिन।" in [
        label.text() for label in watch.answers.widget().findChildren(type(watch.step))]
    history.add(sample(60, "7 दिन", "7"))
    watch.update_from(history, CONFIG, True)
    assert watch.step.text() == "step 0", "who looks at an earlier answer is not taken away from it"
    watch.slider.setValue(3)
    history.add(sample(80, "सात दिन", "7"))
    watch.update_from(history, CONFIG, True)
    assert watch.step.text() == "step 80" and answers(watch)[0] == "सात दिन"


def test_before_and_after_are_seen_together_at_1280_by_720(qtbot, tab, session, tiny_model, rows_file):
    session.set_model(facts.read_model(tiny_model))
    session.set_dataset(reader.read_dataset(rows_file))  # so that the columns are shown
    tab.resize(1280, 632)
    before = ("Please visit the office of your ward with the form and two photographs of the kind that is asked for. "
              "Fees are paid there in cash. " * 2)[:190]
    after = "Apply online, pay 50 rupees and wait 7 days. " * 4
    history = fold(sample(0, before), sample(20, after, reference="आवेदन के 7 दिन।"))
    tab.watch.update_from(history, CONFIG, True)
    area, label = tab.watch.answers, tab.watch.findChild(QLabel, "watch_before")
    assert before[:150] in label.text().replace("\u200b", "")
    bubble = area.bubbles[1]
    qtbot.waitUntil(lambda: bubble.height() > 60)
    for shown in (label, bubble):
        qtbot.waitUntil(lambda shown=shown: shown.mapTo(area.viewport(), shown.rect().bottomLeft()).y()
                        <= area.viewport().height())
    tab.watch.slider.setValue(0)
    assert tab.watch.answers.widget().findChild(QLabel, "watch_before") is None, "nothing came before the first"


def test_long_answers_and_odd_samples_are_laid_out(qtbot, watch):
    history = fold(sample(0, "word " * 2000, "क" * 500), {"type": "sample", "global_step": 5, "samples": "none"},
                   {"type": "sample", "global_step": 6, "samples": [{"prompt": None}, 3]})
    watch.update_from(history, CONFIG, True)
    watch.slider.setValue(0)
    for bubble in watch.answers.bubbles:
        assert bubble.width() <= watch.answers.viewport().width()


def test_sample_now_asks_the_worker(qtbot, tab, run, play):
    play(ENDLESS.replace("@2", "@100"))  # slow enough that no evaluation of the plan's own comes between
    job = run()
    tab.followed.follow(job, start_worker=True)
    wait_for_steps(qtbot, tab)
    qtbot.waitUntil(lambda: bool(tab.followed.history.samples))
    now, before, seen = button(tab, "sample_now"), len(tab.followed.history.samples), []
    now.clicked.connect(lambda: seen.append((now.isEnabled(), now.text())))
    press(qtbot, tab, "sample_now")
    assert seen == [(False, "Asking …")]
    qtbot.waitUntil(lambda: now.isEnabled() and len(tab.followed.history.samples) > before)
    assert commands(job.folder)[-1]["command"] == "sample"
    assert "जन्म प्रमाण पत्र" in tab.watch.answers.bubbles[0].text.text()
    press(qtbot, tab, "stop")
    qtbot.waitUntil(lambda: not tab.followed.is_running())
    qtbot.waitUntil(lambda: not button(tab, "sample_now").isVisible())
    assert tab.watch.answers.bubbles


def test_bubbles_keep_to_a_window_that_becomes_smaller(qtbot, tab):
    watch = tab.watch
    watch.update_from(fold(sample(0, "आवेदन " * 40, "word " * 60)), CONFIG, True)
    for size in ((1920, 1080), (1280, 720)):
        tab.resize(*size)
        qtbot.waitUntil(lambda size=size: tab.size().toTuple() == size and all(
            bubble.geometry().right() < watch.answers.viewport().width() for bubble in watch.answers.bubbles))
    assert watch.answers.widget().width() <= watch.answers.viewport().width()
