"""An adapter applied tensor by tensor gives what PEFT's own merge gives."""

from __future__ import annotations

import json

import pytest
import torch
from support import gguf_models as models

from slmstudio.core.errors import UserError


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("base")
    LlamaForCausalLM(LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                                 num_attention_heads=4, num_key_value_heads=2)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("settings", [
    {}, {"use_rslora": True}, {"use_dora": True}, {"modules_to_save": ["lm_head", "embed_tokens"]},
    {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"layers.1.self_attn.q_proj": 3, "v_proj": 1.5}},
    {"target_modules": ["q_proj", "v_proj"]}], ids=str)
def test_equals_pefts_merge(base, tmp_path, settings) -> None:
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    from slmstudio.worker.model.export_source import MergedWeights

    ours = MergedWeights(base, models.adapter_on(base, tmp_path, **settings))
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    merged = PeftModel.from_pretrained(model, tmp_path).merge_and_unload().state_dict()
    weights = load_file(base / "model.safetensors")
    assert set(ours.names) == weights.keys()
    found = {name: torch.from_numpy(ours.whole(name)) for name in weights}
    assert {name for name in weights if not torch.equal(found[name], weights[name])} == {
        name for name in weights if ours.is_changed(name)}
    for name in weights:
        torch.testing.assert_close(found[name], merged[name], rtol=1e-5, atol=1e-6)


def test_what_is_not_known_is_refused(base, tmp_path) -> None:
    from slmstudio.worker.model.export_source import Adapter

    with pytest.raises(UserError, match="can't be read"):
        Adapter(tmp_path)
    models.adapter_on(base, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    for change, named in (({"peft_type": "IA3"}, "IA3"), ({"layer_replication": [[0, 2]]}, "layer_replication")):
        (tmp_path / "adapter_config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(UserError, match="can't be merged") as caught:
            Adapter(tmp_path)
        assert named in caught.value.why
