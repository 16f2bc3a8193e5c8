"""The Go template for Ollama writes what the model's Jinja template writes, or says what is lost."""

from __future__ import annotations

import pytest
from support import go_template, model_files
from support.jinja_templates import MISTRAL, QUOTES, SMOLLM, ZEPHYR, talks, template

from slmstudio.core import paths
from slmstudio.core.errors import UserError
from slmstudio.core.export import ollama
from slmstudio.core.model.named_templates import NAMED

LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set system = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set system = '' %}{% set rest = messages %}{% endif %}"
    "{% for message in rest %}{% set text = system + message['content'] if loop.first else message['content'] %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + text.strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + text.strip() + ' ' + eos_token }}{% endif %}{% endfor %}")
TEMPLATES = {"smollm": SMOLLM, "chatml": model_files.CHATML, "mistral": MISTRAL, "zephyr": ZEPHYR, "llama2": LLAMA2,
             "quotes": QUOTES}


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_go_template_writes_what_the_jinja_template_writes(name) -> None:
    jinja = template(TEMPLATES[name])
    found = ollama.take_apart(jinja)
    for talk in talks(found.system_before is not None):
        expected = jinja.render(talk, add_generation_prompt=True)
        assert go_template.ollama_prompt(found.go_template(), talk) == expected
        assert found.render(talk) == expected


@pytest.mark.parametrize("name", NAMED)
def test_every_named_template_can_be_written_for_ollama(name) -> None:
    jinja = template((paths.resources() / "chat_templates" / f"{name}.jinja").read_text("utf-8").strip())
    found = ollama.take_apart(jinja)
    assert (found.system_before is not None, found.notes) == (True, ())
    for talk in talks(with_system=True):
        assert go_template.ollama_prompt(found.go_template(), talk) == jinja.render(talk, add_generation_prompt=True)


@pytest.mark.parametrize(("file", "system", "note"), [
    ("Qwen-Qwen2.5-7B-Instruct", True, "Tool calls"), ("microsoft-Phi-3.5-mini-instruct", True, ""),
    ("llama-3.1-style", True, "removes spaces"), ("gemma-2-style", False, "no place for a system message")])
def test_the_templates_of_real_families(data_dir, file, system, note) -> None:
    jinja = template((data_dir / "chat_templates" / f"{file}.jinja").read_text("utf-8"))
    found = ollama.take_apart(jinja)
    assert (found.system_before is not None) == system
    assert note in " ".join(found.notes)
    for talk in talks(system):
        prompt = go_template.ollama_prompt(found.go_template(), talk)
        assert prompt == jinja.render(talk, add_generation_prompt=True)


@pytest.mark.parametrize(("source", "why"), [
    ("{% for m in messages %}{{ '<code>' if '`' in m.content else '<text>' }}{{ m.content }}{% endfor %}>",
     "depends on"),
    ("{% for m in messages %}{{ loop.index }}:{{ m.content }}{% endfor %}>", "differently in different places"),
    ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", "doesn't write each user message"),
    ("{% for m in messages %}[{{ m.content }}]{{ m.content }}{% endfor %}", "doesn't write each user message"),
    ("{% for m in messages[-1:] %}{{ m.content }}{% endfor %}", "doesn't write each user message"),
    ("{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}!{% else %}<{{ messages[0].role }}>"
     "{{ m.content }}{% endif %}{% endfor %}", "when there is a system message"),
    ("{% for m in messages %}{{ '(only)' if messages | length == 1 }}{{ m.content }}{% endfor %}", "the only one"),
    ("{% for m in messages %}{{ m.content }}{% endfor %}{{ messages | length if messages | length > 6 }}",
     "depends on"),
])
def test_what_cannot_be_written_for_ollama_is_said(source, why) -> None:
    with pytest.raises(UserError) as caught:
        ollama.take_apart(template(source))
    assert why in caught.value.why and caught.value.remedy


def test_notes_say_what_is_lost() -> None:
    trims = ("{% for m in messages %}<{{ m.role }}>{{ m.content.split('</think>')[-1] | trim }}</s>{% endfor %}"
             "{% if tools %}{% endif %}{{ strftime_now('%Y')[4:] }}<bot>")
    notes = " ".join(ollama.take_apart(template(trims)).notes)
    assert all(word in notes for word in ("removes spaces", "reasoning", "date", "Tool calls"))
