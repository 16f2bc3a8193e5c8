"""The real window and a real worker, from a dropped file to a reply, with a tiny model.

test_clicks.py does the same with real weights, and test_quickstart.py trains and asks the whole starter model."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QLineEdit, QPlainTextEdit, QWidget
from support.clicks import Person, drop, leave

from slmstudio.core import files
from slmstudio.core.model.facts import read_model
from slmstudio.core.run import folder
from slmstudio.core.settings import Settings
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import Session

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("garbage_stays_here")]
MINUTES = 60_000


@pytest.fixture
def window(qtbot, qapp, starter_home):
    theme.apply(qapp, "light")
    # Each would be another worker; test_clicks.py has them all.
    made = MainWindow(Session(Settings(evaluate_at_end=False, measure_plans=False)))
    qtbot.addWidget(made)
    made.resize(1280, 720)
    with qtbot.waitSignal(made.painted, timeout=10_000):
        made.show()
    yield made
    leave(made)


def type_into(qtbot, window: QWidget, field: str, text: str) -> None:
    editor = window.findChild(QLineEdit, f"field_{field}")
    editor.selectAll()
    qtbot.keyClicks(editor, text)
    qtbot.keyClick(editor, Qt.Key.Key_Return)


def test_from_a_dropped_file_to_a_reply(qtbot, window, small_dataset, tiny_model):
    person = Person(qtbot, window, 2 * MINUTES)
    drop(window.page("data"), [small_dataset])
    person.click("data_use")
    window.session.set_model(read_model(tiny_model))
    window.go_to("training")

    training = window.page("training")
    qtbot.waitUntil(lambda: training.planning.config is not None, timeout=MINUTES)
    training.plan.search.setText("epochs")
    type_into(qtbot, window, "epochs", "20")  # or it would have ended before it is paused
    qtbot.waitUntil(
        lambda: training.planning.config is not None and training.planning.config.epochs == 20, timeout=MINUTES
    )
    person.click("start")
    qtbot.waitUntil(lambda: training.followed.history.step >= 1, timeout=4 * MINUTES)
    person.click("pause")
    qtbot.waitUntil(lambda: training.followed.history.paused, timeout=2 * MINUTES)
    person.click("pause")  # it says Resume now
    qtbot.waitUntil(lambda: training.followed.job.outcome() is not None, timeout=6 * MINUTES)
    assert training.followed.job.outcome().state == "finished", training.followed.job.log_tail()
    run = training.followed.job.folder

    window.go_to("results")
    person.click("results_export")
    for box in window.findChildren(QCheckBox):
        if box.objectName().startswith("type_"):
            box.setChecked(box.objectName() == "type_Q8_0")
    person.click("export_start")
    qtbot.waitUntil(lambda: any((run / folder.EXPORTS).glob("*.parity.json")), timeout=5 * MINUTES)
    [gguf] = folder.summarise(run).exports()
    proof = files.read_json(gguf.with_suffix(".parity.json"))
    assert (proof["passed"], proof["failures"], proof["type"]) == (True, [], "Q8_0")

    made = window.page("results").details.export.made
    qtbot.waitUntil(made.isVisible)
    assert made.place.text() == str(gguf.parent)
    person.click("made_chat")
    chat = window.page("chat")
    question = chat.findChild(QPlainTextEdit, "chat_input")
    question.setPlainText("What is the emergency number?")
    person.click("chat_send")
    qtbot.waitUntil(lambda: [len(turns) for turns in said(chat)] == [2] and
                    all("reason" in turns[1].figures for turns in said(chat)), timeout=3 * MINUTES)
    for asked, reply in said(chat):  # the exported file
        assert (asked.role, asked.content) == ("user", "What is the emergency number?")
        assert reply.role == "assistant"
        assert reply.figures["completion_tokens"] > 0, reply.figures  # a tiny model may end its answer at once


def said(chat):
    """What was asked and answered, by model."""
    return [lane.turns for lane in chat.chat.conversation().lanes]
