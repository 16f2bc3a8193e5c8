"""Tiny models that think: chat templates like those of reasoning models, and weights that write given words."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path

QWEN3 = (
    "{% for m in messages %}"
    "{% if m.role == 'assistant' and loop.last %}"
    "{% set parts = m.content.split('</think>') %}"
    "{% set thoughts = parts[0].split('<think>')[-1].strip('\n') if parts | length > 1 else '' %}"
    "{{ '<|im_start|>assistant\n<think>\n' + thoughts + '\n</think>\n\n' + parts[-1].lstrip('\n') + '<|im_end|>\n' }}"
    "{% else %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{% endif %}"
)
"""What counts of Qwen3's template: the last answer has thoughts before it, and the prompt has empty ones if asked."""
ALWAYS = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content.split('</think>')[-1] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
)
"""As of R1's distilled models: every answer begins in thoughts."""
WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
         r"\s+(?!\S)|\s+")
"""Where Qwen3's tokenizer parts a text before it makes tokens: line breaks never go with what follows them."""


def build(model: Path, folder: Path, template: str | None = None, words: Sequence[str] = (), ends: bool = True) -> Path:
    """A copy with Qwen3's parting of texts, and with tokens for thoughts, which are no special ones.

    Args:
        template: instead of the model's own.
        words: what it writes after a line break, whatever it has read: each one token, and no two alike. Its head looks
            at nothing but the last token.
        ends: whether it ends then, or goes on with the last word for ever.
    """
    import torch
    from tokenizers import Regex, pre_tokenizers
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    shutil.copytree(model, folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(WORDS), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    if template is not None:
        tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.manual_seed(1)
    network.resize_token_embeddings(len(tokenizer))
    if words:
        table = network.model.embed_tokens.weight
        network.config.tie_word_embeddings = False
        path = [tokenizer.encode(word, add_special_tokens=False) for word in ("\n", *words)]
        assert all(len(ids) == 1 for ids in path)
        path.append([tokenizer.eos_token_id] if ends else path[-1])
        with torch.no_grad():
            for layer in network.model.layers:
                layer.self_attn.o_proj.weight.zero_()
                layer.mlp.down_proj.weight.zero_()
            head = torch.zeros_like(table)
            for [last], [following] in itertools.pairwise(path):
                head[following] += 50 * table[last] / table[last].norm()
            network.lm_head.weight = torch.nn.Parameter(head)
    network.save_pretrained(folder)
    return folder
