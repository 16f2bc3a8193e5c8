"""Tiny model folders of layouts beside those of `family_models`: what else people bring, by transformers' `model_type`.

Random weights in the layout's real architecture, with the files' names as the hub has them. Values of config.json that
change what is computed are there, in sizes that fit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import family_models as families
from support import tiny_model

ROPE_LLAMA3 = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 256, "rope_theta": 500000.0}
LONG_ROPE = {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 512}
GEMMA_HEADS = {"head_dim": 64, "query_pre_attn_scalar": 64, "sliding_window": 32}
LAYOUTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-3.2": ("llama", {"tie_word_embeddings": True, "rope_parameters": ROPE_LLAMA3, "head_dim": 64}),
    "llama-enlarged": ("llama", {"rows": 64}),
    "qwen2.5-tied": ("qwen2", {"tie_word_embeddings": True}),
    "gemma": ("gemma", {"head_dim": 64}),
    "gemma-2": ("gemma2", GEMMA_HEADS),
    "phi-4-mini": ("phi3", {"tie_word_embeddings": True, "rope_parameters": {
        **LONG_ROPE, "partial_rotary_factor": 0.75, "short_factor": [1.0] * 24,
        "long_factor": [1 + n / 4 for n in range(24)]}}),
    "phi-3-longrope": ("phi3", {"num_key_value_heads": 4, "rope_parameters": {
        **LONG_ROPE, "short_factor": [1 + n / 64 for n in range(32)], "long_factor": [1 + n / 4 for n in range(32)]}}),
    "phi": ("phi", {"partial_rotary_factor": 0.5, "num_key_value_heads": 4, "intermediate_size": 1024}),
    "granite": ("granite", {"logits_scaling": 8.0, "embedding_multiplier": 12.0, "residual_multiplier": 0.22,
                            "attention_multiplier": 0.0156}),
    "granite-4": ("granitemoehybrid", {
        "rows": 8, "num_local_experts": 0, "num_experts_per_tok": 0, "shared_intermediate_size": 512,
        "logits_scaling": 8.0, "embedding_multiplier": 12.0, "residual_multiplier": 0.22,
        "attention_multiplier": 0.0156, "position_embedding_type": "rope",
        "layer_types": ["attention", "attention"], "tie_word_embeddings": True}),
    "granite-4-h": ("granitemoehybrid", {
        "rows": 8, "num_local_experts": 0, "num_experts_per_tok": 0, "shared_intermediate_size": 512,
        "layer_types": ["mamba", "attention"], "mamba_n_heads": 8, "mamba_d_head": 64,
        "mamba_d_state": 32, "mamba_expand": 2}),
    "olmo": ("olmo", {}),
    "olmo-2": ("olmo2", {}),
    "olmo-3": ("olmo3", {"num_hidden_layers": 4, "sliding_window": 32}),
    "stablelm-2": ("stablelm", {"use_qkv_bias": True, "partial_rotary_factor": 0.25}),
    "falcon-3": ("llama", {"head_dim": 128, "num_key_value_heads": 1}),
    "falcon-7b": ("falcon", {"hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
                             "new_decoder_architecture": False, "multi_query": True,
                             "alibi": False, "bias": False, "parallel_attn": True}),
    "falcon-h1": ("falcon_h1", {"mamba_d_ssm": 256, "mamba_n_heads": 8, "mamba_d_head": 32, "mamba_d_state": 32,
                                "mamba_n_groups": 1, "head_dim": 64}),
    "pythia": ("gpt_neox", {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0,
                                                "partial_rotary_factor": 0.25}}),
    "gpt-2": ("gpt2", {"n_embd": 256, "n_layer": 2, "n_head": 4, "n_positions": 1024}),
    "bloom": ("bloom", {"hidden_size": 256, "n_layer": 2, "n_head": 4}),
    "starcoder-2": ("starcoder2", {}),
    "cohere": ("cohere", {"logit_scale": 0.0625, "tie_word_embeddings": True}),
    "cohere-2": ("cohere2", {"num_hidden_layers": 4, "sliding_window": 32, "logit_scale": 0.25, "head_dim": 64}),
    "exaone-4": ("exaone4", {"num_hidden_layers": 4, "sliding_window": None, "head_dim": 64,
                             "layer_types": ["full_attention"] * 4, "tie_word_embeddings": True,
                                  "rope_parameters": {**ROPE_LLAMA3, "factor": 16.0, "rope_theta": 1000000.0}}),
    "glm": ("glm", {"head_dim": 64, "partial_rotary_factor": 0.5, "attention_bias": True}),
    "glm-4": ("glm4", {"head_dim": 64, "partial_rotary_factor": 0.5}),
    "hunyuan": ("hunyuan_v1_dense", {"head_dim": 64, "tie_word_embeddings": True}),
    "lfm2": ("lfm2", {"layer_types": ["conv", "full_attention"], "block_ff_dim": 512, "block_multiple_of": 64}),
    "ernie-4.5": ("ernie4_5", {"head_dim": 64}),
    "nemotron-mini": ("nemotron", {"partial_rotary_factor": 0.5, "head_dim": 64}),
    "minicpm3": ("minicpm3", {"num_key_value_heads": 4, "kv_lora_rank": 64, "q_lora_rank": 64,
                              "qk_nope_head_dim": 64, "qk_rope_head_dim": 32, "v_head_dim": 64, "scale_emb": 12,
                              "scale_depth": 1.4, "dim_model_base": 256}),
    "ministral": ("ministral", {"head_dim": 64, "sliding_window": 32}),
    "mistral-nemo": ("mistral", {"head_dim": 64}),
    "mixtral": ("mixtral", {"num_local_experts": 4}),
    "qwen3-moe": ("qwen3_moe", {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 128,
                                "head_dim": 64, "norm_topk_prob": True}),
    "qwen3.5": ("qwen3_5_text", {"num_hidden_layers": 4, "head_dim": 64, "tie_word_embeddings": True}),
    "olmoe": ("olmoe", {"num_key_value_heads": 4, "num_experts": 4, "num_experts_per_tok": 2,
                        "intermediate_size": 256}),
    "granite-moe": ("granitemoe", {"num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 256}),
    "gpt-oss": ("gpt_oss", {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 64, "sliding_window": 32}),
    "arcee": ("arcee", {}),
    "apertus": ("apertus", {}),
    "seed-oss": ("seed_oss", {"head_dim": 64}),
    "opt": ("opt", {"hidden_size": 256, "word_embed_proj_dim": 256, "ffn_dim": 512, "num_hidden_layers": 2,
                    "num_attention_heads": 4}),
    "mpt": ("mpt", {"d_model": 256, "n_heads": 4, "n_layers": 2}),
    "mamba": ("mamba", {"hidden_size": 256, "num_hidden_layers": 2}),
    "mamba-2": ("mamba2", {"hidden_size": 256, "num_hidden_layers": 2, "num_heads": 8, "head_dim": 64,
                           "state_size": 32, "n_groups": 1}),
    "bitnet": ("bitnet", {}),
    "gemma-3-vision": ("gemma3", {}),
}
"""The layout's name: `model_type`, and what its config.json has beside the sizes."""
OWN_SIZES = ("falcon", "gpt2", "bloom", "opt", "mpt", "mamba", "mamba2")
"""Architectures with names of their own for the sizes."""


def build(layout: str, folder: Path) -> Path:
    """Write the model folder of one layout."""
    import torch
    import transformers

    kind, own = LAYOUTS[layout]
    tokenizer = _tokenizer(layout)
    rows = own.get("rows", 1)
    ids = {"vocab_size": -(-len(tokenizer) // rows) * rows, "bos_token_id": tokenizer.bos_token_id,
           "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    if kind == "gemma3":
        model = _gemma3_vision(ids)
    else:
        sizes = {} if kind in OWN_SIZES else families.SIZE
        values = {key: value for key, value in own.items() if key != "rows"}
        model = transformers.AutoModelForCausalLM.from_config(
            transformers.AutoConfig.for_model(kind, **{**sizes, **ids, **values}))
    for name, weight in model.named_parameters():
        if "norm" in name and weight.ndim == 1 and not name.endswith("bias"):
            torch.nn.init.normal_(weight, mean=float(weight.detach().mean()), std=0.2)
        elif name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.1)
    model.to(torch.bfloat16).save_pretrained(folder)
    if kind == "gemma3":
        _as_on_the_hub(folder / "model.safetensors")
    tokenizer.save_pretrained(folder)
    return folder


def _as_on_the_hub(file: Path) -> None:
    """Give the vision tower the names that the hub's files have; transformers 5 writes others."""
    from safetensors.torch import load_file, save_file

    tensors = {name.replace("vision_tower.", "vision_tower.vision_model."): tensor
               for name, tensor in load_file(file).items()}
    save_file(tensors, file, metadata={"format": "pt"})


def _gemma3_vision(ids: dict[str, int]) -> Any:
    """As Gemma 3 4B: a language model below `language_model`, a vision tower, and what joins them."""
    import transformers

    text = {**families.SIZE, **ids, **GEMMA_HEADS, "num_hidden_layers": 6, "num_key_value_heads": 1,
            "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}}
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 32, "patch_size": 16, "vision_use_head": False}
    return transformers.Gemma3ForConditionalGeneration(transformers.Gemma3Config(
        text_config=text, vision_config=vision, image_token_index=5, boi_token_index=6, eoi_token_index=7,
        mm_tokens_per_image=4))


def _tokenizer(layout: str) -> Any:
    if layout == "mistral-nemo":
        return _tekken()
    if layout == "phi-4-mini":
        return _o200k()
    if layout.startswith("glm"):
        return _glm()
    makers: dict[str, Callable[[], Any]] = {"gemma": families.gemma3, "qwen": families.qwen2, "phi-3": families.phi3,
                                            "llama-3.2": families.llama3, "llama-enlarged": families.mistral}
    found = next((make for start, make in makers.items() if layout.startswith(start)), None)
    if found is not None:
        return found()
    return families.finished(
        families.byte_level(families.LLAMA3_CUT), families.added("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        tiny_model.TEMPLATE, adds_bos=False, bos_token="<|endoftext|>", eos_token="<|im_end|>",
        pad_token="<|endoftext|>")


TEKKEN_CUT = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+")
"""Where Mistral's newer tokenizers cut, as their tokenizer.json has it."""


def _tekken() -> Any:
    tokens = families.added("<unk>", "<s>", "</s>", "[INST]", "[/INST]")
    return families.finished(families.byte_level(TEKKEN_CUT, ignore_merges=True), tokens, families.MISTRAL,
                             bos_token="<s>", eos_token="</s>", pad_token="<unk>")


O200K_CUT = TEKKEN_CUT.replace("]+|[^", "]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^", 1).replace(
    r"*|\p{N}|", r"*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}|")
"""Where Phi-4 mini's cuts: its marks belong to words, as they must in Indian scripts."""


def _o200k() -> Any:
    tokens = families.added("<|endoftext|>", "<|assistant|>", "<|end|>", "<|user|>", "<|system|>")
    template = ("{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
                "{% if add_generation_prompt %}<|assistant|>{% else %}{{ eos_token }}{% endif %}")
    return families.finished(families.byte_level(O200K_CUT), tokens, template, adds_bos=False,
                             bos_token="<|endoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>")


def _glm() -> Any:
    template = ("[gMASK]<sop>{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{% endfor %}"
                "{% if add_generation_prompt %}<|assistant|>{% endif %}")
    tokens = families.added("<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", "<|system|>",
                            "<|user|>", "<|assistant|>", "<|observation|>")
    return families.finished(families.byte_level(families.LLAMA3_CUT), tokens, template, adds_bos=False,
                             bos_token="<|endoftext|>", eos_token="<|user|>", pad_token="<|endoftext|>")
