"""The tokenizer of a GGUF file as a Hugging Face one: it cuts text as llama.cpp does with that file, and as the model's
own tokenizer did where an export of ours says how.

transformers reads vocabulary and merges. Its classes add tokens and a space of their own, know only some of
llama.cpp's pre-tokenizers, and silently fall back to GPT-2's splitting: SmolLM2 ("smollm") would lose its single
digits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.worker.model.gguf_vocabulary import BESIDE_MARKER, CONTROL, PHI3, UNKNOWN, USER_DEFINED
from slmstudio.worker.model.llama_vocab import NORMALIZER_KEY, PREPEND_KEY
from slmstudio.worker.model.pre_tokenizers import IGNORE_MERGES, PRE_TOKENIZERS

_KEEPS_SPACE = ("<unk>", "<s>", "<|endoftext|>")
"""Special tokens of Phi-3 behind which llama.cpp doesn't strip white space."""


def read_tokenizer(source: Path, values: Mapping[str, Any]) -> Any:
    """transformers' tokenizer, without what its classes would add.

    Args:
        values: the file's scalars and texts, by key.

    Raises:
        UserError: the pre-tokenizer isn't known here, so every text would be split by guesswork.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast
    from transformers.integrations.gguf import convert_gguf_tokenizer, get_gguf_tokenizer

    architecture, found, config = get_gguf_tokenizer(str(source))
    found["tokens"] = _as_merged(found)
    backend, _ = convert_gguf_tokenizer(architecture, found)
    state = json.loads(backend.to_str())
    _add_tokens(state, found, str(values.get("general.name", "")))
    if found["tokenizer_type"] == "gpt2":
        state |= _byte_level(values, source.name)
        state["model"]["ignore_merges"] = values.get("tokenizer.ggml.pre") in IGNORE_MERGES
    elif found["tokenizer_type"] == "llama":
        state |= _sentencepiece(values)
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(state)), **config)


def _as_merged(found: Mapping[str, Any]) -> list[str]:
    """The tokens as the merges make them: an export writes some with a space behind them (`BESIDE_MARKER`)."""
    tokens, made = list(found["tokens"]), {"".join(merge.split(" ")) for merge in found.get("merges", ())}
    for missing in made - set(tokens):
        if missing + BESIDE_MARKER in tokens:
            tokens[tokens.index(missing + BESIDE_MARKER)] = missing
    return tokens


def _add_tokens(state: dict[str, Any], found: Mapping[str, Any], name: str) -> None:
    """Let the tokens be found in a text before it is cut that llama.cpp finds there, and no others."""
    strips = PHI3.search(name) is not None
    types = found.get("token_type") or ()
    kinds = {number: kind for number, kind in enumerate(types) if kind in (UNKNOWN, CONTROL, USER_DEFINED)}
    texts = {number: found["tokens"][number] for number in kinds}
    if not kinds:
        return
    vocabulary = {text: number for text, number in state["model"]["vocab"].items() if number not in kinds}
    state["model"]["vocab"] = vocabulary | {text: number for number, text in texts.items()}
    state["added_tokens"] = [
        {"id": number, "content": text, "single_word": False, "lstrip": False, "normalized": False,
         "special": kinds[number] != USER_DEFINED,
         "rstrip": strips and kinds[number] != USER_DEFINED and text not in _KEEPS_SPACE}
        for number, text in texts.items()]


def _byte_level(values: Mapping[str, Any], file_name: str) -> dict[str, Any]:
    name = values.get("tokenizer.ggml.pre", "default")
    if name not in PRE_TOKENIZERS:
        raise UserError(tr("The tokenizer of {file} is of an unsupported kind.", file=file_name),
                        tr("Its pre-tokenizer is {name!r}. This program knows {names}.", name=name,
                           names=", ".join(PRE_TOKENIZERS)),
                        tr("Use the model's original folder with its tokenizer.json."))
    form = values.get(NORMALIZER_KEY)
    return {"pre_tokenizer": PRE_TOKENIZERS[name], "normalizer": {"type": form} if form else None}


def _sentencepiece(values: Mapping[str, Any]) -> dict[str, Any]:
    """Spaces as the model's own tokenizer had them, or as llama.cpp does: in front of every stretch, or nowhere."""
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    in_front = values.get("tokenizer.ggml.add_space_prefix", True)
    if scheme := values.get(PREPEND_KEY):
        in_front = scheme != "never"
        steps: dict[str, Any] = {"normalizer": None, "pre_tokenizer": {
            "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": False}}
    else:
        prepend = [{"type": "Prepend", "prepend": "▁"}] if in_front else []
        steps = {"normalizer": {"type": "Sequence", "normalizers": [*prepend, spaces]}, "pre_tokenizer": None}
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if in_front else []
    return steps | {"decoder": {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        *strip]}}
