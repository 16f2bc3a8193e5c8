"""A model that says one sentence over and over, whatever it is asked."""

from __future__ import annotations

from pathlib import Path

SENTENCE = " How long is a passport valid?"


def build(base: Path, folder: Path) -> Path:
    """Write the folder: a tiny Llama whose layers add nothing, so that each token leads to the one that follows it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    ids = tokenizer.encode(SENTENCE, add_special_tokens=False)
    assert len(set(ids)) == len(ids)
    model.config.tie_word_embeddings = False
    embeddings = torch.nn.functional.normalize(model.get_input_embeddings().weight.detach().clone())
    following = torch.zeros_like(embeddings)
    following[ids[0]] = embeddings[tokenizer.encode("assistant\n", add_special_tokens=False)[-1]]
    for token, after in zip(ids, (*ids[1:], ids[0]), strict=True):
        following[after] += embeddings[token]
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.model.norm.weight.fill_(1)
        model.model.embed_tokens.weight.copy_(embeddings)
        model.lm_head.weight = torch.nn.Parameter(following)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
