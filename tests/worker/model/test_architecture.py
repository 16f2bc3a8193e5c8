"""The tensors that the core expects of the known families are those that transformers makes of config.json."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from slmstudio.core.model import architecture
from slmstudio.core.model.facts import _sizes

SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "vocab_size": 300, "head_dim": 32, "bos_token_id": 1, "eos_token_id": 2,
         "pad_token_id": 0}
DETAILS: list[dict[str, Any]] = [{}, {"attention_bias": True, "mlp_bias": True}, {"tie_word_embeddings": True},
                                 {"tie_word_embeddings": False}]


@pytest.mark.parametrize("details", DETAILS, ids=str)
@pytest.mark.parametrize("family", sorted(architecture.TIED))
def test_the_tensors_of_a_family(family: str, details: dict[str, Any], tmp_path) -> None:
    config = {"model_type": family, **SIZES, **details}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    theirs = {name.removeprefix("model."): tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        del theirs["lm_head.weight"]
    assert architecture.needed(config, _sizes(tmp_path, config, family, None)) == theirs


@pytest.mark.parametrize("family", sorted(architecture.TIED))
def test_what_config_json_leaves_out_is_not_guessed(family: str, tmp_path) -> None:
    config = {"model_type": family, **{key: value for key, value in SIZES.items()
                                       if key not in ("head_dim", "num_key_value_heads")}, "num_attention_heads": 8}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    theirs = {name.removeprefix("model."): tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name, shape in architecture.needed(config, _sizes(tmp_path, config, family, None)).items():
        assert shape in (None, theirs[name]), name
