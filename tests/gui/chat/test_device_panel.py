"""Where the model computes: shown, overruled, and left when the card is gone."""

from __future__ import annotations

import pytest
from support.chat_window import answered, ask, start

from slmstudio.gui.chat.bubbles import figures_text


@pytest.fixture
def on_card(qtbot, tab, session, models):
    path = models[0].rename(models[0].with_name("card.gguf"))
    start(qtbot, tab, session, [path])
    return tab.panes[0]


def test_it_is_folded_says_where_and_why_and_can_be_overruled(qtbot, tab, session, on_card) -> None:
    panel = tab.settings.device
    assert panel.reason.isHidden() is False and not panel.reason.isVisible()
    assert (on_card.placement["device"], on_card.placement["layers_on_device"]) == ("cuda", 25)
    panel.button.click()
    assert panel.reason.isVisible() and "RTX 3060" in panel.reason.text()
    batch = panel.fields["batch"]
    batch.setCurrentIndex(batch.findData(128))
    batch.activated.emit(batch.currentIndex())
    qtbot.waitUntil(lambda: on_card.state == "ready" and on_card.placement.get("batch") == 128)
    session.settings.chat_device = "cpu"
    session.report_settings_changed()
    qtbot.waitUntil(lambda: on_card.state == "ready" and on_card.placement.get("device") == "cpu")


def test_a_card_that_vanishes_while_it_answers_is_left_for_the_processor(qtbot, tab, on_card) -> None:
    ask(qtbot, tab, "half of an answer")
    qtbot.waitUntil(lambda: on_card.state == "ready" and on_card.placement.get("device") == "cpu")
    assert on_card.banner.isVisible() and on_card.lane.turns[-1].role == "assistant"
    answered(qtbot, tab, "and now?")
    assert len(on_card.lane.turns) == 4 and not on_card.banner.isVisible()


def test_prompt_and_answer_have_a_speed_each() -> None:
    text = figures_text({"tokens_per_second": 41.2, "prompt_tokens_per_second": 380.1, "seconds_to_first_token": 0.2})
    assert text == "41 tokens/s · prompt 380 tokens/s · first token 0.2 s"
