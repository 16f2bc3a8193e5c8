"""Chat templates by name: their exact texts, what is learned of them, and which suits a base model."""

from __future__ import annotations

import itertools
import json
import random
import struct
from pathlib import Path

import pytest
from support import model_files
from support.base_models import without_template
from support.family_models import FAMILIES
from support.tiers import first_fast

from slmstudio.core.errors import UserError
from slmstudio.core.model import named_templates
from slmstudio.core.model.named_templates import NAMED, fitting, template_of
from slmstudio.core.model.tokens import encode, end_of_turn, local_tokenizer

SYSTEM = {"role": "system", "content": "Be brief."}
TURNS = [{"role": "user", "content": "शुल्क?"}, {"role": "assistant", "content": "₹1,500"},
         {"role": "user", "content": "When?"}, {"role": "assistant", "content": "Now."}]
ALPACA = ("Below is an instruction that describes a task. Write a response that appropriately completes the request."
          "\n\n")
VICUNA = ("A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
          "detailed, and polite answers to the user's questions. ")
TEXTS = {
    "chatml": ("", "<|im_start|>system\nBe brief.<|im_end|>\n",
               "<|im_start|>user\nशुल्क?<|im_end|>\n<|im_start|>assistant\n₹1,500<|im_end|>\n"
               "<|im_start|>user\nWhen?<|im_end|>\n<|im_start|>assistant\nNow.<|im_end|>\n"),
    "llama3": ("", "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>",
               "<|start_header_id|>user<|end_header_id|>\n\nशुल्क?<|eot_id|>"
               "<|start_header_id|>assistant<|end_header_id|>\n\n₹1,500<|eot_id|>"
               "<|start_header_id|>user<|end_header_id|>\n\nWhen?<|eot_id|>"
               "<|start_header_id|>assistant<|end_header_id|>\n\nNow.<|eot_id|>"),
    "gemma": ("<start_of_turn>user\n", "<start_of_turn>user\nBe brief.\n\n",
              "शुल्क?<end_of_turn>\n<start_of_turn>model\n₹1,500<end_of_turn>\n"
              "<start_of_turn>user\nWhen?<end_of_turn>\n<start_of_turn>model\nNow.<end_of_turn>\n"),
    "phi3": ("", "<|system|>\nBe brief.<|end|>\n",
             "<|user|>\nशुल्क?<|end|>\n<|assistant|>\n₹1,500<|end|>\n<|user|>\nWhen?<|end|>\n<|assistant|>\nNow.<|end|>\n"),
    "mistral": ("[INST] ", "[INST] Be brief.\n\n", "शुल्क? [/INST] ₹1,500</s>[INST] When? [/INST] Now.</s>"),
    "zephyr": ("", "<|system|>\nBe brief.</s>\n",
               "<|user|>\nशुल्क?</s>\n<|assistant|>\n₹1,500</s>\n<|user|>\nWhen?</s>\n<|assistant|>\nNow.</s>\n"),
    "vicuna": (VICUNA, "Be brief. ", "USER: शुल्क? ASSISTANT: ₹1,500</s>USER: When? ASSISTANT: Now.</s>"),
    "alpaca": (ALPACA, "Be brief.\n\n",
               "### Instruction:\nशुल्क?\n\n### Response:\n₹1,500</s>\n\n"
               "### Instruction:\nWhen?\n\n### Response:\nNow.</s>\n\n"),
}
"""What a conversation begins with, without and with a system message, and the rest."""


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A folder whose vocabulary has the tokens of every format, and which begins every text with BOS."""
    folder = model_files.write_model(tmp_path_factory.mktemp("base") / "base", template=None)
    named(folder, bos_token="<s>", eos_token="</s>")
    return with_bos(folder, "<s>")


def named(folder: Path, **tokens: str | None) -> None:
    """Change the special tokens that a folder names."""
    file = folder / "tokenizer_config.json"
    state = {**json.loads(file.read_text(encoding="utf-8")), **tokens}
    file.write_text(json.dumps({key: value for key, value in state.items() if value}), encoding="utf-8")


def with_bos(folder: Path, bos: str) -> Path:
    from tokenizers import processors

    tokenizer = local_tokenizer(folder)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_every_template_is_described_and_written():
    assert list(TEXTS) == list(NAMED)
    for name, about in NAMED.items():
        assert about.label and about.about.endswith(".") and (not about.end or about.end in about.own), name


@pytest.mark.parametrize("name", NAMED)
def test_the_texts_are_exactly_those_of_the_format(base, name):
    template, (plain, with_system, rest) = template_of(base, name), TEXTS[name]
    assert template.render(TURNS) == f"<s>{plain}{rest}"
    assert template.render([SYSTEM, *TURNS]) == f"<s>{with_system}{rest}"
    for messages, begun in ((TURNS, plain), ([SYSTEM, *TURNS], with_system)):
        asked = template.render(messages[:-1], add_generation_prompt=True)
        assert asked == f"<s>{begun}{rest}"[:len(asked)]
        assert f"<s>{begun}{rest}"[len(asked):].strip() == f"Now.{NAMED[name].end or '</s>'}"


@pytest.mark.parametrize("name", NAMED)
def test_other_orders_and_roles_are_refused_in_a_sentence(base, name):
    template = template_of(base, name)
    for messages in ([*TURNS, {"role": "critic", "content": "x"}],
                     *([] if name in ("chatml", "llama3", "phi3", "zephyr") else [[*TURNS, SYSTEM, TURNS[0]]])):
        with pytest.raises(UserError, match=r"refuses .*This chat template"):
            template.render(messages)
    assert not template.takes_tools()


PAIRS = sorted(itertools.product(FAMILIES, NAMED), key=lambda pair: (
    list(FAMILIES).index(pair[0]) % len(NAMED) != list(NAMED).index(pair[1]) and pair[0] != "llama3"))
"""Of family and name. In the fast tier, one family has each name, and each other one a name of its own."""
FAST_PAIRS = len(FAMILIES) + len(NAMED) - 1


@pytest.mark.parametrize(("family", "name"), first_fast(PAIRS, FAST_PAIRS))
def test_each_answer_and_one_token_that_ends_it_are_learned(families, tmp_path, family, name):
    folder = without_template(families / family, tmp_path / family)
    tokenizer, template = local_tokenizer(folder), template_of(folder, name)
    eos = template.special_tokens["eos_token"]
    own = NAMED[name].end
    end = own if own and tokenizer.token_to_id(own) is not None else eos
    encoded = encode([SYSTEM, *TURNS], tokenizer, template)
    groups: list[list[int]] = []
    for number, learned in zip(encoded.ids, encoded.learned, strict=True):
        if learned and (not groups or groups[-1] == []):
            groups = [*groups[:-1], [number]] if groups else [[number]]
        elif learned:
            groups[-1].append(number)
        elif groups and groups[-1]:
            groups.append([])
    answers = [group for group in groups if group]
    assert [group[-1] for group in answers] == [tokenizer.token_to_id(end)] * 2
    assert [tokenizer.decode(group[:-1]).strip() for group in answers] == ["₹1,500", "Now."]
    assert end_of_turn(template, tokenizer) == end
    # BOS as the tokenizer itself puts it: once, or never.
    bos = tokenizer.token_to_id(template.special_tokens["bos_token"])
    assert encoded.ids.count(bos) == (0 if family in ("qwen2", "qwen3", "smollm3") else 1)


def test_a_format_whose_end_is_no_token_ends_with_eos(base, families, tmp_path):
    folder = without_template(families / "tinyllama", tmp_path / "tinyllama")
    text = template_of(folder, "chatml").render(TURNS[:2])
    assert text == "<s><|im_start|>user\nशुल्क?</s>\n<|im_start|>assistant\n₹1,500</s>\n"
    assert named_templates.warnings(folder, "chatml") == [
        "<|im_start|>, <|im_end|> aren't tokens of this model, so they are split into several. They aren't added to "
        "the vocabulary."]
    assert named_templates.warnings(folder, "zephyr") == [] == named_templates.warnings(base, "chatml")


def test_the_best_template_is_the_one_whose_tokens_the_model_has(families, tmp_path):
    found = {}
    for family in FAMILIES:
        folder = without_template(families / family, tmp_path / family)
        found[family] = [each.name for each in fitting(folder)]
        assert named_templates.chosen_or_proposed(folder) == found[family][0]
    plain = ["zephyr", "vicuna", "alpaca"]
    assert found == {"phi3": ["phi3", *plain], "llama3": ["llama3", *plain], "mistral": plain,
                     "qwen2": ["chatml", *plain], "tinyllama": plain, "gemma3": ["gemma", *plain],
                     "qwen3": ["chatml", *plain], "smollm3": ["chatml", *plain]}
    first = fitting(tmp_path / "qwen2")[0]
    assert (first.end, first.warning) == ("<|im_end|>", "")
    assert first.reason == "Its vocabulary has the tokens <|im_start|>, <|im_end|>. <|im_end|> ends each turn."
    assert fitting(tmp_path / "mistral")[0].reason == (
        "It has no tokens of a chat format, so plain words mark who is speaking. </s> ends each turn.")


def test_a_model_without_an_end_of_text_gets_none(tmp_path):
    folder = model_files.write_model(tmp_path / "m", template=None)
    tokenizer = local_tokenizer(folder)
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] == "<s>"]
    (folder / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
    named(folder, bos_token="<s>", eos_token=None)
    with pytest.raises(UserError, match="No chat template suits m"):
        fitting(folder)


def test_an_unknown_name_is_told_with_the_known_ones(base):
    with pytest.raises(UserError, match="There is no chat template called \"chat-ml\"") as told:
        template_of(base, "chat-ml")
    assert "chatml, llama3, gemma" in told.value.remedy


def test_what_lies_beside_a_result_comes_first(base, tmp_path):
    (tmp_path / "chat_template.jinja").write_text("{{ bos_token }}kept", encoding="utf-8")
    assert template_of(base, "alpaca", tmp_path).render(TURNS) == "<s>kept"
    assert template_of(base, "alpaca", tmp_path / "empty") == template_of(base, "alpaca")


def test_plain_text_needs_none(base):
    assert named_templates.optional_template(base).source == ""
    with pytest.raises(UserError, match="base has no chat template"):
        template_of(base)


@pytest.mark.parametrize(("template", "said"), [
    ("{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}", "doesn't end an answer with a"),
    ("{% for m in messages %}{{ m.content + '<' + '/s' + '>' + '\n' }}{% endfor %}", None),
    (model_files.CHATML, None),
])
def test_a_template_of_the_models_own_that_ends_nothing_is_told(tmp_path, template, said):
    folder = model_files.write_model(tmp_path / "m", template=template)
    found = named_templates.warnings(folder)
    assert [said in each for each in found] == ([True] if said else [])
    assert named_templates.warnings(folder, "zephyr")[0].startswith(
        "The model was trained with a chat template of its own.")


def with_rows(folder: Path, rows: dict[int, list[float]], dtype: str = "BF16", head: bool = False) -> Path:
    """Give a model's embeddings, or its head if it is wanted, these rows; all others differ from each other."""
    count, width = 300, 8
    tensors = {**model_files.llama_tensors(vocabulary=count, dtype=dtype),
               **({"lm_head.weight": (dtype, (count, width))} if head else {})}
    data = bytearray(model_files.safetensors(tensors))
    start = 8 + struct.unpack_from("<Q", data)[0]
    places = json.loads(data[8:start])
    for name in ("model.embed_tokens.weight", *(["lm_head.weight"] if head else [])):
        changed = rows if name.startswith("lm_head") or not head else {}
        values = [value for number in range(count) for value in
                  changed.get(number) or [random.Random(8 * number + at).gauss() for at in range(width)]]
        raw = (struct.pack(f"<{len(values)}{'e' if dtype == 'F16' else 'f'}", *values))
        if dtype == "BF16":
            raw = b"".join(raw[at + 2:at + 4] for at in range(0, len(raw), 4))
        at = start + places[name]["data_offsets"][0]
        data[at:at + len(raw)] = raw
    (folder / "model.safetensors").write_bytes(data)
    return folder


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_rows_that_nothing_trained_are_found(base, tmp_path, dtype, head):
    folder = without_template(base, tmp_path / "m")
    (folder / "model.safetensors").unlink()
    with_rows(folder, {262: [1e-3] * 8, 263: [7.0, *[2.0] * 7], 264: [7.0, *[2.0] * 7]}, dtype, head)
    asked = range(256, 270)
    assert named_templates.untrained(folder, asked, asked) == {262, 263, 264}


def test_in_a_base_model_a_row_that_is_nearly_another_is_untrained(base, tmp_path):
    """Gemma 3 270M has thousands of rows that are nearly the end of a turn's; SmolLM2, which chats, has some, too."""
    folder = without_template(base, tmp_path / "m")
    (folder / "model.safetensors").unlink()
    with_rows(folder, {263: [7.0, *[2.0] * 7], 264: [7.5, *[2.0] * 7], 265: [7.0, -2.0, *[2.0] * 6]})
    asked = range(256, 270)
    assert named_templates.untrained(folder, asked, asked, only_pretrained=True) == {263, 264}
    assert named_templates.untrained(folder, asked, asked) == set()


@pytest.mark.parametrize("row", [[0.0] * 8, [7.5, *[2.0] * 7]])
def test_a_template_whose_end_was_never_trained_is_not_the_first(base, tmp_path, row):
    folder = without_template(base, tmp_path / "m")
    (folder / "model.safetensors").unlink()
    special = named_templates._vocabulary(folder).special
    with_rows(folder, {special["<|im_end|>"]: row, 299: [7.0, *[2.0] * 7]})
    found = fitting(folder)
    assert [each.name for each in found] == ["llama3", "gemma", "phi3", "zephyr", "vicuna", "alpaca", "chatml"]
    assert found[-1].warning.startswith("<|im_end|>, which ends each turn, was never trained in this model")
    assert named_templates.warnings(folder, "chatml") == [found[-1].warning]
    assert named_templates.warnings(folder, "chatml", adapter_only=False) == []
    (folder / "chat_template.jinja").write_text(model_files.CHATML, encoding="utf-8")
    learned_to_chat = any(row)  # and moved the row as little as that
    assert named_templates.warnings(folder) == ([] if learned_to_chat else [found[-1].warning])
