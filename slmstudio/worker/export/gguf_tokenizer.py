"""Makes the tokenizer that transformers reads from a GGUF file right."""

from __future__ import annotations

import json
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.worker.model.pre_tokenizers import IGNORE_MERGES, PRE_TOKENIZERS


def corrected(backend: Any, metadata: dict[str, str], file_name: str) -> Any:
    """The `tokenizers.Tokenizer` with the pre-tokenizer that the file names.

    transformers knows only some of llama.cpp's names and silently falls back to GPT-2's cutting for the others: SmolLM2
    ("smollm") would lose its single digits.

    Args:
        backend: what transformers made of the file.
        metadata: the GGUF's key-value pairs, as text.

    Raises:
        UserError: the pre-tokenizer isn't known here, so that every text would be cut by guesswork.
    """
    from tokenizers import Tokenizer

    if metadata.get("tokenizer.ggml.model") != "gpt2":
        return backend
    name = metadata.get("tokenizer.ggml.pre", "default")
    if name not in PRE_TOKENIZERS:
        raise UserError(tr("The tokenizer of {file} is of a kind that isn't known here.", file=file_name),
                        tr("Its pre-tokenizer is {name!r}. This program knows {names}.", name=name,
                           names=", ".join(PRE_TOKENIZERS)),
                        tr("Use the model's original folder with its tokenizer.json."))
    state = json.loads(backend.to_str())
    state["pre_tokenizer"] = PRE_TOKENIZERS[name]
    state["model"]["ignore_merges"] = name in IGNORE_MERGES
    return Tokenizer.from_str(json.dumps(state))
