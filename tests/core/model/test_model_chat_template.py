"""Chat templates: found where transformers finds them, rendered within limits, refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import model_files
from support.tiers import examples, first_fast

from slmstudio.core.errors import UserError
from slmstudio.core.model import template_client
from slmstudio.core.model.chat_template import ChatTemplate, find_template, special_tokens

CHAT = [{"role": "user", "content": "नमस्ते <b>"}, {"role": "assistant", "content": "Hello"}]
WITH_SYSTEM = [{"role": "system", "content": "Be short."}, *CHAT]


def failure(source: str, messages: list[dict[str, Any]] | None = None) -> str:
    with pytest.raises(UserError) as caught:
        ChatTemplate(source, {"bos_token": "<s>"}).render(messages or CHAT)
    assert caught.value.remedy
    return str(caught.value)


def test_where_a_template_is_found(tmp_path: Path) -> None:
    config = tmp_path / "tokenizer_config.json"
    assert find_template(tmp_path) is None
    config.write_text(json.dumps({"chat_template": "from the config"}))
    assert find_template(tmp_path) == "from the config"
    config.write_text(json.dumps({"chat_template": [{"name": "tool_use", "template": "tools"},
                                                    {"name": "default", "template": "plain"}]}))
    assert find_template(tmp_path) == "plain"
    (tmp_path / "chat_template.jinja").write_bytes("अपना\r\n".encode())
    assert find_template(tmp_path) == "अपना\n"


@pytest.mark.parametrize("value", [[{"name": "tool_use", "template": "x"}], [], {"default": "x"}, 3, [["default",
    "x"]]])
def test_several_templates_without_a_default(tmp_path: Path, value: Any) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": value}))
    with pytest.raises(UserError, match="none is the default"):
        find_template(tmp_path)


def test_a_folder_without_a_template(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Choose a chat template for it"):
        ChatTemplate.from_folder(tmp_path)
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="isn't UTF-8"):
        ChatTemplate.from_folder(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("line one\n{% if %}")
    with pytest.raises(UserError, match="broken at line 2"):
        ChatTemplate.from_folder(tmp_path)


def test_special_tokens(tmp_path: Path) -> None:
    config = {"bos_token": {"content": "<s>", "lstrip": False}, "eos_token": "</s>", "pad_token": None, "extra": "x"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert special_tokens(tmp_path) == {"bos_token": "<s>", "eos_token": "</s>"}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"eos_token": {"content": "<|im_end|>"}}))
    assert special_tokens(tmp_path)["eos_token"] == "<|im_end|>"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, "added_tokens_decoder": {}}))
    assert special_tokens(tmp_path)["eos_token"] == "</s>"


@pytest.mark.parametrize(("source", "text"), [
    (model_files.CHATML, "<|im_start|>user\nनमस्ते <b><|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"),
    ("{{ bos_token }}{{ eos_token }}|{{ tools }}|{{ documents is none }}", "<s>|None|True"),
    ("  {% if true %}\nx\n{% endif %}\ny", "x\ny"),
    ("{{ messages | tojson }}", json.dumps(CHAT, ensure_ascii=False)),
    ("{{ messages[0] | tojson(indent=2) }}", json.dumps(CHAT[0], ensure_ascii=False, indent=2)),
    ("{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% endfor %}", "assistant"),
    ("{% for m in messages if m.role == 'user' %}{{ loop.length }}{% else %}none{% endfor %}", "1"),
    ("{% for m in messages %}{% break %}{% endfor %}{{ messages | length }}", "2"),
    ("{% generation %}{{ messages[1].content }}{% endgeneration %}!", "Hello!"),
    ("{% macro f(a) %}[{{ a }}]{% endmacro %}{{ f('x') ~ 1 ~ none }}", "[x]1None"),
    ("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "2"),
    ("{{ dict(a=1).a }}{{ 'a,b'.split(',') | join('+') }}{{ 'x' * 3 }}{{ '%s-%s' % ('a', 'b') }}{{ 2 ** 3 }}",
     "1a+bxxxa-b8"),
    ("{{ 'abc' | replace('b', 'B') }}{{ 'abc'.replace('c', 'C') }}{{ '{}'.format('z') }}{{ 'a\nb' | indent(2) }}",
     "aBcabCza\n  b"),
    ("{% set x %}{{ messages[1].content }}{% endset %}{{ x | upper }}", "HELLO"),
    ("{{ strftime_now('%Y') | length }}", "4")])
def test_rendering(source: str, text: str) -> None:
    assert ChatTemplate(source, {"bos_token": "<s>"}).render(CHAT) == text


def test_the_generation_prompt_and_empty_keys() -> None:
    template = ChatTemplate(model_files.CHATML)
    assert template.render(CHAT[:1], add_generation_prompt=True).endswith("<|im_start|>assistant\n")
    assert ChatTemplate("{{ 'tool_calls' in messages[0] }}").render([{**CHAT[0], "tool_calls": None}]) == "False"


def test_templates_that_refuse_system_messages() -> None:
    source = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}" \
             "{% endif %}{{ m.content }}{% endfor %}"
    assert ChatTemplate(source).render(CHAT) == "".join(message["content"] for message in CHAT)
    said = failure(source, WITH_SYSTEM)
    assert "template refuses system messages: System role not supported" in said
    assert "put their text into the first user message" in said


def test_templates_that_refuse_an_order_of_roles() -> None:
    source = "{% if messages[0].role != 'user' %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    assert "refuses this conversation: Conversation roles must alternate" in failure(source, CHAT[1:])


@pytest.mark.parametrize("source", [
    "{{ ''.__class__.__mro__ }}", "{{ ''.__class__ }}", "{{ ''['__class__'] }}", "{{ '' | attr('__class__') }}",
    "{{ messages.__init__.__globals__ }}", "{{ cycler.__init__ }}", "{{ raise_exception.__globals__ }}",
    "{{ '{0.__class__}'.format(1) }}", "{{ messages.append(1) }}", "{{ messages[0].update(a=1) }}",
    "{% set ns = namespace(_x=1) %}", "{% set ns = namespace() %}{% set ns.__x = 1 %}"])
def test_reaching_for_pythons_insides(source: str) -> None:
    assert "that no chat template needs" in failure(source)


GROW = "{{% set ns = namespace(x='12345678') %}}{{% for i in range(60) %}}{}{{% endfor %}}{{{{ ns.x | length }}}}"


# By its output, its memory, its numbers, its width, its text, and its calls. More: tests/support/hostile_templates.py.
@pytest.mark.parametrize("source", first_fast([
    "{% for a in range(100000) %}{{ 'x' * 1000 }}{% endfor %}", "{{ 'a' * 10 ** 10 }}", "{{ 10 ** (10 ** 10) }}",
    "{{ '%10000000000d' % 1 }}", GROW.format("{% set ns.x = ns.x + ns.x %}"),
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% else %}0123456789{% endif %}{% endmacro %}{{ f(40) }}",
    "{% for a in range(100000) %}{% for b in range(1000) %}text that comes again and again{% endfor %}{% endfor %}",
    "{{ [0] * 10 ** 9 }}", GROW.format("{% set ns.x = ns.x ~ ns.x %}"),
    GROW.format("{% set ns.x = ns.x.replace('1', ns.x) %}"),
    GROW.format("{% set x %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = x %}")], 6))
def test_growing_without_end(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_client, "SECONDS", 1)
    assert "was stopped" in failure(source)


@pytest.mark.parametrize("source", first_fast([
    "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "{% for a in range(100000) %}{% for b in range(100000) if false %}{% endfor %}{% endfor %}",
    "{% macro f(n) %}{% if n %}{% set a = f(n - 1) %}{% set b = f(n - 1) %}{% endif %}{% endmacro %}{{ f(60) }}"]))
def test_running_without_end(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_client, "SECONDS", 1)
    assert "asked for more time than any model needs" in failure(source)


@pytest.mark.parametrize("source", [
    "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}", "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{{ 1 / 0 }}", "{{ nothing.x }}", "{{ messages[9].x }}", "{{ 'a' + 1 }}", "{% include 'x' %}",
    "{% import 'os' as x %}",
    "{{ " + "(" * 5000 + ")" * 5000 + " }}", "{% if 1 %}" * 200 + "{% endif %}" * 200,
    "{{ " + "+".join("1" * 20000) + " }}",
    "{{ range(10 ** 9) | list }}", "{{ raise_exception() }}", "{{ x | no_such_filter }}", "{{", "x" * 1_000_001])
def test_templates_that_do_not_work(source: str) -> None:
    assert "chat template" in failure(source)


def test_a_long_conversation_is_no_attack() -> None:
    long = "क" * 9_000_000
    text = ChatTemplate(model_files.CHATML).render([{"role": "user", "content": long}])
    assert long in text


def test_one_rendering_does_not_spend_anothers_budget() -> None:
    template = ChatTemplate("{% for i in range(1000) %}{{ 'x' * 1000 }}{% endfor %}")
    assert all(len(template.render(CHAT)) == 1_000_000 for _ in range(20))


PIECES = st.sampled_from(["{{", "}}", "{%", "%}", " for ", " in ", "messages", "if", "endif", "endfor", " x ", "'a'",
                          "*", "+",
                          "9", "~", "|", "join", "(", ")", "[", "]", "range", "set ", "=", "{#", "#}", "macro", ".",
                          "role"])


@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PIECES, max_size=15).map(" ".join) | st.text(max_size=40))
def test_any_text_as_template(source: str) -> None:
    try:
        assert isinstance(ChatTemplate(source).render(CHAT), str)
    except UserError as error:
        str(error).encode("utf-8")
