"""Whether a GGUF model's header says all that llama.cpp needs, and nothing at which it would end the process.

llama.cpp ends the process where a number of layers, a constant or a type is impossible, and takes another token's id
where one is beyond the vocabulary. What else it refuses, it says itself (`worker.model.llama_log.reason`): sizes that
differ between the keys and the tensors, missing tensors, unknown architectures and pre-tokenizers.
"""

from __future__ import annotations

import math
from pathlib import Path

from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import noop, ntr, number_text, tr
from slmstudio.core.model.chat_template import SPECIAL, ChatTemplate
from slmstudio.core.model.gguf.header import DOWNLOAD, STRING, TOKEN_TYPES, Header, read_header
from slmstudio.core.model.gguf.model import GgufFacts, read_gguf
from slmstudio.core.model.json_files import and_more, printable

SIZES = {"block_count": 512, "embedding_length": 65_536, "context_length": 2**31, "attention.head_count": 4_096}
"""Whole numbers that each model needs below its architecture's name, and the most; llama.cpp has at most 512 layers."""
_TOKENS = "tokenizer.ggml.tokens"
_WHOLE = ("I8", "I16", "I32", "I64")
_NORMAL, _LAST_TYPE = 1, 6
"""Of tokens: ordinary ones, and llama.cpp's last type (bytes)."""
_NONE = 2**32 - 1
"""-1 without a sign: no token."""
_NO_LIST = {STRING: noop("{key} isn't a list of texts."), 4: noop("{key} isn't a list of whole numbers."),
            6: noop("{key} isn't a list of numbers.")}
"""What is said about a list with items other than these, by ggml's number of the kind."""


def read_sound_gguf(path: Path | str) -> GgufFacts:
    """`read_gguf`, and a look at what llama.cpp would end the process for, or silently ignore.

    Raises:
        UserError: as of `read_gguf`; or the header contradicts itself, `problems` naming all that is wrong.
    """
    facts = read_gguf(path)
    header = read_header(facts.path, lambda *_: None)
    problems = [*_sizes(header, facts.architecture), *_constants(header), *_vocabulary(header), *_template(header),
                *_tensors(header)]
    if problems:
        one = len(problems) == 1
        raise UserError(tr("{name} is damaged.", name=printable(facts.path.name)),
                        problems[0] if one else tr("{count:,} things in its header are wrong.", count=len(problems)),
                        tr(DOWNLOAD), [] if one else [Problem(each) for each in problems])
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
            found.append(tr("Its header doesn't say {key}.", key=key))
        elif type(value) is not int or not 0 < value <= most:
            found.append(tr("{key} is {value}; it must be a whole number from 1 to {most:,}.", key=key,
                            value=printable(str(value), 40), most=most))
    return found


def _constants(header: Header) -> list[str]:
    numbers = [(printable(key), value) for key, value in header.values.items() if isinstance(value, float)]
    return [*(tr("{key} is {value}, which isn't a number.", key=key, value=value)
              for key, value in numbers if not math.isfinite(value)),
            *(tr("{key} is {value}; it must be above 0.", key=key, value=value)
              for key, value in numbers if ".rope.freq_base" in key and value <= 0)]


def _vocabulary(header: Header) -> list[str]:
    """The lists that describe the tokens must be as long as the list of tokens, and the ids of tokens be in it."""
    if header.values.get("tokenizer.ggml.model") in ("no_vocab", "none"):
        return []
    count, found = header.lengths.get(_TOKENS), []
    if count is None:
        return [tr("Its header has no vocabulary ({tokens}).", tokens=_TOKENS)]
    if "tokenizer.ggml.model" not in header.values:
        found.append(tr("Its header doesn't say what kind of vocabulary it has (tokenizer.ggml.model)."))
    for name, kinds in (("tokens", (STRING,)), ("token_type", (4, 5)), ("scores", (6,)), ("merges", (STRING,))):
        key = f"tokenizer.ggml.{name}"
        if key in header.kinds and header.kinds[key] not in kinds:
            found.append(tr(_NO_LIST[kinds[0]], key=key))
        elif name in ("token_type", "scores") and header.lengths.get(key, count) != count:
            found.append(tr("{key} has {entries:,} entries for {tokens:,} tokens.", key=key,
                            entries=header.lengths[key], tokens=count))
    if header.values.get("tokenizer.ggml.model") == "gpt2" and "tokenizer.ggml.merges" not in header.lengths:
        found.append(tr("Its header has no merges for its vocabulary (tokenizer.ggml.merges)."))
    rows = header.shapes.get("token_embd.weight", (0, count))
    if len(rows) != 2 or rows[1] != count:
        found.append(tr("The vocabulary has {tokens:,} tokens, and token_embd.weight has {rows:,} rows.", tokens=count,
                        rows=rows[-1]))
    for key, value in header.values.items():
        if key.startswith("tokenizer.ggml.") and key.endswith("_token_id") and value != _NONE and (
                type(value) is not int or not -1 <= value < count):
            shown = number_text(value) if type(value) is int else printable(str(value), 40)
            found.append(tr("{key} is {value}, and the vocabulary has {tokens:,} tokens.", key=printable(key),
                            value=shown, tokens=count))
    return [*found, *_token_types(header)]


def _token_types(header: Header) -> list[str]:
    """A token of another type than llama.cpp's is cut and written as nothing."""
    types = header.token_types
    unknown = [kind for kind in types if not 0 <= kind <= _LAST_TYPE]
    if unknown:
        return [ntr("{n:,} entry of {key} is a type that doesn't exist: {types}.",
                    "{n:,} entries of {key} are types that don't exist: {types}.", sum(types[kind] for kind in unknown),
                    key=TOKEN_TYPES, types=and_more([number_text(kind) for kind in unknown], 3))]
    return [tr("According to {key}, its vocabulary has no ordinary tokens, so it can't write any text.",
               key=TOKEN_TYPES)] \
        if types and not types[_NORMAL] else []


def _template(header: Header) -> list[str]:
    source = header.values.get("tokenizer.chat_template", "")
    if not isinstance(source, str) or "\ufffd" in source:
        return [tr("Its chat template isn't UTF-8 text.")]
    if source and ChatTemplate(source, dict.fromkeys(SPECIAL, "")).omits_question():
        return [tr("Its chat template never shows the question to the model.")]
    return []


def _tensors(header: Header) -> list[str]:
    """Weights are fractions: llama.cpp reads whole numbers as if they were, or ends the process."""
    whole = [name for name, kind in header.types.items() if kind in _WHOLE and name.endswith(".weight")]
    return [ntr("{n:,} of its tensors contains whole numbers ({type}) where weights belong: {tensor}.",
                "{n:,} of its tensors contain whole numbers ({type}) where weights belong, such as "
                "{tensor}.", len(whole),
                type=header.types[whole[0]], tensor=printable(whole[0]))] if whole else []
