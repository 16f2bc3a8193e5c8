"""A tiny model folder of each family that the product supports, for running every family through every code path.

    python tests/support/family_models.py OUT [family ...]

Each has the family's real architecture with random weights (hidden size 256, 2 layers, or as many as it takes to have
each of its kinds), its chat template, and a small tokenizer of its kind: the family's own special tokens and rule for
cutting words, on a vocabulary that is trained here on the texts of tests/data (why: see the README there).
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parent.parent / "data"
FAMILIES = ("phi3", "llama3", "mistral", "qwen2", "tinyllama", "gemma3", "qwen3", "smollm3")
KINDS = {"phi3": "Phi3", "mistral": "Mistral", "qwen2": "Qwen2", "gemma3": "Gemma3Text", "qwen3": "Qwen3",
         "smollm3": "SmolLM3"}
"""The family's name in transformers' classes, where it isn't Llama."""
SIZE = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 2048}
OWN: dict[str, dict[str, Any]] = {
    "phi3": {"num_key_value_heads": 4},
    # Every sixth layer sees everything, the others a window; and the heads are wider than hidden size / heads.
    "gemma3": {"num_hidden_layers": 6, "num_key_value_heads": 1, "head_dim": 128, "query_pre_attn_scalar": 128,
               "sliding_window": 32, "rms_norm_eps": 1e-6},
    "qwen3": {"head_dim": 128, "tie_word_embeddings": True},
    "smollm3": {"num_hidden_layers": 4, "no_rope_layer_interval": 4},  # every fourth layer has no positions
}
"""What a family's configuration has beside `SIZE`."""
ROWS = {"phi3": 64, "qwen2": 128, "qwen3": 128, "gemma3": 64}
"""Embeddings that are padded to a multiple of so many rows."""
BYTE_LEVEL_TOKENS, SENTENCEPIECE_TOKENS = 3000, 2500
LLAMA3_CUT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
              r"|\s+(?!\S)|\s+")
"""Where a Llama 3 tokenizer cuts before it merges. Qwen2's is the same, with one digit at a time."""
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' ' + message['content'] + eos_token }}{% else %}{{ raise_exception('only user and assistant') }}"
    "{% endif %}{% endfor %}")
ZEPHYR = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}")


def build(family: str, folder: Path) -> Path:
    """Write the model folder of one family."""
    import torch
    import transformers

    tokenizer = TOKENIZERS[family]()
    rows = ROWS.get(family, 1)
    torch.manual_seed(0)
    config = getattr(transformers, f"{KINDS.get(family, 'Llama')}Config")(
        vocab_size=-(-len(tokenizer) // rows) * rows, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, **SIZE | OWN.get(family, {}))
    model = transformers.AutoModelForCausalLM.from_config(config)
    for name, weight in model.named_parameters():
        if "norm" in name:  # new ones are all alike, and would hide what is mixed up
            torch.nn.init.normal_(weight, mean=float(weight.detach().mean()), std=0.2)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if family == "phi3":
        (folder / "tokenizer.model").write_bytes(sentencepiece_model())
    return folder


def build_all(out: Path) -> None:
    """Write one folder a family, named after it."""
    for family in FAMILIES:
        build(family, out / family)


def texts() -> list[str]:
    """Sums in English, questions and paragraphs in Hindi."""
    rows = [json.loads(line) for name in ("gsm8k_train", "xquad_hi_instructions")
            for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    return list(dict.fromkeys(text for row in rows for text in row.values()))


def template(name: str) -> str:
    return (DATA / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def added(*contents: str, **options: bool) -> list[Any]:
    from tokenizers import AddedToken

    return [AddedToken(content, normalized=False, **{"special": True, **options}) for content in contents]


def byte_level(cut: str, **options: Any) -> Any:
    """A byte-level BPE, as of Llama 3 and Qwen2."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(cut), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    # As in the real vocabularies: an ordinary word that looks like a special token.
    tokenizer.train_from_iterator([*texts(), *["[…]"] * 100], trainers.BpeTrainer(
        vocab_size=BYTE_LEVEL_TOKENS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    state = json.loads(tokenizer.to_str())
    state["model"].update(options)
    return state


def llama3() -> Any:
    state = byte_level(LLAMA3_CUT, ignore_merges=True)
    # As in the real vocabulary, the merges lead to some whole words no longer: they are tokens because they are words.
    del state["model"]["merges"][-20:]
    special = ("<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|start_header_id|>",
               "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>")
    return finished(state, added(*special), template("llama-3.1-style"), bos_token="<|begin_of_text|>",
                    eos_token="<|eot_id|>", pad_token="<|eot_id|>")


def qwen2() -> Any:
    state = byte_level(LLAMA3_CUT.replace(r"\p{N}{1,3}", r"\p{N}"))
    state["normalizer"] = {"type": "NFC"}
    # An ordinary token that looks like a special one; there are merges for it, but no text ever comes to it.
    vocabulary = state["model"]["vocab"]
    state["model"]["merges"] += [["<", "/"], ["</", "s"], ["</s", ">"]]
    for token in ("</", "</s", "</s>"):
        vocabulary.setdefault(token, len(vocabulary))
    tokens = added("<|endoftext|>", "<|im_start|>", "<|im_end|>") + added("<tool_call>", "</tool_call>", special=False)
    return finished(state, tokens, template("Qwen-Qwen2.5-7B-Instruct"), eos_token="<|im_end|>",
                    pad_token="<|endoftext|>", bos_token="<|endoftext|>")


def qwen3() -> Any:
    made = qwen2()
    made.add_tokens(added("<think>", "</think>", special=False))
    made.chat_template = template("Qwen-Qwen3-0.6B")
    return made


def smollm3() -> Any:
    special = ("<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>", "<|im_end|>")
    tokens = added(*special) + added("<think>", "</think>", "<tool_call>", "</tool_call>", special=False)
    return finished(byte_level(LLAMA3_CUT, ignore_merges=True), tokens, template("smollm3-style"), adds_bos=False,
                    bos_token="<|begin_of_text|>", eos_token="<|im_end|>", pad_token="<|im_end|>")


def sentencepiece_model() -> bytes:
    """The file tokenizer.model: SentencePiece's BPE with bytes for what it has no letter for, as Llama 2's."""
    import sentencepiece

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for text in texts() for line in text.splitlines()]), model_writer=written,
        model_type="bpe", vocab_size=SENTENCEPIECE_TOKENS, byte_fallback=True, split_digits=True,
        character_coverage=0.9995, normalization_rule_name="identity", remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, num_threads=1, minloglevel=2)
    return written.getvalue()


def sentencepiece_state(space_in_front: str) -> Any:
    """tokenizer.json of `sentencepiece_model()`.

    Args:
        space_in_front: "first": of a text alone, as Mistral has it; "always": of every stretch between special tokens;
            "never": as Gemma has it.
    """
    from sentencepiece import sentencepiece_model_pb2
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    pieces = sentencepiece_model_pb2.ModelProto.FromString(sentencepiece_model()).pieces
    ids = {piece.piece: number for number, piece in enumerate(pieces)}
    # SentencePiece joins any two neighbours that make a token, the best token first; so every such pair is a merge.
    merges = sorted(((-pieces[number].score, ids[token[:at]], ids[token[at:]], token[:at], token[at:])
                     for token, number in ids.items() if pieces[number].type == pieces[number].NORMAL
                     for at in range(1, len(token)) if token[:at] in ids and token[at:] in ids))
    tokenizer = Tokenizer(models.BPE(ids, [(left, right) for *_, left, right in merges], unk_token="<unk>",
                                     fuse_unk=True, byte_fallback=True))
    if space_in_front == "first":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    elif space_in_front == "always":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    strip = [] if space_in_front == "never" else [decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           *strip])
    tokenizer.add_special_tokens(added("<unk>", "<s>", "</s>"))
    return json.loads(tokenizer.to_str())


def mistral() -> Any:
    return finished(sentencepiece_state("first"), [], MISTRAL, bos_token="<s>", eos_token="</s>", pad_token="</s>",
                    unk_token="<unk>")


def tinyllama() -> Any:
    return finished(sentencepiece_state("always"), [], ZEPHYR, bos_token="<s>", eos_token="</s>", pad_token="</s>",
                    unk_token="<unk>")


def phi3() -> Any:
    names = ("assistant", "placeholder1", "placeholder2", "placeholder3", "placeholder4", "system", "end",
             "placeholder5", "placeholder6", "user")
    tokens = added("<|endoftext|>", *(f"<|{name}|>" for name in names))
    return finished(sentencepiece_state("always"), tokens, template("microsoft-Phi-3.5-mini-instruct"),
                    bos_token="<s>", eos_token="<|end|>", pad_token="<|endoftext|>", unk_token="<unk>")


def gemma3() -> Any:
    tokens = added("<pad>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>")
    state, found_first = sentencepiece_state("never"), ("<b>", "</b>", "</div>", "<table>", "\n\n")
    # As in the real vocabulary: no special tokens, in the middle of the others, and found before a text is cut.
    state["model"]["vocab"] |= {token: len(state["model"]["vocab"]) + at for at, token in enumerate(found_first)}
    tokens += added(*found_first, special=False)
    return finished(state, tokens, template("gemma-3-style"), bos_token="<bos>",
                    eos_token="<end_of_turn>", pad_token="<pad>", unk_token="<unk>")


def finished(state: Any, tokens: list[Any], chat_template: str, adds_bos: bool = True, **named: str) -> Any:
    """transformers' tokenizer, which puts BOS before a text, if the family does so."""
    from tokenizers import Tokenizer, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.add_tokens(tokens)
    # Qwen's BOS is there only because some programs ask for one.
    if adds_bos and (bos := named["bos_token"]) != named["pad_token"]:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, tokenizer.token_to_id(bos))])
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
    made.chat_template = chat_template
    return made


TOKENIZERS = {"phi3": phi3, "llama3": llama3, "mistral": mistral, "qwen2": qwen2, "tinyllama": tinyllama,
              "gemma3": gemma3, "qwen3": qwen3, "smollm3": smollm3}


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for name in sys.argv[2:] or FAMILIES:
        print(build(name, Path(sys.argv[1]) / name))
