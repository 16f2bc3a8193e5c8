"""The window in a language that nobody speaks: whatever isn't in its brackets can't be translated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from support.shown_texts import cut, untranslated
from support.window import settle
from support.window_states import dialogs, states

from slmstudio.core import i18n, paths
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.model import catalogue
from slmstudio.gui.app import qt_texts
from slmstudio.gui.common import theme

NAMES = re.compile(
    r"SLM Studio|.*\.(jsonl|json|gguf|safetensors)|English|हिन्दी|helpdesk.*|(Qwen|SmolLM).*|Q?LoRA|DoRA|GGUF|"
    r"Ollama|llama\.cpp|vLLM|LM Studio|curl|Python|MMLU|ARC \w+|HellaSwag|GSM8K|[A-Z]{3}|BF16|IQ\d_\w+|JSONL · UTF-8|"
    r"Answer:|उत्तर:|(Ctrl|F\d|Esc|Tab|Alt|Shift|Enter).*|/.*|https?://.*", re.DOTALL)
"""What is the same in all languages: names of products, files, methods, currencies and keys."""


def sample() -> set[str]:
    """The texts of the sample, and what its columns are called."""
    rows = [json.loads(line) for line in paths.starter_train_file().read_text(encoding="utf-8").splitlines()]
    return {str(text) for row in rows for each in row.items() for text in each}


@pytest.fixture(autouse=True)
def nobodys_language(qapp) -> Iterator[None]:
    i18n.use(i18n.PSEUDO)
    qt_texts.speak(qapp)
    yield
    i18n.use("en")
    qt_texts.speak(qapp)


def test_the_settings_can_be_translated(qtbot, main_window):
    name, settings = next(dialogs(qtbot, main_window))
    assert name == "settings" and list(untranslated(settings, NAMES)) == []


@pytest.mark.full
def test_every_text_can_be_translated(qtbot, main_window, tiny_model):
    found: dict[str, str] = {}
    data = sample() | set(catalogue.languages(english=True).values())  # their names come from CLDR
    same = re.compile(f"{NAMES.pattern}|{re.escape(read_machine().cpu_name)}.*", re.DOTALL)
    for name, root in states(qtbot, main_window, tiny_model):
        for each in untranslated(root, same, data):
            found.setdefault(each, name)
    assert not found, "\n".join(f"{name}: {each}" for each, name in found.items())


@pytest.mark.full
@pytest.mark.parametrize("percent", [100, 200])
def test_no_longer_text_is_cut(qtbot, qapp, main_window, tiny_model, percent):
    """Words of other languages are a third longer."""
    theme.apply(qapp, "light", percent)
    found: dict[str, str] = {}
    try:
        for name, root in states(qtbot, main_window, tiny_model):
            for _ in range(20):  # a layout may take some rounds
                if not any(cut(root)):
                    break
                settle()
            for each in cut(root):
                found.setdefault(each, name)
    finally:
        theme.apply(qapp, "light", 100)
    assert not found, "\n".join(f"{percent}% {name}: {each}" for each, name in found.items())
