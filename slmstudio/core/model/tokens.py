"""From messages to token ids, and which of them are learned. The preview and the training share this."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from slmstudio.core.errors import UserError
from slmstudio.core.model.chat_template import ChatTemplate, special_tokens
from slmstudio.core.model.weights import printable, read_json_object

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_SENTINEL = "\ue000\ue001\ue000"
"""Stands for an answer where only what surrounds it matters: private-use characters, which no template changes."""


class Encoder(Protocol):
    """What `encode` needs of a tokenizer; `tokenizers.Tokenizer` has it."""

    def encode(self, sequence: str, *, add_special_tokens: bool) -> Any: ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Encoded:
    """A conversation as tokens.

    Attributes:
        ids: token ids.
        learned: for each token, whether it counts in the loss.
        offsets: for each token, where its text begins and ends in `text`, in characters. Tokens that are parts of one
            character share its place.
        text: the rendered conversation, whole, even when `ids` were cut to a maximal length.
    """

    ids: list[int]
    learned: list[bool]
    offsets: list[tuple[int, int]]
    text: str


def load_tokenizer(folder: Path | str) -> Tokenizer:
    """The tokenizer of a model folder: tokenizer.json as it is, plus special tokens that only the configuration names.

    Equal to transformers' `PreTrainedTokenizerFast.from_pretrained(folder)`. transformers' AutoTokenizer may differ:
    for some classes (LlamaTokenizer, GPT2Tokenizer, Qwen2Tokenizer, GemmaTokenizer) version 5 keeps only vocabulary and
    merges of tokenizer.json and puts its own normalizer and pre-tokenizer in place of the file's. The file is what the
    model was trained with, so training must load it the first way.

    Raises:
        UserError: tokenizer.json is missing or damaged.
    """
    from tokenizers import Tokenizer

    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"{path.parent.name} has no tokenizer.json.", "", "Choose a model folder that is whole.")
    try:
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.add_tokens(_tokens_beside(path.parent, tokenizer))
    except UserError:
        raise
    except BaseException as error:  # the library is written in Rust; its panics are no `Exception`
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        said = printable(str(error).rstrip("."), 200)
        raise UserError(f"The tokenizer of {path.parent.name} cannot be used.",
                        f"tokenizer.json is damaged, or of a kind that is not known here: {said}.",
                        "Download the model again.") from error
    return tokenizer


def _tokens_beside(folder: Path, tokenizer: Tokenizer) -> list[Any]:
    """Special tokens that tokenizer_config.json names and tokenizer.json lacks, in the order transformers adds them."""
    from tokenizers import AddedToken

    path = folder / "tokenizer_config.json"
    config = read_json_object(path) if path.is_file() else {}
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    entries = config.get("added_tokens_decoder")
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    wanted = {}
    for _, entry in sorted(entries.items(), key=lambda item: int(item[0])) if isinstance(entries, dict) else ():
        wanted[entry["content"]] = AddedToken(entry["content"], **{key: entry[key] for key in flags if key in entry})
    for content in special_tokens(folder).values():
        wanted.setdefault(content, AddedToken(content, special=True))
    return [token for content, token in wanted.items() if content not in known]


def encode(messages: Sequence[Mapping[str, Any]], tokenizer: Encoder, template: ChatTemplate,
           completion_only: bool = True, max_length: int | None = None) -> Encoded:
    """Turn a conversation into tokens, and say which of them are learned.

    The text is the template's, and so are the special tokens: none is added to it, so that there is never a second BOS.

    Args:
        messages: {"role": ..., "content": ...}, in order.
        tokenizer: `load_tokenizer`'s, or the backend of transformers' one.
        template: the model's.
        completion_only: learn each assistant message with the token that ends it, and nothing else; otherwise all.
        max_length: cut after so many tokens.

    Raises:
        UserError: the template refuses the conversation or is broken; or it changes the answers so much that they
            cannot be found in the text.
    """
    text = template.render(messages)
    # A tokenizer.json may switch on truncation or padding by itself; a row must never be cut without a word.
    if getattr(tokenizer, "truncation", None) is not None:
        tokenizer.no_truncation()  # type: ignore[attr-defined]
    if getattr(tokenizer, "padding", None) is not None:
        tokenizer.no_padding()  # type: ignore[attr-defined]
    try:
        encoding = tokenizer.encode(text, add_special_tokens=False)
    except TypeError as error:
        raise UserError("A text cannot be turned into tokens.", "It holds half of a character (a lone surrogate).",
                        "Remove the broken character.") from error
    ids, offsets = encoding.ids[:max_length], encoding.offsets[:max_length]
    if not completion_only:
        return Encoded(ids, [True] * len(ids), offsets, text)
    learned = [False] * len(ids)
    spans = iter(answer_spans(messages, template, text, added_tokens(tokenizer)))
    begin, end = next(spans, (len(text), len(text)))
    for index, (start, _) in enumerate(offsets):
        while start >= end and end < len(text):
            begin, end = next(spans, (len(text), len(text)))
        learned[index] = begin <= start < end
    return Encoded(ids, learned, offsets, text)


@lru_cache(maxsize=2)  # it keeps the tokenizers alive, which are large
def added_tokens(tokenizer: Encoder) -> tuple[str, ...]:
    """The tokens that are taken whole from a text, longest first. Empty where the tokenizer does not say."""
    read = getattr(tokenizer, "get_added_tokens_decoder", dict)
    return tuple(sorted((token.content for token in read().values()), key=len, reverse=True))


def answer_spans(messages: Sequence[Mapping[str, Any]], template: ChatTemplate, text: str,
                 markers: tuple[str, ...] = ()) -> list[tuple[int, int]]:
    """Where the assistant's messages stand in the rendered text, each with what ends it, in characters.

    An answer begins where the messages before it, rendered with the generation prompt, end; and it ends where the
    messages up to it end. Both must be beginnings of the whole text. Templates that render a message in another way
    once others follow (as those do that drop the thinking of earlier answers) break that rule: such an answer is looked
    for as it is, and left out where it is not found. The last answer must be found.

    Raises:
        UserError: the last answer cannot be found.
    """
    turns = [index for index, message in enumerate(messages) if message.get("role") == "assistant"]
    suffix, mark = _turn_end(template.source, tuple(template.special_tokens.items()), markers)
    spans: list[tuple[int, int]] = []
    for index in turns:
        span = (_span_by_prefixes(messages, index, template, text, suffix, mark)
                or _span_by_content(str(messages[index].get("content") or ""), text, spans[-1][1] if spans else 0,
                                    mark, last=index == turns[-1]))
        if span:
            spans.append(span)
        elif index == turns[-1]:
            raise UserError("What should be learned cannot be found in the rendered conversation.",
                            "The chat template changes the assistant's text.",
                            "Switch completion-only loss off, or choose a model with another chat template.")
    return spans


def _span_by_prefixes(messages: Sequence[Mapping[str, Any]], index: int, template: ChatTemplate, text: str, suffix: str,
                      mark: str) -> tuple[int, int] | None:
    """An answer's place by rendering what is before it and what is up to it; None where the text does not begin so."""
    if index == 0:
        return None  # Templates look at the first message, so nothing can be rendered before it.
    try:
        before = template.render(messages[:index], add_generation_prompt=True)
        up_to = text if index + 1 == len(messages) else template.render(messages[:index + 1])
    except UserError:
        return None
    end = len(up_to) - len(suffix) + len(mark)
    if not text.startswith(before) or not up_to.endswith(suffix) or text[:end] != up_to[:end] or end < len(before):
        return None
    return len(before), end


def _span_by_content(content: str, text: str, after: int, mark: str, last: bool) -> tuple[int, int] | None:
    """An answer's place by its words, followed by what ends a turn."""
    wanted = content.strip() + mark
    if not content.strip() or not mark.strip():
        return None
    begin = text.rfind(wanted, after) if last else text.find(wanted, after)
    return (begin, begin + len(wanted)) if begin >= 0 else None


@lru_cache(maxsize=32)
def _turn_end(source: str, tokens: tuple[tuple[str, str], ...], markers: tuple[str, ...]) -> tuple[str, str]:
    """What a template writes after the last answer, and the beginning of it that ends the turn.

    As in ("<|end|>\\n<|endoftext|>", "<|end|>") for Phi-3: the mark is the first special token, else the first run of
    other characters than white space, else all of it.
    """
    chat = [{"role": "user", "content": "x"}, {"role": "assistant", "content": _SENTINEL}]
    try:
        suffix = ChatTemplate(source, dict(tokens)).render(chat).partition(_SENTINEL)[2]
    except UserError:
        return "", ""
    blank = len(suffix) - len(suffix.lstrip())
    known = next((marker for marker in markers if marker.strip() and suffix.startswith(marker, blank)), None)
    run = re.match(r"\s*\S+", suffix)
    return suffix, suffix[:blank + len(known)] if known else run[0] if run else suffix
