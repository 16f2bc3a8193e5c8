"""Weights that are missing from a model's files are refused by the loader's own report, whatever the architecture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from slmstudio.core.errors import UserError
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.answering import model_loader
from slmstudio.worker.training import methods

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "vocab_size": 60, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
UNKNOWN = "stablelm"
"""An architecture whose tensors the core doesn't know."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / UNKNOWN
    AutoModelForCausalLM.from_config(AutoConfig.for_model(UNKNOWN, **SIZES)).save_pretrained(folder)
    return folder


def changed(whole: Path, folder: Path, change) -> Path:
    folder.mkdir()
    (folder / "config.json").write_bytes((whole / "config.json").read_bytes())
    tensors = load_file(whole / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def rename_head(tensors) -> None:
    tensors["lm_heads.weight"] = tensors.pop("lm_head.weight")


def drop_mlp(tensors) -> None:
    for name in [name for name in tensors if "mlp" in name]:
        del tensors[name]


def cut_norm(tensors) -> None:
    tensors["model.norm.weight"] = tensors["model.norm.weight"][:7].clone()


def train_base(folder: Path) -> None:
    methods.load_base(RunConfig(name="x", model=str(folder), train_file="x"), "sdpa")


def evaluated(folder: Path) -> None:
    model_loader.load(folder, torch.float32)


@pytest.mark.parametrize("load", [train_base, evaluated])
@pytest.mark.parametrize(("change", "words"), [
    (rename_head, "Tensors missing from its weights: lm_head.weight. Random numbers would be used instead. Its files "
                  "contain tensors that the model doesn't have: lm_heads.weight."),
    (drop_mlp, "model.layers.*.mlp.up_proj.weight (2 layers)"),
    (cut_norm, "Tensors that don't have the shape that config.json says: model.norm.weight.")])
def test_what_is_missing_is_named(whole, tmp_path, load, change, words) -> None:
    with pytest.raises(UserError) as caught:
        load(changed(whole, tmp_path / "m", change))
    assert caught.value.what == "m can't be used: its weights aren't complete."
    assert words in caught.value.why


@pytest.mark.parametrize("load", [train_base, evaluated])
def test_a_whole_model_is_loaded(whole, load) -> None:
    load(whole)
