"""An adapter's strength is offered where it fits, and a vote is for the one that answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QSlider, QSpinBox
from support import model_files
from support.chat_window import answered, ask, can_vote, start, vote
from support.window import press, texts

from slmstudio.core import paths
from slmstudio.core.chat.partners import base_for_strength
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.advice import proposals
from slmstudio.core.run import folder
from slmstudio.core.votes import store as votes
from slmstudio.gui.chat.settings import AdapterStrength
from slmstudio.gui.results.run_details import RunDetails


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
    qtbot.waitUntil(strength.isVisible)
    pane = tab.panes[0]
    assert strength.name.text() == "helpdesk-lora on base" and strength.slider.value() == 0 and pane.adapter is None
    tab.findChild(QSlider, "adapter_strength").setValue(75)
    assert tab.findChild(QSpinBox, "adapter_percent").value() == 75
    qtbot.waitUntil(lambda: (pane.adapter, pane.strength) == (lora, 0.75))
    tab.findChild(QSpinBox, "adapter_percent").setValue(150)
    qtbot.waitUntil(lambda: pane.strength == 1.5)
    answered(qtbot, tab, "hello")
    assert pane.lane.turns[1].figures["strength"] == 1.5
    assert pane.bubbles.bubbles[1].figures.text().endswith("adapter 150%")
    tab.settings.context_changed.emit()
    assert pane.strength == 0
    qtbot.waitUntil(lambda: (pane.adapter, pane.strength) == (lora, 1.5))
    assert strength.slider.value() == 150 and strength.isVisible()
    assert "Adapter strength" in texts(tab.settings)
    press(qtbot, tab, "reset_sampling")
    qtbot.waitUntil(lambda: pane.strength == 0)
    assert strength.percent.value() == 0
    start(qtbot, tab, session, models[:1])
    qtbot.waitUntil(lambda: not strength.isVisible())
    assert "Adapter strength" not in texts(tab.settings)
    assert pane.adapter is None and pane.strength == 0


def test_the_proposal_to_use_less_opens_the_base_or_says_what_it_needs(qtbot, session, studio_home, with_adapter,
                                                                             make_run, wanted_pages):
    base, lora = with_adapter
    lora.rename(lora.with_name("lora"))
    run = make_run("forgetful", model=base.parent / "base")
    details = RunDetails(session)
    qtbot.addWidget(details)
    details._run = folder.summarise(run)
    less = proposals.Proposal(proposals.STRENGTH, "Use the adapter at a lower strength", "It got worse.")
    details._follow_proposal(less)
    qtbot.waitUntil(lambda: details.banner.error is not None)
    assert "no such file" in details.banner.error.why and wanted_pages == []
    own = run / "exports" / lora.name
    own.parent.mkdir()
    lora.with_name("lora").rename(own)
    details._follow_proposal(less)
    qtbot.waitUntil(lambda: wanted_pages == [("chat", "open_models", ([base],))])
    base.unlink()
    with pytest.raises(UserError, match="GGUF file of base as it was"):
        base_for_strength(run)


def test_a_vote_is_for_the_strength_that_answered(qtbot, tab, session, models, with_adapter):
    base, _ = with_adapter
    start(qtbot, tab, session, [base, models[1]], blind=True)
    strength = tab.findChildren(AdapterStrength)[0]
    qtbot.waitUntil(strength.isVisible)
    strength.slider.setValue(100)
    qtbot.waitUntil(lambda: tab.panes[0].strength == 1.0)
    ask(qtbot, tab, "hello")
    can_vote(qtbot, tab)
    strength.slider.setValue(50)
    qtbot.waitUntil(lambda: tab.panes[0].strength == 0.5)
    vote(qtbot, tab, "vote_good")
    [kept], _ = votes.read()
    assert kept.answers[0].model.name == "base + helpdesk-lora 100%" and kept.answers[0].model.strength == 1.0
    assert len(kept.answers[0].model.adapter_sha256) == 64 and kept.answers[1].model.adapter_sha256 == ""


def test_the_slider_shows_what_the_worker_says(qtbot, tab, session, with_adapter):
    start(qtbot, tab, session, with_adapter[:1])
    strength = tab.findChildren(AdapterStrength)[0]
    qtbot.waitUntil(strength.isVisible)
    strength.slider.setValue(100)
    qtbot.waitUntil(lambda: tab.panes[0].strength == 1.0)
    tab.panes[0].set_adapter(None, 0)
    qtbot.waitUntil(lambda: tab.panes[0].adapter is None)
    assert strength.slider.value() == 0 and strength.percent.value() == 0
