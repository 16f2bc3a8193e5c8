"""Tokens: what is learned is the assistant's words and the end of the turn, for every family's template."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import model_files
from support.tiers import examples

from slmstudio.core.errors import UserError
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.model.tokens import encode, local_tokenizer

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
TEMPLATES = {
    "qwen2": model_files.CHATML,
    "phi3": "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ '<|endoftext|>' }}{% endif %}",
    "llama3": "{{ '<|begin_of_text|>' }}{% for m in messages %}{{ '<|start_header_id|>' + m.role"
              " + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}{% endfor %}"
              "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    "mistral": "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
               "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}{% else %}"
               "{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}",
    "zephyr": "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}{% endfor %}"
              "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
    "gemma": "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}"
             "{% endif %}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role)"
             " + '\n' + m.content | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}"
             "{{ '<start_of_turn>model\n' }}{% endif %}",
}
ENDS = {"qwen2": "<|im_end|>", "phi3": "<|end|>", "llama3": "<|eot_id|>", "mistral": "</s>", "zephyr": "</s>",
        "gemma": "<end_of_turn>"}
HINDI = "आपका पासपोर्ट सात दिन में मिल जाएगा। 🙂 12 km"


def chat(*turns: str, system: str | None = None) -> list[dict[str, str]]:
    messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(turns)]
    return ([{"role": "system", "content": system}] if system else []) + messages


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return local_tokenizer(model_files.write_model(tmp_path_factory.mktemp("m")))


@pytest.mark.parametrize("family", TEMPLATES)
def test_exactly_the_answer_and_its_end_are_learned(tokenizer: Any, family: str) -> None:
    template, end = ChatTemplate(TEMPLATES[family], TOKENS), ENDS[family]
    lead = " " if family == "mistral" else ""
    one = encode(chat("नमस्ते, passport?", HINDI), tokenizer, template)
    assert model_files.learned_texts(one) == [lead + HINDI + end]
    assert tokenizer.decode([i for i, learned in zip(one.ids, one.learned, strict=True) if learned],
                            skip_special_tokens=False) == lead + HINDI + end
    two = encode(chat("a", "a", "assistant", "e", "end", HINDI), tokenizer, template)
    assert model_files.learned_texts(two) == [lead + text + end for text in ("a", "e", HINDI)]


@pytest.mark.parametrize("family", ["qwen2", "phi3", "llama3", "zephyr"])
def test_with_a_system_message(tokenizer: Any, family: str) -> None:
    template = ChatTemplate(TEMPLATES[family], TOKENS)
    encoded = encode(chat("hi", "yes", system="Answer yes."), tokenizer, template)
    assert model_files.learned_texts(encoded) == ["yes" + ENDS[family]]


@pytest.mark.parametrize("family", ["mistral", "gemma"])
def test_templates_that_take_no_system_message_say_so(tokenizer: Any, family: str) -> None:
    with pytest.raises(UserError, match="template refuses system messages: "):
        encode(chat("hi", "yes", system="Answer yes."), tokenizer, ChatTemplate(TEMPLATES[family], TOKENS))


@pytest.mark.parametrize("family", TEMPLATES)
@pytest.mark.parametrize("answer", ["", " ", "\n\nlate start", "ends with space \n", "<|im_end|>", "x" + "<|end|>",
                                    "assistant"])
def test_awkward_answers(tokenizer: Any, family: str, answer: str) -> None:
    template = ChatTemplate(TEMPLATES[family], TOKENS)
    encoded = encode(chat("q", answer), tokenizer, template)
    kept = answer.strip() if family in ("llama3", "gemma") else answer
    assert model_files.learned_texts(encoded) == [(" " if family == "mistral" else "") + kept + ENDS[family]]


def test_all_tokens_and_the_whole_text_without_completion_only(tokenizer: Any) -> None:
    encoded = encode(chat("q", "a"), tokenizer, ChatTemplate(TEMPLATES["phi3"]), completion_only=False)
    assert all(encoded.learned)
    assert encoded.text == "<|user|>\nq<|end|>\n<|assistant|>\na<|end|>\n<|endoftext|>"


def test_no_second_beginning(tokenizer: Any) -> None:
    encoded = encode(chat("q", "a"), tokenizer, ChatTemplate(TEMPLATES["mistral"], TOKENS))
    assert encoded.ids.count(tokenizer.token_to_id("<s>")) == 1


def test_cutting_to_a_maximal_length(tokenizer: Any) -> None:
    template = ChatTemplate(TEMPLATES["qwen2"])
    whole = encode(chat("q", HINDI), tokenizer, template)
    cut = encode(chat("q", HINDI), tokenizer, template, max_length=30)
    assert cut.ids == whole.ids[:30] and cut.learned == whole.learned[:30] and cut.offsets == whole.offsets[:30]
    assert cut.text == whole.text
    assert not any(encode(chat("q", HINDI), tokenizer, template, max_length=3).learned)


THINKING = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' and loop.last %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{{ m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def test_templates_that_render_the_last_answer_in_another_way(tokenizer: Any) -> None:
    encoded = encode(chat("a", "first", "b", "second"), tokenizer, ChatTemplate(THINKING))
    assert model_files.learned_texts(encoded) == ["first<|im_end|>", "<think>\n\n</think>\n\nsecond<|im_end|>"]


def test_templates_whose_beginning_changes_fall_back_to_the_last_answer(tokenizer: Any) -> None:
    source = "{{ messages | length }} turns\n{% for m in messages %}" \
             "{{ m.role + ': ' + m.content | upper + '</s>\n' }}{% endfor %}" \
             "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    encoded = encode(chat("a", "first", "b", "SECOND"), tokenizer, ChatTemplate(source))
    assert model_files.learned_texts(encoded) == ["SECOND</s>"]
    with pytest.raises(UserError, match="Switch completion-only loss off"):
        encode(chat("a", "first", "b", "second"), tokenizer, ChatTemplate(source))


def test_templates_without_an_end_of_turn(tokenizer: Any) -> None:
    source = "{% for m in messages %}{{ '### ' + m.role + '\n' + m.content + '\n\n' }}{% endfor %}" \
             "{% if add_generation_prompt %}{{ '### assistant\n' }}{% endif %}"
    assert model_files.learned_texts(encode(chat("a", "b", "c", "d"), tokenizer, ChatTemplate(source))) == ["b\n\n",
        "d\n\n"]


def test_templates_that_ignore_the_generation_prompt_learn_the_header_too(tokenizer: Any) -> None:
    source = "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '</s>' }}{% endfor %}"
    encoded = encode(chat("a", "assistant"), tokenizer, ChatTemplate(source))
    assert model_files.learned_texts(encoded) == ["<|assistant|>assistant</s>"]


def test_conversations_that_begin_with_the_assistant(tokenizer: Any) -> None:
    messages = [{"role": "assistant", "content": "Welcome"}, *chat("q", "a")]
    encoded = encode(messages, tokenizer, ChatTemplate(TEMPLATES["qwen2"]))
    assert model_files.learned_texts(encoded) == ["Welcome<|im_end|>", "a<|im_end|>"]


def test_a_question_at_the_end_is_not_learned(tokenizer: Any) -> None:
    encoded = encode(chat("q", "a", "and now?"), tokenizer, ChatTemplate(TEMPLATES["zephyr"], TOKENS))
    assert model_files.learned_texts(encoded) == ["a</s>"]


def test_half_a_character_is_no_text(tokenizer: Any) -> None:
    with pytest.raises(UserError, match="half a character"):
        encode(chat("\ud83d", "a"), tokenizer, ChatTemplate(TEMPLATES["qwen2"]))


def test_a_tokenizer_that_cuts_by_itself_does_not(tmp_path: Path) -> None:
    folder = model_files.write_model(tmp_path / "m")
    state = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    state["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    state["padding"] = {"strategy": {"Fixed": 512}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                        "pad_type_id": 0, "pad_token": "<|endoftext|>"}
    (folder / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
    loaded = local_tokenizer(folder)
    assert 4 < len(encode(chat("q", "a"), loaded, ChatTemplate(TEMPLATES["qwen2"])).ids) < 60
    loaded.enable_truncation(4)
    loaded.enable_padding(length=512)
    assert 4 < len(encode(chat("q", "a"), loaded, ChatTemplate(TEMPLATES["qwen2"])).ids) < 60


def test_special_tokens_that_only_the_configuration_names(tmp_path: Path) -> None:
    folder = model_files.write_model(tmp_path / "m")
    config = {"eos_token": "<|my_end|>", "added_tokens_decoder": {"300": {"content": "<|tool|>", "special": True}}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    loaded = local_tokenizer(folder)
    assert [loaded.encode(text).tokens for text in ("<|my_end|>", "<|tool|>")] == [["<|my_end|>"], ["<|tool|>"]]


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"model": {"type": "BPE"}}', b'{"version": "1.0"'])
def test_damaged_tokenizers(tmp_path: Path, data: bytes) -> None:
    folder = model_files.write_model(tmp_path / "m")
    (folder / "tokenizer.json").write_bytes(data)
    with pytest.raises(UserError, match="tokenizer of m can't be used"):
        local_tokenizer(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"has no tokenizer\.json"):
        local_tokenizer(folder)


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="<|>[]"), max_size=12) | st.sampled_from(
    ["नमस्ते", "क्षत्रिय", "தமிழ்", "বাংলা", "مرحبا", "中文", "🙂‍↕️", "e\u0301", " ", "\n", "a", "user"])


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=3), st.sampled_from(sorted(TEMPLATES)))
def test_any_conversation(tokenizer: Any, turns: list[tuple[str, str]], family: str) -> None:
    messages = chat(*(text for turn in turns for text in turn))
    encoded = encode(messages, tokenizer, ChatTemplate(TEMPLATES[family], TOKENS))
    assert len(encoded.ids) == len(encoded.learned) == len(encoded.offsets)
    assert all(0 <= start <= end <= len(encoded.text) for start, end in encoded.offsets)
    assert all(before[0] <= after[0] for before, after in pairwise(encoded.offsets))
    runs = model_files.learned_texts(encoded)
    assert len(runs) == len(turns)
    for run, (_, answer) in zip(runs, turns, strict=True):
        assert run.endswith(ENDS[family]) and run.removesuffix(ENDS[family]).strip() == answer.strip()


def test_many_rows_are_quick(tokenizer: Any) -> None:
    template = ChatTemplate(TEMPLATES["llama3"])
    begin = time.process_time()
    for row in range(2000):
        encode(chat(f"Question {row}?", "Seven days."), tokenizer, template)
    # Ten times what it takes: this catches work that grows with the square of something, not a slow machine.
    assert time.process_time() - begin < 5
