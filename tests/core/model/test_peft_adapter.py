"""Adapters of other programs: what is read of them, what is kept, and what is refused, without loading anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import model_files

from slmstudio.core.errors import UserError
from slmstudio.core.model.peft_adapter import find_base, is_adapter, misfits, need_loadable, read_adapter

CONFIG: dict[str, Any] = {
    "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "lora_dropout": 0.05,
    "target_modules": ["q_proj", "v_proj"], "base_model_name_or_path": "acme/tiny-llama", "bias": "none",
    "init_lora_weights": True, "megatron_core": "megatron.core", "megatron_config": None, "loftq_config": {},
    "qalora_group_size": 16, "auto_mapping": None, "peft_version": "0.21.0", "revision": None, "lora_bias": False}
Shapes = dict[str, tuple[str, tuple[int, ...]]]


def tensors(layers: int = 2, rank: int = 2, hidden: int = 8, key: int = 4, dora: bool = False) -> Shapes:
    found: Shapes = {}
    for layer in range(layers):
        for name, out in (("q_proj", hidden), ("v_proj", key)):
            start = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            found |= {f"{start}.lora_A.weight": ("F32", (rank, hidden)), f"{start}.lora_B.weight": ("F32", (out, rank))}
            if dora:
                found[f"{start}.lora_magnitude_vector"] = ("F32", (out,))
    return found


def write(folder: Path, change: dict[str, Any] | None = None, held: Shapes | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **(change or {})}), encoding="utf-8")
    (folder / "adapter_model.safetensors").write_bytes(model_files.safetensors(tensors() if held is None else held))
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_adapter(folder)
    return str(caught.value)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_link_that_leads_out_is_not_followed(tmp_path: Path, name: str) -> None:
    write(tmp_path / "elsewhere")
    folder = write(tmp_path / "a")
    (folder / name).unlink()
    (folder / name).symlink_to(tmp_path / "elsewhere" / name)
    assert f"{name} is a link that leads out of the folder" in refused(folder)
    with pytest.raises(UserError):
        need_loadable(folder)


def test_links_of_the_hubs_cache_are_followed(tmp_path: Path) -> None:
    model = tmp_path / "models--acme--adapter"
    (model / "snapshots").mkdir(parents=True)
    (model / "blobs").mkdir()
    config = write(model / "snapshots" / "0a1b") / "adapter_config.json"
    config.rename(model / "blobs" / "0c")
    config.symlink_to("../../blobs/0c")
    assert read_adapter(config.parent).rank == 2


def test_what_is_read_and_what_is_kept(tmp_path: Path) -> None:
    folder = write(tmp_path / "a")
    adapter = read_adapter(folder)
    assert is_adapter(folder) and not is_adapter(tmp_path)
    assert (adapter.name, adapter.base_named, adapter.rank, adapter.alpha) == ("a", "acme/tiny-llama", 2, 4.0)
    assert adapter.shapes["model.layers.1.self_attn.v_proj.weight"] == (4, 8) and len(adapter.shapes) == 4
    assert adapter.config == {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "inference_mode": True, "bias": "none",
        "init_lora_weights": True, "r": 2, "lora_alpha": 4, "lora_dropout": 0.05,
        "target_modules": [f"model.layers.{layer}.self_attn.{name}" for layer in (0, 1)
                           for name in ("q_proj", "v_proj")]}


def test_kinds_of_lora(tmp_path: Path) -> None:
    assert read_adapter(write(tmp_path / "dora", {"use_dora": True}, tensors(dora=True))).config["use_dora"]
    pattern = {"rank_pattern": {"q_proj": 3, "v_proj": 3}, "alpha_pattern": {"layers.1.self_attn.q_proj": 7.5}}
    adapter = read_adapter(write(tmp_path / "pattern", pattern, tensors(rank=3)))
    assert adapter.rank == 3 and pattern.items() <= adapter.config.items()
    head = {"base_model.model.lm_head.weight": ("BF16", (32, 8))}
    saved = read_adapter(write(tmp_path / "saved", {"modules_to_save": ["lm_head"]}, tensors() | head))
    assert saved.whole == {"lm_head.weight"} and saved.shapes["lm_head.weight"] == (32, 8)


BROKEN = tensors()
del BROKEN["base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight"]


@pytest.mark.parametrize(("change", "held", "words"), [
    ({"peft_type": "IA3"}, None, "of type 'IA3'"),
    ({"r": 0}, None, "r: The rank must be"), ({"r": True}, None, "r: The rank must be"),
    ({"lora_alpha": "many"}, None, "lora_alpha: Alpha must"), ({"lora_dropout": 1}, None, "lora_dropout: Dropout must"),
    ({"bias": "all"}, None, "bias: It also has trained biases"),
    ({"init_lora_weights": "pissa"}, None, "'pissa', which changes the base's own weights"),
    ({"auto_mapping": {"parent_library": "evil", "base_model_class": "X"}}, None, "auto_mapping: It points to code"),
    ({"megatron_config": {"a": 1}}, None, "megatron_config: megatron_config isn't supported"),
    ({"layer_replication": [[0, 1]]}, None, "layer_replication: "), ({"a_new_key": [1]}, None, "a_new_key: "),
    ({"rank_pattern": {"(a+)+$": 2}}, None, "rank_pattern: It must give a number"),
    ({"modules_to_save": "lm_head"}, None, "modules_to_save: It must be a list"),
    ({"use_dora": True}, None, "incomplete"), ({"r": 5}, None, "don't have the rank"), ({}, BROKEN, "incomplete"),
    ({}, {"base_model.model.model.embed_tokens.lora_embedding_A": ("F32", (2, 8))}, "belong to a LoRA adapter"),
    ({}, tensors() | {"base_model.model.lm_head.weight": ("F32", (32, 8))}, "belong to a LoRA adapter"),
    ({}, {"q_proj.lora_A.weight": ("F32", (2, 8))}, "belong to a LoRA adapter"), ({}, {}, "doesn't change any layer")])
def test_what_is_refused(tmp_path: Path, change: dict[str, Any], held: Shapes | None, words: str) -> None:
    assert words in refused(write(tmp_path / "a", change, held))


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    said = refused(write(tmp_path / "a", {"r": -1, "bias": "all", "use_qalora": True}, BROKEN))
    assert all(words in said for words in ("r: ", "bias: ", "use_qalora: ", "incomplete"))


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    folder = write(tmp_path / "a")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    assert "Python pickle (adapter_model.bin), which can run code" in refused(folder)
    (folder / "adapter_model.bin").unlink()
    assert "adapter_model.safetensors is missing" in refused(folder)


def test_the_base_is_found_by_its_name_and_its_shapes(tmp_path: Path) -> None:
    adapter = read_adapter(write(tmp_path / "a"))
    others = model_files.write_model(tmp_path / "other"), model_files.write_model(tmp_path / "Tiny-Llama")
    assert misfits(adapter, others[0]) == [] and find_base(adapter, others) == others[1]
    with pytest.raises(UserError) as caught:
        find_base(adapter, others[:1])
    assert "acme/tiny-llama, which isn't on this machine" in str(caught.value) and str(others[0]) in str(caught.value)
    named = read_adapter(write(tmp_path / "b", {"base_model_name_or_path": str(others[0])}))
    assert find_base(named, []) == others[0]
    elsewhere = read_adapter(write(tmp_path / "d", {"base_model_name_or_path": f"/{others[0]}"}))
    with pytest.raises(UserError, match="wasn't found"):
        find_base(elsewhere, [])  # on Windows, //HOST/SHARE would be asked for over the network
    with pytest.raises(UserError, match="wasn't found"):
        find_base(read_adapter(write(tmp_path / "c", {"base_model_name_or_path": None})), [tmp_path / "gone"])


def test_another_base_is_told_apart(tmp_path: Path) -> None:
    base = model_files.write_model(tmp_path / "base")
    deeper = read_adapter(write(tmp_path / "deeper", held=tensors(layers=3)))
    assert misfits(deeper, base) == ["base doesn't have model.layers.2.self_attn.q_proj.weight, "
                                     "model.layers.2.self_attn.v_proj.weight, which the adapter changes."]
    wider = read_adapter(write(tmp_path / "wider", held=tensors(hidden=16)))
    assert misfits(wider, base) == ["model.layers.0.self_attn.q_proj.weight is 8 × 8 in base, and 16 × 16 in the "
                                    "adapter."]
    head = {"base_model.model.lm_head.weight": ("BF16", (33, 8))}
    grown = read_adapter(write(tmp_path / "grown", {"modules_to_save": ["lm_head"]}, tensors() | head))
    assert misfits(grown, base) == ["lm_head.weight is 32 × 8 in base, and 33 × 8 in the adapter."]


@pytest.mark.parametrize(("key", "value"), [
    ("target_modules", r"(\w+\.?)+Z"), ("target_modules", ".*.*.*.*Z"), ("exclude_modules", "(a|a)*b"),
    ("layers_pattern", ["layers", "(x+)+y"]), ("rank_pattern", {"(a*)*b": 4}), ("alpha_pattern", {"a{2,}.*.*.*b": 4}),
    ("target_modules", "a" * 5_000)])
def test_regular_expressions_without_end_are_refused(tmp_path: Path, key: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"{key}: It is a regular expression that may take forever"):
        need_loadable(write(tmp_path / "a", {key: value}))


@pytest.mark.parametrize("value", [["q_proj"], "all-linear", r".*\.(q_proj|v_proj)", None,
                                   r".*(vision|visual|image|multi_modal|audio|speech).*"])
def test_quick_ones_are_not(tmp_path: Path, value: Any) -> None:
    need_loadable(write(tmp_path / "a", {"target_modules": value, "exclude_modules": value}))


def test_pickles_are_never_given_to_peft(tmp_path: Path) -> None:
    folder = write(tmp_path / "a")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(UserError, match=r"are a Python pickle \(adapter_model\.bin\), which can run code") as caught:
        need_loadable(folder)
    assert "weights_only" not in str(caught.value)
    (folder / "adapter_model.safetensors").write_bytes(b"\x80\x04N.")
    with pytest.raises(UserError, match="Python pickle"):
        need_loadable(folder)
