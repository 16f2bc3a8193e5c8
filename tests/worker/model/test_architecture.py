"""The tensors that the core expects of the known families are those that transformers makes of config.json."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.family_models import FAMILIES
from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from slmstudio.core.model import architecture
from slmstudio.core.model.architecture import LABELS, PADDED_ONLY
from slmstudio.core.model.facts import _sizes
from slmstudio.core.run.planning.proposal import EAGER_ONLY
from slmstudio.worker.training import methods

SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "vocab_size": 300, "head_dim": 32, "bos_token_id": 1, "eos_token_id": 2,
         "pad_token_id": 0}
DETAILS: list[dict[str, Any]] = [{}, {"attention_bias": True, "mlp_bias": True}, {"tie_word_embeddings": True},
                                 {"tie_word_embeddings": False}]


@pytest.mark.parametrize("details", DETAILS, ids=str)
@pytest.mark.parametrize("family", sorted(architecture.USUAL))
def test_the_tensors_of_a_family(family: str, details: dict[str, Any], tmp_path) -> None:
    config = {"model_type": family, **SIZES, **details}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    theirs = {name.removeprefix("model."): tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        del theirs["lm_head.weight"]
    assert architecture.needed(config, _sizes(tmp_path, config, family, None)) == theirs


@pytest.mark.parametrize("family", sorted(architecture.USUAL))
def test_what_config_json_leaves_out_is_what_transformers_takes(family: str, tmp_path) -> None:
    usual = architecture.USUAL[family]
    theirs = CONFIG_MAPPING[family]()
    assert (theirs.tie_word_embeddings, theirs.num_hidden_layers) == (usual.tied, usual.layers)
    assert (theirs.pad_token_id or None) == usual.pad_token_id
    for left_out in ("head_dim", "num_key_value_heads", "intermediate_size", "hidden_size", "vocab_size",
                     "num_attention_heads"):
        config = {"model_type": family, **{key: value for key, value in SIZES.items() if key != left_out}}
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
        theirs = {name.removeprefix("model."): tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        for name, shape in architecture.needed(config, _sizes(tmp_path, config, family, None)).items():
            assert shape == theirs[name], (left_out, name)


WITH_LAYERS = {"lfm2", "lfm2_moe", "lfm3", "llama4", "llama4_text", "minimax"}
"""Those of `PADDED_ONLY` that only their layers' kinds keep from being packed."""


def _is_stateful(kind: str) -> bool:
    """Whether an architecture's rows would run into one another, whatever its layers are."""
    made = MODEL_FOR_CAUSAL_LM_MAPPING[CONFIG_MAPPING[kind]]
    return bool(made._is_stateful or not made._supports_attention_backend)


def test_who_needs_eager_attention_and_who_can_be_packed(families, tmp_path) -> None:
    """What transformers says of each architecture that has a name here."""
    fused: dict[str, bool] = {}
    for kind in LABELS.keys() & MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.keys():
        fused[kind] = MODEL_FOR_CAUSAL_LM_MAPPING[CONFIG_MAPPING[kind]]._supports_sdpa
    assert {kind for kind, can in fused.items() if not can} <= EAGER_ONLY
    assert not {kind for kind in EAGER_ONLY & fused.keys() if fused[kind]}
    wrong = {kind for kind in fused if fused[kind] and kind not in EAGER_ONLY and _is_stateful(kind)} - PADDED_ONLY
    assert not wrong, "these are planned to be packed, and can't be"
    known = PADDED_ONLY & MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.keys()
    assert {kind for kind in known - WITH_LAYERS if not _is_stateful(kind)} == methods.NOT_TOLD
    assert all(methods.keeps_rows_apart(families / family) for family in FAMILIES)
    for kind in ("gemma2", "falcon", "mpt", "mamba", "nemotron", "lfm2"):
        details = {"layer_types": ["conv", "full_attention"], "num_hidden_layers": 2} if kind == "lfm2" else {}
        CONFIG_MAPPING[kind](**details).save_pretrained(tmp_path / kind)
        assert not methods.keeps_rows_apart(tmp_path / kind), kind
    assert [methods.own_attention(tmp_path / kind) for kind in ("gemma2", "falcon")] == ["eager", "sdpa"]
