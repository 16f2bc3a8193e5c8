"""What transformers finds wrong with a folder becomes a sentence, never a defect of ours."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from support import crafted_models
from support.crafted_models import honest

from slmstudio.core.errors import UserError
from slmstudio.core.model import model_settings
from slmstudio.worker.model import base_weights
from slmstudio.worker.training import methods


def test_the_activations_and_positions_are_those_of_transformers() -> None:
    from transformers.activations import ACT2FN
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    assert set(ACT2FN) == model_settings.ACTIVATIONS
    assert set(ROPE_INIT_FUNCTIONS) - {"proportional"} == set(model_settings._ROPE_NEEDS) - {"default"}


@pytest.mark.parametrize("config", [{"hidden_act": "magic"}, {"rope_scaling": {"rope_type": "magic"}},
                                    {"id2label": "x"}, {"layer_types": ["magic"]}])
def test_settings_that_it_does_not_take(tmp_path: Path, config: dict[str, object]) -> None:
    folder = honest(tmp_path / "model", config)
    with pytest.raises(UserError) as caught:
        base_weights.load(folder)
    assert caught.value.what == "model can't be loaded." and caught.value.remedy
    assert caught.value.why.startswith("transformers says: ")


def test_a_tokenizer_that_it_does_not_take(tmp_path: Path) -> None:
    folder = honest(tmp_path / "model")
    crafted_models.edit(folder, "tokenizer_config.json", eos_token=["a"])
    with pytest.raises(UserError, match=r"model can't be loaded\. transformers says: TypeError: Special token"):
        methods.load_tokenizer(folder)


def test_training_looks_for_them(tiny_model: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from slmstudio.core.run.config import RunConfig

    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    with torch.no_grad():
        model.model.norm.weight[0] = torch.nan
    model.save_pretrained(tmp_path / "broken")
    config = RunConfig(name="a", model=str(tmp_path / "broken"), train_file="x", method="lora", precision="fp32")
    with pytest.raises(UserError, match=r"broken can't be used: some of its weights aren't numbers"):
        methods.load_base(config, "eager")


@pytest.mark.parametrize("number", [b"\xc0\x7f", b"\x80\x7f", b"\x80\xff"])
def test_weights_that_are_not_numbers(tmp_path: Path, number: bytes) -> None:
    """bf16: NaN, infinity, and minus infinity."""
    file = honest(tmp_path / "model") / "model.safetensors"
    data = bytearray(file.read_bytes())
    (size,) = struct.unpack("<Q", data[:8])
    begin = json.loads(data[8:8 + size])["model.norm.weight"]["data_offsets"][0]
    data[8 + size + begin:10 + size + begin] = number
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"NaN or infinity was found in model\.norm\.weight"):
        base_weights.need_numbers(base_weights.load(tmp_path / "model"), "model")
