"""A model folder is read without loading it, and everything wrong with it is said at once."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import model_files
from support.tiers import examples

from slmstudio.core.errors import UserError
from slmstudio.core.model.facts import read_model

FUZZ = settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def refused(folder: Path) -> str:
    """Everything the error says."""
    with pytest.raises(UserError) as caught:
        read_model(folder)
    assert caught.value.why
    assert caught.value.remedy
    return str(caught.value)


PARAMETERS = 32 * 8 + 8 + 2 * (8 * 8 * 3 + 4 * 8 * 2 - 8 * 8 + 3 * 16 * 8 + 2 * 8)
"""Values in the weights that `model_files.write_model` writes."""


def read_or_refused(folder: Path) -> None:
    """Whatever is wrong with the rest: all the weights are counted, or a sentence that can be shown says why not."""
    try:
        facts = read_model(folder)
    except UserError as error:
        assert error.what and error.why and error.remedy
        str(error).encode("utf-8")
    else:
        assert facts.parameters == PARAMETERS


def quantized(tensors: dict[str, Any], settings_: dict[str, Any]) -> dict[str, Any]:
    return {"weights": model_files.safetensors(tensors), "config": {"quantization_config": settings_}}


def test_the_facts_of_a_folder(tmp_path: Path) -> None:
    folder = model_files.write_model(tmp_path / "My model")
    facts = read_model(folder)
    assert (facts.name, facts.family, facts.architecture) == ("My model", "Llama", "LlamaForCausalLM")
    assert facts.parameters == PARAMETERS
    assert (facts.layers, facts.heads, facts.kv_heads, facts.head_dim) == (2, 2, 1, 4)
    assert (facts.vocabulary_size, facts.context_length, facts.dtype) == (32, 128, "bf16")
    assert facts.disk_bytes == (folder / "model.safetensors").stat().st_size
    assert facts.tied_embeddings and facts.has_chat_template and facts.quantization is None and facts.licence is None


def test_a_tied_head_counts_once_and_a_loose_one_twice(tmp_path: Path) -> None:
    tensors = model_files.llama_tensors()
    alone = read_model(model_files.write_model(tmp_path / "alone")).parameters
    both = model_files.safetensors({**tensors, "lm_head.weight": ("BF16", (32, 8))})
    assert read_model(model_files.write_model(tmp_path / "tied", weights=both)).parameters == alone
    loose = model_files.write_model(tmp_path / "loose", {"tie_word_embeddings": False}, weights=both)
    assert read_model(loose).parameters == alone + 32 * 8
    silent = model_files.write_model(tmp_path / "silent", {"tie_word_embeddings": None}, weights=both)
    assert not read_model(silent).tied_embeddings


def test_four_bit_weights_count_as_the_values_they_pack(tmp_path: Path) -> None:
    tensors = model_files.llama_tensors(dtype="F32")
    plain = read_model(model_files.write_model(tmp_path / "plain", weights=model_files.safetensors(tensors))).parameters
    packed = {}
    for name, (dtype, shape) in tensors.items():
        if "proj" in name:
            packed |= {name: ("U8", (shape[0] * shape[1] // 2, 1)), f"{name}.absmax": ("U8", (2,)),
                       f"{name}.quant_map": ("F32", (16,)), f"{name}.quant_state.bitsandbytes__nf4": ("U8", (90,))}
        else:
            packed[name] = (dtype, shape)
    facts = read_model(model_files.write_model(tmp_path / "packed", **quantized(
        packed, {"quant_method": "bitsandbytes", "load_in_4bit": True})))
    assert (facts.parameters, facts.quantization) == (plain, "bitsandbytes 4-bit")


def test_other_packings_cannot_be_trained_on(tmp_path: Path) -> None:
    folder = model_files.write_model(tmp_path / "m", {"quantization_config": {"quant_method": "gptq", "bits": 4}})
    assert "gptq" in refused(folder)


@pytest.mark.parametrize(("name", "model_type", "family"), [
    ("SmolLM2-360M", "llama", "SmolLM"), ("TinyLlama_v1.1", "llama", "TinyLlama"), ("Llama-3.2-1B", "llama", "Llama"),
    ("Qwen2.5-1.5B", "qwen2", "Qwen2"), ("Qwen3-0.6B", "qwen3", "Qwen3"), ("phi-3.5-mini", "phi3", "Phi-3"),
    ("Mistral-7B-v0.3", "mistral", "Mistral"), ("gemma-2-2b-it", "gemma2", "Gemma 2"),
    ("apertus", "apertus", "Apertus")])
def test_family_labels(tmp_path: Path, name: str, model_type: str, family: str) -> None:
    folder = model_files.write_model(tmp_path / name, {"model_type": model_type, "pad_token_id": 0},
                                     model_files.weights_of(model_type))
    assert read_model(folder).family == family


def test_shards_and_their_index(tmp_path: Path) -> None:
    folder = model_files.write_model(tmp_path / "m")
    whole = read_model(folder).parameters
    tensors = model_files.llama_tensors()
    (folder / "model.safetensors").unlink()
    halves = [dict(list(tensors.items())[:9]), dict(list(tensors.items())[9:])]
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    for name, half in zip(names, halves, strict=True):
        (folder / name).write_bytes(model_files.safetensors(half))
    index = {"weight_map": {tensor: name for name, half in zip(names, halves, strict=True) for tensor in half}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    facts = read_model(folder)
    assert facts.parameters == whole
    assert facts.disk_bytes == sum((folder / name).stat().st_size for name in names)
    for name in names:
        (folder / name).unlink()
    said = refused(folder)
    assert "2 of 2 weight files are missing" in said and all(name in said for name in names)


def test_an_index_may_not_point_outside_its_folder(tmp_path: Path) -> None:
    folder = model_files.write_model(tmp_path / "m")
    (folder / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    for target in ("../elsewhere.safetensors", str(tmp_path / "elsewhere.safetensors"), "pytorch_model.bin"):
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": target}}))
        assert "aren't safetensors files in this folder" in refused(folder)


def test_shards_without_an_index(tmp_path: Path) -> None:
    folder = model_files.write_model(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    assert "need their index" in refused(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "model.pt"])
def test_pickles_are_refused(tmp_path: Path, name: str) -> None:
    folder = model_files.write_model(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(b"\x80\x02}q\x00.")
    said = refused(folder)
    assert "run code" in said and "convert it to safetensors" in said and name in said


def test_a_truncated_file_says_how_much_is_there(tmp_path: Path) -> None:
    folder = model_files.write_model(tmp_path / "m")
    tensors = {"model.embed_tokens.weight": ("F32", (32, 8)), "big": ("F32", (500_000,))}
    data = model_files.safetensors(tensors)
    (folder / "model.safetensors").write_bytes(data[:1_000_000])
    assert "truncated: 977 KB of 1.9 MB" in refused(folder)
    (folder / "model.safetensors").write_bytes(data[:-1])
    assert f"truncated: {len(data) - 1:,} of {len(data):,} bytes" in refused(folder)
    (folder / "model.safetensors").write_bytes(data[:40])
    assert "ends inside its header" in refused(folder)


@pytest.mark.parametrize(("data", "words"), [
    (b"", "is empty"), (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n", "git lfs pull"),
    (b"<!DOCTYPE html><html>", "web page"), (b"PK\x03\x04" + bytes(50), "zip archive"),
    (b"GGUF" + bytes(50), "GGUF file"),
    (b"\x80\x02}q\x00.", "pickle"), (bytes(100), "isn't a safetensors file"),
    (struct.pack("<Q", 200_000_000) + b"{", "isn't a safetensors file"), (struct.pack("<Q", 2) + b"{]", "isn't JSON"),
    (model_files.safetensors({"a": ("F32", (2,))}) + b"x", "1 byte follows"),
    (model_files.safetensors({"a": ("F32", (2,))}).replace(b"F32", b"F99"), "F99"),
    (model_files.safetensors({"a": ("F32", (2,)), "b": ("F32", (2,))}).replace(b"[8, 16]", b"[0,  8]"), "overlap"),
    (model_files.safetensors({"a": ("F32", (2,))}).replace(b'"shape": [2]', b'"shape": [3]'), "damaged"),
    (model_files.safetensors({}), "no tensor")])
def test_what_is_no_safetensors_file(tmp_path: Path, data: bytes, words: str) -> None:
    assert words in refused(model_files.write_model(tmp_path / "m", weights=data))


def test_everything_wrong_is_said_together(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama",')
    (folder / "pytorch_model.bin").write_bytes(b"x")
    (folder / "tokenizer.model").write_bytes(b"x")
    (folder / "tokenizer_config.json").write_text("[]")
    with pytest.raises(UserError) as caught:
        read_model(folder)
    said = [problem.message for problem in caught.value.problems]
    assert len(said) == 4
    for words in ("config.json isn't JSON. The error is at line 1", "pickle",
                  "tokenizer.model, which must be converted", "tokenizer_config.json isn't a JSON object"):
        assert any(words in message for message in said), words


def test_tokenizers(tmp_path: Path) -> None:
    folder = model_files.write_model(tmp_path / "m")
    text = (folder / "tokenizer.json").read_bytes()
    for data, words in ((text[:-100], "truncated"), (b"version https://git-lfs", "git lfs pull"), (b"", "empty")):
        (folder / "tokenizer.json").write_bytes(data)
        assert words in refused(folder)
    (folder / "tokenizer.json").unlink()
    assert "neither tokenizer.json nor tokenizer.model" in refused(folder)


@pytest.mark.parametrize(("config", "words"), [
    ({"model_type": "my_own", "auto_map": {"AutoModelForCausalLM": "modeling.MyOwn"}}, "trust_remote_code stays off"),
    ({"model_type": "my_own"}, "isn't a language model"), ({"model_type": None}, "no `model_type`"),
    ({"architectures": ["LlamaForSequenceClassification"]}, "no head to write text with"),
    ({"num_hidden_layers": 3}, "promises 3 layers, but the weights contain 2"),
    ({"hidden_size": 16}, "don't belong together"),
    ({"model_type": "apertus", "num_attention_heads": None}, "num_attention_heads"),
    ({"num_hidden_layers": -1}, "num_hidden_layers")])
def test_configurations_that_cannot_be_used(tmp_path: Path, config: dict[str, Any], words: str) -> None:
    assert words in refused(model_files.write_model(tmp_path / "m", config))


def without(*parts: str, **added: tuple[int, ...]) -> bytes:
    """A Llama's weights without the tensors whose names contain one of `parts`."""
    tensors = {name: tensor for name, tensor in model_files.llama_tensors().items()
               if not any(part in name for part in parts)}
    return model_files.safetensors(tensors | {name: ("BF16", shape) for name, shape in added.items()})


@pytest.mark.parametrize(("config", "weights", "words"), [
    ({}, without("q_proj"), "2 of the 20 tensors that the model needs are missing from its weights: "
                            "layers.*.self_attn.q_proj.weight (2 layers). Random numbers would be used"),
    ({}, without("mlp"), "6 of the 20 tensors"), ({}, without("layers.1.mlp.up"), "1 of the 20 tensors that the model "
                                                  "needs is missing from its weights"),
    ({"tie_word_embeddings": False}, without(), "1 of the 21 tensors that the model needs is missing"),
    ({"tie_word_embeddings": None}, without(), "lm_head.weight."),
    ({"tie_word_embeddings": False}, without(**{"lm_heads.weight": (32, 8)}), "lm_head.weight."),
    ({"attention_bias": True}, without(), "layers.*.self_attn.q_proj.bias (2 layers)"),
    ({"intermediate_size": 12}, without(), "6 of the 20 tensors don't have the shape that config.json says: "
                                           "layers.*.mlp.gate_proj.weight (2 layers), layers.*.mlp.up_proj.weight"),
    ({}, without("model.norm", "q_proj", **{"model.norm.weight": (7,)}), "1 of the 20 tensors doesn't have the shape")])
def test_weights_that_would_become_random_numbers(tmp_path: Path, config: dict[str, Any], weights: bytes,
                                                  words: str) -> None:
    assert words in refused(model_files.write_model(tmp_path / "m", config, weights))


def test_weights_of_an_unknown_architecture_are_not_judged(tmp_path: Path) -> None:
    """The worker does, by transformers' own report."""
    assert read_model(model_files.write_model(tmp_path / "m", {"model_type": "apertus"}, without("q_proj"))).layers == 2


def test_sizes_that_only_the_weights_know(tmp_path: Path) -> None:
    config = {"model_type": "apertus", "vocab_size": None, "hidden_size": None, "max_position_embeddings": None}
    facts = read_model(model_files.write_model(tmp_path / "m", config))
    assert (facts.vocabulary_size, facts.hidden_size, facts.context_length) == (32, 8, 2048)


def test_known_architectures_need_no_code_of_their_own(tmp_path: Path) -> None:
    config = {"model_type": "phi3", "pad_token_id": 0, "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"}}
    folder = model_files.write_model(tmp_path / "m", config, model_files.weights_of("phi3"))
    assert read_model(folder).family == "Phi-3"


def test_other_things_that_a_person_may_choose(tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "Qwen/Qwen2.5-0.5B"}))
    (adapter / "adapter_model.safetensors").write_bytes(model_files.safetensors({"a": ("F32", (2,))}))
    assert "adapter, not a base model" in refused(adapter) and "Qwen/Qwen2.5-0.5B" in refused(adapter)
    gguf = tmp_path / "m.gguf"
    gguf.write_bytes(model_files.small_gguf())
    assert "contains a GGUF file" in refused(tmp_path) and IMPORT in refused(tmp_path)
    assert "doesn't exist" in refused(tmp_path / "nowhere")


IMPORT = 'import it: choose it with "GGUF…" in the Model tab'


def test_a_file_where_a_folder_is_expected(tmp_path: Path) -> None:
    """Each kind is told what to do with it."""
    gguf = tmp_path / "m.gguf"
    gguf.write_bytes(model_files.small_gguf())
    said = refused(gguf)
    assert said.startswith("m.gguf is a GGUF file") and IMPORT in said
    assert f"models import {gguf}, which unpacks it" in said
    blob = gguf.rename(tmp_path / "sha256-0f1e")
    assert f"models import {blob}" in refused(blob)
    text = tmp_path / "notes.gguf"
    text.write_text("shopping list")
    said = refused(text)
    assert said.startswith("notes.gguf is a single file, not a base model. "
                           "A base model is a folder that contains config.")
    assert "this file doesn't" in said and "Choose the model's folder, or a GGUF file with" in said
    folder = model_files.write_model(tmp_path / "model")
    assert f"Choose the folder it is in: {folder}" in refused(folder / "tokenizer.json")
    (tmp_path / "empty").touch()
    assert "is a single file" in refused(tmp_path / "empty")


def test_the_hub_cache(tmp_path: Path) -> None:
    cache = tmp_path / "models--Qwen--Qwen2.5-0.5B"
    model_files.write_model(cache / "snapshots" / "060db6499f32", {"model_type": "qwen2"},
                            model_files.weights_of("qwen2"))
    assert read_model(cache / "snapshots" / "060db6499f32").name == "Qwen2.5-0.5B"
    assert "`snapshots`" in refused(cache)


@pytest.mark.parametrize(("file", "text", "licence"), [
    ("README.md", "---\nlanguage:\n- hi\nlicense: apache-2.0\n---\n# Model\nlicense: mit\n", "Apache-2.0"),
    ("README.md", "---\r\nlicense: 'other'\r\nlicense_name: sarvam\r\n---\r\n", "sarvam"),
    ("README.md", "---\nlicense: llama3.2\n---\n", "Llama 3.2"),
    ("README.md", "# No front matter\nlicense: mit\n", None),
    ("LICENSE", "\n   Apache License\n  Version 2.0\n", "Apache-2.0"),
    ("LICENSE", "MIT License\n\nCopyright", "MIT"), ("LICENSE.txt", "# Gemma Terms of Use\n", "Gemma Terms of Use")])
def test_licences(tmp_path: Path, file: str, text: str, licence: str | None) -> None:
    folder = model_files.write_model(tmp_path / "m")
    (folder / file).write_bytes(text.encode())
    assert read_model(folder).licence == licence


def test_a_seeing_models_language_part(tmp_path: Path) -> None:
    text = {**model_files.CONFIG, "model_type": "gemma3_text", "num_attention_heads": None, "vocab_size": None}
    config = dict.fromkeys(model_files.CONFIG) | {
        "architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3",
        "vision_config": {"hidden_size": 1152},
        "text_config": {key: value for key, value in text.items() if value is not None}}
    weights = model_files.weights_of("gemma3_text", heads=8, kv_heads=1, head_dim=256, vocabulary_size=262_208)
    facts = read_model(model_files.write_model(tmp_path / "m", config, weights))
    assert (facts.family, facts.heads, facts.vocabulary_size, facts.layers) == ("Gemma 3", 8, 262_208, 2)


@FUZZ
@given(st.binary(max_size=300))
def test_any_bytes_as_config(tmp_path: Path, data: bytes) -> None:
    folder = model_files.write_model(tmp_path / "m")
    (folder / "config.json").write_bytes(data)
    refused(folder)


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
                    max_leaves=6)


@FUZZ
@given(st.dictionaries(st.sampled_from([*model_files.CONFIG, "text_config", "auto_map", "quantization_config",
                                        "license",
                                        "head_dim", "n_embd"]), JSON, max_size=6))
def test_any_values_in_config(tmp_path: Path, config: dict[str, Any]) -> None:
    folder = model_files.write_model(tmp_path / "m")
    (folder / "config.json").write_text(json.dumps({**model_files.CONFIG, **config}))
    read_or_refused(folder)


@FUZZ
@given(JSON)
def test_any_values_in_tokenizer_config(tmp_path: Path, value: Any) -> None:
    folder = model_files.write_model(tmp_path / "m", template=None)
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": value, "model_max_length": value}))
    try:
        assert read_model(folder).has_chat_template == (value is not None)
    except UserError as error:
        assert "chat template" in str(error) or "tokenizer_config.json" in str(error)


@FUZZ
@given(st.binary(max_size=200) | st.builds(lambda data: struct.pack("<Q", len(data)) + data, st.binary(max_size=200)))
def test_any_bytes_as_weights(tmp_path: Path, data: bytes) -> None:
    refused(model_files.write_model(tmp_path / "m", weights=data))


@FUZZ
@given(st.integers(0, 700), st.integers(0, 255))
def test_a_wrong_byte_in_a_header(tmp_path: Path, at: int, byte: int) -> None:
    data = bytearray(model_files.safetensors(model_files.llama_tensors()))
    data[at] = byte
    read_or_refused(model_files.write_model(tmp_path / "m", weights=bytes(data)))


def test_deep_nesting_is_damage(tmp_path: Path) -> None:
    folder = model_files.write_model(tmp_path / "m")
    (folder / "config.json").write_text("[" * 100_000)
    assert "config.json is nested too deeply" in refused(folder)


@pytest.mark.parametrize(("left_out", "words"), [
    ("hidden_size", "the hidden size is 4,096 in one and 8"), ("vocab_size", "shape that config.json says"),
    ("intermediate_size", "shape that config.json says"), ("num_key_value_heads", "shape that config.json says")])
def test_sizes_that_are_left_out_are_the_familys_usual_ones(tmp_path: Path, left_out: str, words: str) -> None:
    """As transformers takes them: what the weights hold doesn't count, and training would refuse the model."""
    assert words in refused(model_files.write_model(tmp_path / "m", {left_out: None}))


def test_a_padding_token_that_is_left_out_needs_a_row_too(tmp_path: Path) -> None:
    folder = model_files.write_model(tmp_path / "m", {"model_type": "phi3"}, model_files.weights_of("phi3"))
    assert "usual one is 32,000, but the embeddings have 32 rows" in refused(folder)
