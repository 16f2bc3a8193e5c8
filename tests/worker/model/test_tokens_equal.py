"""What the window shows is what training sees: our templates and tokens against transformers' own."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from support import model_files, tool_rows
from support.tiers import first_fast

from slmstudio.core.errors import UserError
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.model.tokens import encode, local_tokenizer
from slmstudio.worker.model import gguf_vocabulary

os.environ.setdefault("HF_HUB_OFFLINE", "1")
ENDS = {"llama3": "<|eot_id|>", "mistral": "</s>", "phi3": "<|end|>", "qwen2": "<|im_end|>", "tinyllama": "</s>",
        "gemma3": "<end_of_turn>", "qwen3": "<|im_end|>", "smollm3": "<|im_end|>"}
NO_THOUGHT = "<think>\n\n</think>\n\n"
HINDI = "पासपोर्ट के लिए आधार कार्ड चाहिए। क़ानून, ज़रूरत, क्\u200dष 12 km"
TEXTS = [
    "Hello world", HINDI, "  two  spaces ", "\n\nx\n", "தமிழ் বাংলা ગુજરાતી ಕನ್ನಡ తెలుగు മലയാളം اردو", "中文测试 🙂🙃 👨‍👩‍👧",
    "<|im_start|>user\nhi<|im_end|>\n", "<s>[INST] a [/INST] b</s>", "<|user|>\nक्या<|end|>\n<|assistant|>\n",
    "\u00e9 \u00c5 ﬁ ½", "123456789 3.14 १२३", "\tTabs\r\n", "", "a</s>\n<s>b", "word <|eot_id|> word",
    *gguf_vocabulary.strings()]
CHATS = [
    [{"role": "user", "content": f"Hi {HINDI}"}, {"role": "assistant", "content": f" Hello <b>&amp;\n{HINDI} "}],
    [{"role": "system", "content": "Short."}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"},
     {"role": "assistant", "content": "d"}],
    [{"role": "user", "content": "a"}],
    [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}],
]


def transformers_tokenizer(folder: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)


def assert_same_tokens(folder: Path) -> None:
    theirs, ours = transformers_tokenizer(folder), local_tokenizer(folder)
    assert theirs.backend_tokenizer.get_vocab_size() == ours.get_vocab_size()
    for text in TEXTS:
        expected, found = theirs.backend_tokenizer.encode(text, add_special_tokens=False), ours.encode(
            text, add_special_tokens=False)
        assert (found.ids, found.offsets) == (expected.ids, expected.offsets), text
        assert found.ids == theirs(text, add_special_tokens=False)["input_ids"]


def assert_same_texts(template: ChatTemplate, theirs: Any, source: str | None = None) -> None:
    for chat in CHATS:
        for prompt in (False, True):
            try:
                expected = theirs.apply_chat_template(chat, tokenize=False, add_generation_prompt=prompt,
                                                      chat_template=source)
            except Exception as error:  # whatever the template does in jinja
                with pytest.raises(UserError) as caught:
                    template.render(chat, add_generation_prompt=prompt)
                assert str(error) in str(caught.value)
            else:
                assert template.render(chat, add_generation_prompt=prompt) == expected


def test_a_small_folder(tmp_path: Path) -> None:
    folder = model_files.write_model(tmp_path / "m")
    assert_same_tokens(folder)
    theirs, template = transformers_tokenizer(folder), ChatTemplate.from_folder(folder)
    assert template.special_tokens == theirs.special_tokens_map
    assert_same_texts(template, theirs)


def test_special_tokens_that_only_the_configuration_names(tmp_path: Path) -> None:
    folder = model_files.write_model(tmp_path / "m")
    config = {"eos_token": "<|my_end|>", "bos_token": {"content": "<s>", "__type": "AddedToken"},
              "added_tokens_decoder": {"300": {"content": "<|tool|>", "special": True, "normalized": False}}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    assert_same_tokens(folder)
    theirs, ours = transformers_tokenizer(folder), local_tokenizer(folder)
    for token in ("<|my_end|>", "<|tool|>"):
        assert theirs.convert_tokens_to_ids(token) == ours.token_to_id(token)


@pytest.mark.parametrize("source", [
    "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}"
    "{% endif %}{% endfor %}{{ ns.last ~ ':' ~ messages[ns.last].content }}",
    "{%- macro turn(m, last=false) -%}\n  <{{ m.role }}>{{ m.content | trim }}{{ '!' if last else '' }}\n"
    "{%- endmacro -%}\n{%- for m in messages %}\n    {{- turn(m, loop.last) }}\n{%- else %}\n  none\n{%- endfor %}\n",
    "{{ messages | tojson }}{{ messages | tojson(indent=4) }}",
    "{{ messages | selectattr('role', 'equalto', 'user') | list }}",
    "{% for m in messages if m.role != 'system' %}{% if loop.index > 1 %}{% break %}{% endif %}{{ loop.length }}"
    "{% endfor %}",
    "{{ tools is none }}{{ documents is defined }}{{ bos_token is defined }}"
    "{{ nothing | default('x') }}{{ dict(a=[1]) }}",
    "{% for m in messages %}{{ (loop.index0 % 2) * 3 + 2 ** 2 }}{{ m.content.split(' ')[0] }}"
    "{{ '%s|%03d' % (m.role, 7) }}{{ '{:>9}'.format(m.role) }}"
    "{{ m.role.replace('u', 'U').title().center(11, '*') }}{% endfor %}",
    "{% set parts = [] %}{% for m in messages %}{% set parts = parts + [m.content] %}{% endfor %}{{ parts | join }}",
    "{% set text %}  {{ messages[0].content }}\n{% endset %}{{ text | indent(2, true) | upper }}{{ text | length }}",
    "{% for k, v in messages[0].items() %}{{ k }}={{ v | replace('a', 'b') }};{% endfor %}{{ messages[-1]['role'] }}",
    "{% filter upper %}a{{ messages[0].role }}{% endfilter %}{% call(x) [].count(1) %}{% endcall %}",
    "{{ 'a' + 1 }}", "{{ raise_exception('नहीं') }}", "{{ messages[7].role }}"])
def test_the_language_of_templates(tmp_path: Path, source: str) -> None:
    theirs = transformers_tokenizer(model_files.write_model(tmp_path / "m"))
    template = ChatTemplate(source, theirs.special_tokens_map)
    for chat in CHATS:
        try:
            expected = theirs.apply_chat_template(chat, tokenize=False, chat_template=source)
        except Exception:  # whatever the template does in jinja
            with pytest.raises(UserError):
                template.render(chat)
        else:
            assert template.render(chat) == expected


@pytest.mark.parametrize("name", ["qwen2_5", "llama3_1", "qwen3", "gptoss", "microsoft-Phi-3.5-mini-instruct",
                                  "gemma-2-style", "llama-3.1-style"])
def test_tools(tmp_path: Path, data_dir: Path, name: str) -> None:
    theirs = transformers_tokenizer(model_files.write_model(tmp_path / "m"))
    file = data_dir / "chat_templates" / f"{name}.jinja"
    source = file.read_text(encoding="utf-8") if file.is_file() else tool_rows.template(name)
    template = ChatTemplate(source, theirs.special_tokens_map)
    for chat in (tool_rows.ONE, tool_rows.CHAIN, tool_rows.SEVERAL, tool_rows.ONE[:2], tool_rows.ONE[:1]):
        for tools in (tool_rows.TOOLS, ()):
            for prompt in (False, True):
                try:
                    expected = theirs.apply_chat_template(chat, list(tools) or None, tokenize=False,
                                                          add_generation_prompt=prompt, chat_template=source)
                except Exception as error:  # whatever the template does in jinja
                    with pytest.raises(UserError) as caught:
                        template.render(chat, prompt, tools)
                    assert str(error) in str(caught.value)
                else:
                    assert template.render(chat, prompt, tools) == expected


@pytest.mark.timeout(300)
@pytest.mark.parametrize("family", first_fast(ENDS))
def test_families(families: Path, data_dir: Path, family: str) -> None:
    folder = families / family
    assert_same_tokens(folder)
    theirs, ours, template = transformers_tokenizer(folder), local_tokenizer(folder), ChatTemplate.from_folder(folder)
    assert template.special_tokens == theirs.special_tokens_map
    assert_same_texts(template, theirs)
    for file in sorted((data_dir / "chat_templates").glob("*.jinja")):
        source = file.read_text(encoding="utf-8")
        assert_same_texts(ChatTemplate(source, template.special_tokens), theirs, source)
    for chat in (CHATS[0], CHATS[2]):
        found = encode(chat, ours, template)
        assert found.ids == theirs.apply_chat_template(chat, return_dict=True)["input_ids"]
        answers = [message["content"].strip() for message in chat if message["role"] == "assistant"]
        runs = model_files.learned_texts(found)
        # Qwen 3's template opens the last answer with a thought, here an empty one.
        assert [run.removeprefix(NO_THOUGHT).removesuffix(ENDS[family]).strip() for run in runs] == answers
        assert all(run.endswith(ENDS[family]) for run in runs)


@pytest.mark.full
@pytest.mark.timeout(300)
@pytest.mark.parametrize("named", ["LlamaTokenizer", "GPT2Tokenizer", "GemmaTokenizer", "Qwen2Tokenizer", None])
@pytest.mark.parametrize("family", ["phi3", "qwen2"])
def test_the_class_that_a_folder_names_changes_nothing(families: Path, tmp_path: Path, family: str,
                                                       named: str | None) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        shutil.copy(families / family / name, tmp_path / name)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    config.pop("tokenizer_class")
    config |= {"tokenizer_class": named} if named else {}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    assert_same_tokens(tmp_path)


def test_known_architectures_are_those_of_transformers() -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    from slmstudio.core.model.architecture import CAUSAL, LABELS

    assert set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) == CAUSAL
    assert set(LABELS) <= CAUSAL
