"""A small GGUF model that llama.cpp loads, and copies of it that are damaged, each with what must be said of it."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

U8, I8, U16, I16, U32, I32, F32, BOOL, TEXT, ARRAY, U64, I64, F64 = range(13)
_LAYOUT = {U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<?", U64: "<Q",
           I64: "<q", F64: "<d"}
HIDDEN, INNER, LAYERS, HEADS, KV_HEADS = 32, 64, 2, 4, 2
SPECIAL = ("<|im_start|>", "<|im_end|>", "<|pad|>")
TEMPLATE = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


@dataclass
class Tensor:
    """An entry of the list of tensors; `offset` None puts its bytes behind those before it."""

    shape: tuple[int, ...]
    kind: int = 0
    offset: int | None = None
    data: bytes = b""
    dimensions: int | None = None


@dataclass
class Gguf:
    """A file to be written. What is None is as it belongs."""

    values: dict[str, tuple[int, Any]]
    tensors: dict[str, Tensor]
    magic: bytes = b"GGUF"
    version: int = 3
    tensor_count: int | None = None
    value_count: int | None = None
    alignment: int = 32
    more_values: bytes = b""
    more_tensors: bytes = b""
    extra: dict[str, int] = field(default_factory=dict)

    def set(self, key: str, kind: int, value: Any) -> Gguf:
        self.values[key] = (kind, value)
        return self

    def drop(self, *keys: str) -> Gguf:
        for key in keys:
            del self.values[key]
        return self

    def tensor(self, name: str, **changes: Any) -> Gguf:
        for key, value in changes.items():
            setattr(self.tensors[name], key, value)
        return self

    def head(self) -> bytes:
        return self.magic + struct.pack(
            "<IQQ", self.version, len(self.tensors) if self.tensor_count is None else self.tensor_count,
            len(self.values) + self.extra.get("values", 0) if self.value_count is None else self.value_count)

    def metadata(self) -> bytes:
        return b"".join(text(key) + struct.pack("<I", kind) + _value(kind, value)
                        for key, (kind, value) in self.values.items()) + self.more_values

    def entries(self) -> tuple[bytes, bytes]:
        """The list of tensors, and their bytes."""
        out, data = b"", b""
        for name, each in self.tensors.items():
            dimensions = len(each.shape) if each.dimensions is None else each.dimensions
            out += text(name) + struct.pack("<I", dimensions) + struct.pack(f"<{len(each.shape)}Q", *each.shape)
            out += struct.pack("<IQ", each.kind, len(data) if each.offset is None else each.offset)
            data += each.data + bytes(-len(each.data) % self.alignment)
        return out + self.more_tensors, data

    def bytes(self) -> bytes:
        entries, data = self.entries()
        begin = self.head() + self.metadata() + entries
        return begin + bytes(-len(begin) % self.alignment) + data


def _value(kind: int, value: Any) -> bytes:
    if isinstance(value, bytes):  # as it is
        return value
    if kind == TEXT:
        return text(value)
    if kind == ARRAY:
        inner, items = value
        return struct.pack("<IQ", inner, len(items)) + b"".join(_value(inner, item) for item in items)
    return struct.pack(_LAYOUT[kind], value)


def sound() -> Gguf:
    """Two layers of Llama with random weights; every byte is a token, and there are three special ones."""
    from tokenizers import pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, "he", *SPECIAL]
    values: dict[str, tuple[int, Any]] = {
        "general.architecture": (TEXT, "llama"), "general.name": (TEXT, "Damaged"), "general.file_type": (U32, 0),
        "llama.context_length": (U32, 128), "llama.embedding_length": (U32, HIDDEN), "llama.block_count": (U32, LAYERS),
        "llama.feed_forward_length": (U32, INNER), "llama.attention.head_count": (U32, HEADS),
        "llama.attention.head_count_kv": (U32, KV_HEADS), "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5),
        "llama.rope.freq_base": (F32, 10_000.0), "llama.rope.dimension_count": (U32, HIDDEN // HEADS),
        "llama.vocab_size": (U32, len(tokens)), "tokenizer.ggml.model": (TEXT, "gpt2"),
        "tokenizer.ggml.pre": (TEXT, "smollm"), "tokenizer.ggml.tokens": (ARRAY, (TEXT, tokens)),
        "tokenizer.ggml.token_type": (ARRAY, (I32, [1] * (len(tokens) - 3) + [3] * 3)),
        "tokenizer.ggml.merges": (ARRAY, (TEXT, ["h e"])),
        "tokenizer.ggml.bos_token_id": (U32, len(tokens) - 3), "tokenizer.ggml.eos_token_id": (U32, len(tokens) - 2),
        "tokenizer.ggml.padding_token_id": (U32, len(tokens) - 1), "tokenizer.ggml.add_bos_token": (BOOL, False),
        "tokenizer.chat_template": (TEXT, TEMPLATE)}
    chance = random.Random(0)

    def made(*shape: int, one: bool = False) -> Tensor:
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        return Tensor(shape, data=struct.pack(f"<{count}f", *(1.0 if one else chance.gauss(0, 0.05)
                                                              for _ in range(count))))

    key = HIDDEN // HEADS * KV_HEADS
    tensors = {"token_embd.weight": made(HIDDEN, len(tokens)), "output_norm.weight": made(HIDDEN, one=True),
               "output.weight": made(HIDDEN, len(tokens))}
    for layer in range(LAYERS):
        tensors |= {f"blk.{layer}.{name}.weight": tensor for name, tensor in {
            "attn_norm": made(HIDDEN, one=True), "attn_q": made(HIDDEN, HIDDEN), "attn_k": made(HIDDEN, key),
            "attn_v": made(HIDDEN, key), "attn_output": made(HIDDEN, HIDDEN), "ffn_norm": made(HIDDEN, one=True),
            "ffn_gate": made(HIDDEN, INNER), "ffn_up": made(HIDDEN, INNER), "ffn_down": made(INNER, HIDDEN)}.items()}
    return Gguf(values, tensors)


def _doubled(key: str) -> Gguf:
    whole = sound()
    kind, value = whole.values[key]
    whole.more_values, whole.extra["values"] = text(key) + struct.pack("<I", kind) + _value(kind, value), 1
    return whole


def _tokens(change: Callable[[list[Any]], list[Any]], key: str = "tokens") -> Gguf:
    whole = sound()
    kind, (inner, items) = whole.values[f"tokenizer.ggml.{key}"]
    return whole.set(f"tokenizer.ggml.{key}", kind, (inner, change(list(items))))


def _packed(name: str, kind: int, data: bytes, shape: tuple[int, ...]) -> Gguf:
    return sound().tensor(name, kind=kind, data=data, shape=shape)


QUERY, EMBEDDING = "blk.0.attn_q.weight", "token_embd.weight"
NAN = struct.pack("<f", float("nan"))
DAMAGES: dict[str, tuple[Callable[[], bytes], str]] = {
    # Cut off.
    "cut in the magic": (lambda: sound().bytes()[:3], "isn't a GGUF file"),
    "cut in the counts": (lambda: sound().bytes()[:13], "ends inside its header"),
    "cut in the keys": (lambda: sound().bytes()[:300], "ends inside its header"),
    "cut in the vocabulary": (lambda: sound().bytes()[:2_500], "ends inside its header"),
    "cut in the tensors' list": (lambda: (lambda s: s.head() + s.metadata() + s.entries()[0][:200])(sound()),
                                 "ends inside its header"),
    "cut in the tensors": (lambda: sound().bytes()[:-5_000], "truncated"),
    "cut by a byte": (lambda: sound().bytes()[:-1], "truncated"),
    "empty": (lambda: b"", "isn't a GGUF file"),
    # The beginning.
    "another magic": (lambda: b"GGUX" + sound().bytes()[4:], "isn't a GGUF file"),
    "version 0": (lambda: Gguf(**{**vars(sound()), "version": 0}).bytes(), "too old"),
    "version 1": (lambda: Gguf(**{**vars(sound()), "version": 1}).bytes(), "too old"),
    "version 99": (lambda: Gguf(**{**vars(sound()), "version": 99}).bytes(), "newer than this program"),
    "big-endian": (lambda: Gguf(**{**vars(sound()), "version": 3 << 24}).bytes(), "big-endian"),
    "absurd count of tensors": (lambda: Gguf(**{**vars(sound()), "tensor_count": 2**63}).bytes(), "impossible"),
    "too many tensors": (lambda: Gguf(**{**vars(sound()), "tensor_count": 900}).bytes(), "is damaged"),
    "no tensors": (lambda: Gguf(**{**vars(sound()), "tensor_count": 0}).bytes(), "contains only a vocabulary"),
    "absurd count of keys": (lambda: Gguf(**{**vars(sound()), "value_count": 2**63}).bytes(), "impossible"),
    "too many keys": (lambda: Gguf(**{**vars(sound()), "value_count": 60}).bytes(), "is damaged"),
    "too few keys": (lambda: Gguf(**{**vars(sound()), "value_count": 5}).bytes(), "is damaged"),
    # Keys and values.
    "absurd length of a text": (lambda: sound().set("general.name", TEXT, struct.pack("<Q", 2**63)).bytes(),
                                "impossible"),
    "absurd length of a list": (lambda: sound().set("tokenizer.ggml.tokens", ARRAY,
                                                    struct.pack("<IQ", TEXT, 2**62)).bytes(), "impossible"),
    "unknown kind of value": (lambda: sound().set("general.more", 77, b"").bytes(),
                              "has the type 77, which doesn't exist"),
    "lists in a list": (lambda: sound().set("general.more", ARRAY, struct.pack("<IQIQ", ARRAY, 1, U8, 0)).bytes(),
                        "of type 9"),
    "a key twice": (lambda: _doubled("llama.block_count").bytes(), "the key llama.block_count twice"),
    "a key without a name": (lambda: sound().set("", U32, 1).bytes(), "a key without a name"),
    "architecture isn't a text": (lambda: sound().set("general.architecture", U32, 1).bytes(), "architecture"),
    "no architecture": (lambda: sound().drop("general.architecture").bytes(), "doesn't name the architecture"),
    "unknown architecture": (lambda: sound().set("general.architecture", TEXT, "my_own").bytes(), "my_own"),
    "no number of layers": (lambda: sound().drop("llama.block_count").bytes(), "llama.block_count"),
    "no hidden size": (lambda: sound().drop("llama.embedding_length").bytes(), "llama.embedding_length"),
    "no heads": (lambda: sound().drop("llama.attention.head_count").bytes(), "llama.attention.head_count"),
    "no context length": (lambda: sound().drop("llama.context_length").bytes(), "llama.context_length"),
    "zero layers": (lambda: sound().set("llama.block_count", U32, 0).bytes(), "llama.block_count"),
    "a million layers": (lambda: sound().set("llama.block_count", U32, 10**6).bytes(), "llama.block_count"),
    "more layers than tensors": (lambda: sound().set("llama.block_count", U32, 3).bytes(), "blk.2"),
    "zero heads": (lambda: sound().set("llama.attention.head_count", U32, 0).bytes(), "llama.attention.head_count"),
    "heads that don't fit": (lambda: sound().set("llama.attention.head_count", U32, 5).bytes(), "invalid n_rot"),
    "more heads of keys": (lambda: sound().set("llama.attention.head_count_kv", U32, 3).bytes(), "blk.0.attn_k.weight"),
    "another hidden size": (lambda: sound().set("llama.embedding_length", U32, 48).bytes(), "invalid n_rot"),
    "another inner size": (lambda: sound().set("llama.feed_forward_length", U32, 48).bytes(), "blk.0.ffn_gate.weight"),
    "layers as a text": (lambda: sound().set("llama.block_count", TEXT, "2").bytes(), "llama.block_count"),
    "negative layers": (lambda: sound().set("llama.block_count", I32, -2).bytes(), "llama.block_count"),
    "epsilon isn't a number": (lambda: sound().set("llama.attention.layer_norm_rms_epsilon", F32, NAN).bytes(),
                               "layer_norm_rms_epsilon"),
    "frequency isn't a number": (lambda: sound().set("llama.rope.freq_base", F32, NAN).bytes(), "rope.freq_base"),
    "frequency zero": (lambda: sound().set("llama.rope.freq_base", F32, 0.0).bytes(), "llama.rope.freq_base is 0.0"),
    "negative frequency of a window": (lambda: sound().set("llama.rope.freq_base_swa", F32, -1.0).bytes(),
                                       "llama.rope.freq_base_swa is -1.0"),
    "other rope dimensions": (lambda: sound().set("llama.rope.dimension_count", U32, 4_000).bytes(),
                              "invalid n_rot: 4000"),
    # The vocabulary.
    "no vocabulary": (lambda: sound().drop("tokenizer.ggml.tokens").bytes(), "tokenizer.ggml.tokens"),
    "no kind of vocabulary": (lambda: sound().drop("tokenizer.ggml.model").bytes(), "tokenizer.ggml.model"),
    "unknown kind of vocabulary": (lambda: sound().set("tokenizer.ggml.model", TEXT, "mine").bytes(),
                                   "unknown tokenizer: 'mine'"),
    "unknown pre-tokenizer": (lambda: sound().set("tokenizer.ggml.pre", TEXT, "mine").bytes(),
                              "unknown pre-tokenizer type: 'mine'"),
    "no merges": (lambda: sound().drop("tokenizer.ggml.merges").bytes(), "tokenizer.ggml.merges"),
    "another size of vocabulary": (lambda: _tokens(lambda items: items[:-50]).bytes(), "rows"),
    "more tokens than rows": (lambda: _tokens(lambda items: [*items, *map(str, range(10_000))]).bytes(), "rows"),
    "fewer kinds than tokens": (lambda: _tokens(lambda items: items[:-50], "token_type").bytes(),
                                "tokenizer.ggml.token_type"),
    "kinds that don't exist": (lambda: _tokens(lambda items: [9, *items[1:-1], -1], "token_type").bytes(),
                               "2 entries of tokenizer.ggml.token_type"),
    "kinds that are undefined": (lambda: _tokens(lambda items: [0] * len(items), "token_type").bytes(),
                                 "no ordinary tokens"),
    "tokens as numbers": (lambda: sound().set("tokenizer.ggml.tokens", ARRAY, (U32, [1, 2, 3])).bytes(),
                          "tokenizer.ggml.tokens"),
    "kinds as texts": (lambda: sound().set("tokenizer.ggml.token_type", ARRAY, (TEXT, ["a"])).bytes(),
                       "tokenizer.ggml.token_type"),
    "tokens that aren't UTF-8": (lambda: _tokens(lambda items: [text(b"\xff\xfe"), *items[1:]]).bytes(), ""),
    "an empty token": (lambda: _tokens(lambda items: ["", *items[1:]]).bytes(), ""),
    "end beyond the vocabulary": (lambda: sound().set("tokenizer.ggml.eos_token_id", U32, 999_999).bytes(),
                                  "tokenizer.ggml.eos_token_id is 999,999"),
    "beginning beyond the vocabulary": (lambda: sound().set("tokenizer.ggml.bos_token_id", U32, 4_000_000_000).bytes(),
                                        "tokenizer.ggml.bos_token_id is 4,000,000,000"),
    "a template that isn't UTF-8": (lambda: sound().set("tokenizer.chat_template", TEXT,
                                                        text(b"{{ '\xff\xfe' }}")).bytes(), "isn't UTF-8"),
    "a template without the question": (lambda: sound().set("tokenizer.chat_template", TEXT, TEMPLATE.replace(
        "m.content", "'hello'")).bytes(), "never shows the question"),
    "a name that isn't UTF-8": (lambda: sound().set("general.name", TEXT, text(b"\xff\xfe")).bytes(), ""),
    # Tensors.
    "alignment 0": (lambda: sound().set("general.alignment", U32, 0).bytes(), "alignment"),
    "alignment 3": (lambda: sound().set("general.alignment", U32, 3).bytes(), "alignment"),
    "alignment of gigabytes": (lambda: sound().set("general.alignment", U32, 2**31).bytes(), "alignment"),
    "alignment as a text": (lambda: sound().set("general.alignment", TEXT, "32").bytes(), "alignment"),
    "another alignment": (lambda: sound().set("general.alignment", U32, 256).bytes(), "is damaged"),
    "unknown type of tensor": (lambda: sound().tensor(QUERY, kind=200).bytes(), "newer than this program"),
    "a type that was removed": (lambda: sound().tensor(QUERY, kind=31).bytes(), "Q4_0_4_4"),
    "type that doesn't exist": (lambda: sound().tensor(QUERY, kind=99_999).bytes(), "which doesn't exist"),
    "offset beyond the file": (lambda: sound().tensor(QUERY, offset=2**40).bytes(), "truncated"),
    "offset without end": (lambda: sound().tensor(QUERY, offset=2**64 - 32).bytes(), "impossible"),
    "offset between": (lambda: sound().tensor(QUERY, offset=1_001).bytes(), "impossible"),
    "overlap": (lambda: sound().tensor(QUERY, offset=0).bytes(), "overlap"),
    "a dimension of zero": (lambda: sound().tensor(QUERY, shape=(HIDDEN, 0)).bytes(), "is empty"),
    "negative dimension": (lambda: sound().tensor(QUERY, shape=(2**64 - 32, HIDDEN)).bytes(), "impossible"),
    "a dimension of 2^40": (lambda: sound().tensor(QUERY, shape=(2**40, HIDDEN)).bytes(), "is damaged"),
    "dimensions that overflow": (lambda: sound().tensor(QUERY, shape=(2**32, 2**32)).bytes(), "impossible"),
    "nine dimensions": (lambda: sound().tensor(QUERY, shape=(1,) * 9).bytes(), "9 dimensions"),
    "five dimensions": (lambda: sound().tensor(QUERY, shape=(HIDDEN, HIDDEN, 1, 1, 1)).bytes(), "5 dimensions"),
    "many dimensions": (lambda: sound().tensor(QUERY, dimensions=4_000_000_000).bytes(), "dimensions"),
    "another shape": (lambda: sound().tensor(QUERY, shape=(HIDDEN // 2, HIDDEN * 2)).bytes(), QUERY),
    "a tensor is missing": (lambda: (lambda s: s.tensors.pop(QUERY) and s)(sound()).bytes(), QUERY),
    "no embeddings": (lambda: (lambda s: s.tensors.pop(EMBEDDING) and s)(sound()).bytes(), EMBEDDING),
    "a tensor twice": (lambda: (lambda s: Gguf(**{
        **vars(s), "tensor_count": len(s.tensors) + 1, "more_tensors": text(QUERY) + struct.pack(
            "<IQQIQ", 2, HIDDEN, HIDDEN, 0, 0)}))(sound()).bytes(), "twice"),
    "a tensor without a name": (lambda: (lambda s: s.tensors.update({"": s.tensors.pop(QUERY)}) or s)(sound()).bytes(),
                                "is damaged"),
    "a name without end": (lambda: (lambda s: s.tensors.update({"x" * 5_000: s.tensors.pop(QUERY)}) or s)(
        sound()).bytes(), "is damaged"),
    "whole numbers for weights": (lambda: sound().tensor(QUERY, kind=26).bytes(), "I32"),
    "embeddings of whole numbers": (lambda: sound().tensor(EMBEDDING, kind=26).bytes(), "I32"),
    "scales that aren't numbers": (lambda: _packed(QUERY, 8, (b"\x00\x7e" + bytes(32)) * HIDDEN,
                                                   (HIDDEN, HIDDEN)).bytes(), "invalid data"),
    "weights that aren't numbers": (lambda: sound().tensor(QUERY, data=NAN * HIDDEN * HIDDEN).bytes(),
                                    "invalid data"),
    "infinite weights": (lambda: sound().tensor("output_norm.weight", data=struct.pack("<f", float("inf")) * HIDDEN)
                         .bytes(), "invalid data"),
}
"""How each is made, and words of what is said; "" where it is no fault, and the file is loaded."""

LEFT_TO_LLAMA = (
    "more layers than tensors", "heads that don't fit", "more heads of keys", "another hidden size",
    "another inner size", "other rope dimensions", "unknown kind of vocabulary", "unknown pre-tokenizer",
    "another shape", "a tensor is missing", "no embeddings", "scales that aren't numbers",
    "weights that aren't numbers", "infinite weights")
"""What llama.cpp refuses, and says why."""
