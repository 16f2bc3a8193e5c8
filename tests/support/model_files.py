"""Model folders and GGUF files of a few kilobytes, written byte by byte: without torch, and with any mistake."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

BYTES = {"F32": 4, "F16": 2, "BF16": 2, "U8": 1, "I8": 1, "I16": 2, "I32": 4, "BOOL": 1}
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8, "intermediate_size": 16,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 32,
    "max_position_embeddings": 128, "tie_word_embeddings": True,
}
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>",
           "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<start_of_turn>",
           "<end_of_turn>")


def llama_tensors(hidden: int = 8, inner: int = 16, layers: int = 2, heads: int = 2, kv_heads: int = 1,
                  vocabulary: int = 32, dtype: str = "BF16") -> dict[str, tuple[str, tuple[int, ...]]]:
    """Names, number formats and shapes of a Llama model with tied embeddings."""
    head = hidden // heads
    tensors = {"model.embed_tokens.weight": (vocabulary, hidden), "model.norm.weight": (hidden,)}
    for layer in range(layers):
        sizes = {"self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (kv_heads * head, hidden),
                 "self_attn.v_proj": (kv_heads * head, hidden), "self_attn.o_proj": (hidden, hidden),
                 "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden), "mlp.down_proj": (hidden, inner),
                 "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,)}
        tensors |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in sizes.items()}
    return {name: (dtype, shape) for name, shape in tensors.items()}


def weights_of(model_type: str, **sizes: int) -> bytes:
    """A file of zeros with the tensors of a known family, for a configuration like `CONFIG`."""
    from slmstudio.core.model import architecture

    if model_type not in architecture.USUAL:
        return safetensors(llama_tensors())
    sizes = {"hidden_size": 8, "intermediate_size": 16, "layers": 2, "heads": 2, "kv_heads": 1,
             "head_dim": architecture.USUAL[model_type].head_dim or 4, "vocabulary_size": 32, **sizes}
    wanted = architecture.needed({**CONFIG, "model_type": model_type}, sizes)
    return safetensors({f"model.{name}": ("BF16", shape) for name, shape in wanted.items()})


def safetensors(tensors: dict[str, tuple[str, tuple[int, ...]]]) -> bytes:
    """A safetensors file of zeros."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape) in tensors.items():
        size = math.prod(shape) * BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


def tokenizer_json() -> str:
    """A byte-level BPE without merges: every byte is a token, and the chat markers are tokens of their own."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.BPE({letter: i for i,
                                      letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return tokenizer.to_str()


def write_model(folder: Path, config: dict[str, Any] | None = None, weights: bytes | None = None,
                template: str | None = CHATML) -> Path:
    """A whole model folder of about 10 KB; `config` changes or adds keys, a value None takes one away."""
    folder.mkdir(parents=True, exist_ok=True)
    merged = {**CONFIG, **(config or {})}
    (folder / "config.json").write_text(json.dumps({k: v for k, v in merged.items() if v is not None}),
                                        encoding="utf-8")
    (folder / "model.safetensors").write_bytes(safetensors(llama_tensors()) if weights is None else weights)
    (folder / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")
    tokens = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokens), encoding="utf-8")
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder


def gguf(metadata: dict[str, Any], tensors: dict[str, tuple[int, tuple[int, ...], int]], version: int = 3,
         alignment: int = 32) -> bytes:
    """A GGUF file of zeros.

    Args:
        metadata: text, whole numbers and lists of texts.
        tensors: by name: ggml's type, the shape, and the bytes it takes.
    """
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, value in metadata.items():
        out += text(key)
        if isinstance(value, str):
            out += struct.pack("<I", 8) + text(value)
        elif isinstance(value, list):
            out += struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
        else:
            out += struct.pack("<II", 4, value)
    at = 0
    for name, (kind, shape, size) in tensors.items():
        out += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        out += struct.pack("<IQ", kind, at)
        at += -(-size // alignment) * alignment
    return out + bytes(-len(out) % alignment) + bytes(at)


def small_gguf() -> bytes:
    """A GGUF file with a vocabulary, a template and two tensors of 288 values together."""
    return gguf({"general.architecture": "llama", "general.name": "Small", "general.file_type": 7,
                 "llama.context_length": 512,
                 "llama.block_count": 1, "tokenizer.ggml.tokens": ["<s>", "</s>", "नमस्ते"],
                 "tokenizer.ggml.bos_token_id": 0,
                 "tokenizer.ggml.eos_token_id": 1, "tokenizer.chat_template": CHATML},
                {"token_embd.weight": (8, (32, 8), 8 * 34), "output_norm.weight": (0, (32,), 128)})


def learned_texts(encoded: Any) -> list[str]:
    """The runs of learned tokens of an `Encoded`, as text."""
    runs: list[list[int]] = []
    before = False
    for (start, end), learned in zip(encoded.offsets, encoded.learned, strict=True):
        if learned and not before:
            runs.append([start, end])
        elif learned:
            runs[-1][1] = end
        before = learned
    return [encoded.text[start:end] for start, end in runs]
