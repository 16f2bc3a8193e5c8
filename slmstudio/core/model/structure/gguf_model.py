"""Whether a GGUF model's header says all that llama.cpp needs, and nothing at which it would end the process.

llama.cpp ends the process where a number of layers, a constant or a type is impossible, and takes another token's id
where one is beyond the vocabulary. What else it refuses, it says itself (`worker.model.llama_log.reason`): sizes that
differ between the keys and the tensors, missing tensors, unknown architectures and pre-tokenizers.
"""

from __future__ import annotations

import math
from pathlib import Path

from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model.gguf import GgufFacts, read_gguf
from slmstudio.core.model.gguf_header import DOWNLOAD, STRING, Header, read_header
from slmstudio.core.model.json_files import printable

SIZES = {"block_count": 512, "embedding_length": 65_536, "context_length": 2**31, "attention.head_count": 4_096}
"""Whole numbers that each model needs below its architecture's name, and the most; llama.cpp has at most 512 layers."""
_TOKENS = "tokenizer.ggml.tokens"
_WHOLE = ("I8", "I16", "I32", "I64")
_NONE = 2**32 - 1
"""-1 without a sign: no token."""
_KINDS = {0: "whole numbers", 1: "whole numbers", 4: "whole numbers", 5: "whole numbers", 6: "numbers", 8: "texts"}


def read_sound_gguf(path: Path | str) -> GgufFacts:
    """`read_gguf`, and a look at what llama.cpp would end the process for, or silently ignore.

    Raises:
        UserError: as of `read_gguf`; or the header contradicts itself, `problems` naming all that is wrong.
    """
    facts = read_gguf(path)
    header = read_header(facts.path, lambda *_: None)
    problems = [*_sizes(header, facts.architecture), *_constants(header), *_vocabulary(header), *_tensors(header)]
    if problems:
        one = len(problems) == 1
        raise UserError(tr("{printable} is damaged.", printable=printable(facts.path.name)),
                        problems[0] if one else tr("{problems:,} things in its header are wrong.",
                                                   problems=len(problems)), tr(DOWNLOAD),
                        [] if one else [Problem(each) for each in problems])
    return facts


def _sizes(header: Header, architecture: str) -> list[str]:
    """What each model must say about itself. Some keys may be a list with a number for each layer."""
    found = []
    for name, most in SIZES.items():
        key = f"{architecture}.{name}"
        value = header.values.get(key)
        if key in header.lengths and name.startswith("attention."):
            continue
        if value is None:
            found.append(f"Its header doesn't say {key}.")
        elif type(value) is not int or not 0 < value <= most:
            found.append(f"{key} is {printable(str(value), 40)}; it must be a whole number from 1 to {most:,}.")
    return found


def _constants(header: Header) -> list[str]:
    return [tr("{printable} is {value}, which isn't a number.", printable=printable(key), value=value) for key, value in header.values.items()
            if isinstance(value, float) and not math.isfinite(value)]


def _vocabulary(header: Header) -> list[str]:
    """The lists that describe the tokens must be as long as the list of tokens, and the ids of tokens be in it."""
    if header.values.get("tokenizer.ggml.model") in ("no_vocab", "none"):
        return []
    count, found = header.lengths.get(_TOKENS), []
    if count is None:
        return [tr("Its header has no vocabulary ({tokens}).", tokens=_TOKENS)]
    if "tokenizer.ggml.model" not in header.values:
        found.append("Its header doesn't say what kind of vocabulary it is (tokenizer.ggml.model).")
    for name, kinds in (("tokens", (STRING,)), ("token_type", (4, 5)), ("scores", (6,)), ("merges", (STRING,))):
        key = f"tokenizer.ggml.{name}"
        if key in header.kinds and header.kinds[key] not in kinds:
            found.append(f"{key} isn't a list of {_KINDS[kinds[0]]}.")
        elif name in ("token_type", "scores") and header.lengths.get(key, count) != count:
            found.append(f"{key} has {header.lengths[key]:,} entries for {count:,} tokens.")
    if header.values.get("tokenizer.ggml.model") == "gpt2" and "tokenizer.ggml.merges" not in header.lengths:
        found.append("Its header has no merges for its vocabulary (tokenizer.ggml.merges).")
    rows = header.shapes.get("token_embd.weight", (0, count))
    if len(rows) != 2 or rows[1] != count:
        found.append(f"The vocabulary has {count:,} tokens, and token_embd.weight has {rows[-1]:,} rows.")
    for key, value in header.values.items():
        if key.startswith("tokenizer.ggml.") and key.endswith("_token_id") and value != _NONE and (
                type(value) is not int or not -1 <= value < count):
            shown = f"{value:,}" if type(value) is int else printable(str(value), 40)
            found.append(f"{printable(key)} is {shown}, and the vocabulary has {count:,} tokens.")
    template = header.values.get("tokenizer.chat_template", "")
    if not isinstance(template, str) or "\ufffd" in template:
        found.append("Its chat template isn't UTF-8 text.")
    return found


def _tensors(header: Header) -> list[str]:
    """Weights are fractions: llama.cpp reads whole numbers as if they were, or ends the process."""
    whole = [name for name, kind in header.types.items() if kind in _WHOLE and name.endswith(".weight")]
    return [tr("{whole:,} of its tensors hold whole numbers ({types}) where weights belong: {printable}.",
               whole=len(whole), types=header.types[whole[0]], printable=printable(whole[0]))] if whole else []
