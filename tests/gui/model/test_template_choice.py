"""A base model without a chat template: what suits it is offered, shown, and kept for the plan."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import base_models, model_files
from support.window import text

from slmstudio.core.model import named_templates
from slmstudio.core.model.facts import read_model
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.widgets.fields import ComboBox
from slmstudio.gui.model.card import ModelCard
from slmstudio.gui.model.known import ModelEntry
from slmstudio.gui.model.template_choice import TemplateChoice
from slmstudio.gui.model.work import ModelWork


@pytest.fixture
def choice(qtbot) -> TemplateChoice:
    widget = TemplateChoice()
    qtbot.addWidget(widget)
    return widget


def pick(widget: TemplateChoice, label: str) -> None:
    names = widget.findChild(ComboBox, "template_names")
    names.setCurrentText(label)
    names.activated.emit(names.currentIndex())


def test_the_best_is_chosen_and_each_shows_a_conversation(qtbot, choice, tiny_model, tmp_path):
    base = base_models.tiny(tiny_model, tmp_path / "base")
    choice.show_model(read_model(base), "")
    qtbot.waitUntil(choice.isVisible)
    names = choice.findChild(ComboBox, "template_names")
    assert [names.itemText(row) for row in range(names.count())] == ["ChatML", "Zephyr", "Vicuna", "Alpaca"]
    assert text(choice, "template_reason") == next(iter(named_templates.fitting(base))).reason
    assert text(choice, "template_preview").replace("\u200b", "") == (
        "<|im_start|>system\nAnswer briefly.<|im_end|>\n<|im_start|>user\nWhen is the office open?<|im_end|>\n"
        "<|im_start|>assistant\nFrom ten to five.<|im_end|>\n<|im_start|>user\nAlso on Saturdays?<|im_end|>\n"
        "<|im_start|>assistant\nNo.<|im_end|>\n")
    with qtbot.waitSignal(choice.chosen) as heard:
        pick(choice, "Alpaca")
    assert heard.args == ["alpaca"]
    assert "### Instruction:" in text(choice, "template_preview")
    assert choice.warning.isVisible() and "was never trained" in text(choice, "template_warning")


def test_of_a_model_with_its_own_only_what_is_wrong_is_told(qtbot, choice, tiny_model, tmp_path):
    endless = model_files.write_model(
        tmp_path / "endless", template="{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}")
    choice.show_model(read_model(endless), "")
    qtbot.waitUntil(choice.isVisible)
    assert text(choice, "template_warning") == " ".join(named_templates.warnings(endless)) != ""
    assert not choice.names.isVisible() and not choice.preview.isVisible()


def test_the_choice_of_the_card_is_kept_in_the_session(qtbot, session: Session, tiny_model: Path, tmp_path: Path):
    base = base_models.tiny(tiny_model, tmp_path / "base")
    card = ModelCard(session, ModelWork(session, session))
    qtbot.addWidget(card)
    card.show()
    card.show_entry(ModelEntry(base, facts=read_model(base)))
    qtbot.waitUntil(card.template.isVisible)
    with qtbot.waitSignal(session.model_changed):
        pick(card.template, "Vicuna")
    assert session.chat_template_of(base) == "vicuna"
    assert session.chat_template_of(tiny_model) == ""
    card.show_entry(ModelEntry(base, facts=read_model(base)))  # looked at again
    qtbot.waitUntil(lambda: card.template.isVisible() and card.template.names.currentText() == "Vicuna")
