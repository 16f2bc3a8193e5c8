"""From messages to token ids, and which of them are learned. The preview and the training share this."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model import control_tokens, template_client
from slmstudio.core.model.chat_template import ChatTemplate, answer_spans, special_tokens, turn_end_of
from slmstudio.core.model.json_files import printable, read_json_object

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ROWS_RENDERED, CHARACTERS_RENDERED = 256, 2**20
"""Rows that the child renders in one request, fewer where they are long: its limits grow with the request."""
Row = TypeVar("Row")


class Encoder(Protocol):
    """What is needed of a tokenizer; `tokenizers.Tokenizer` has it."""

    def encode(self, sequence: str, *, add_special_tokens: bool) -> Any: ...

    def decode(self, ids: list[int]) -> Any: ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Encoded:
    """A conversation as tokens.

    Attributes:
        learned: for each token, whether it counts in the loss.
        offsets: for each token, where its text begins and ends in `text`, in characters. Tokens that are parts of one
            character share its place.
        text: the rendered conversation, whole, even when `ids` were cut to a maximal length.
    """

    ids: list[int]
    learned: list[bool]
    offsets: list[tuple[int, int]]
    text: str


def load_tokenizer(folder: Path | str) -> template_client.Tokenizer:
    """The tokenizer of a model folder, which runs in the process of `template_client`.

    Raises:
        UserError: tokenizer.json is missing or damaged.
    """
    return template_client.Tokenizer(folder)


def local_tokenizer(folder: Path | str) -> Tokenizer:
    """The same in this process, for workers: tokenizer.json as it is, plus special tokens that only the configuration
    names.

    Equal to transformers' `PreTrainedTokenizerFast.from_pretrained(folder)`. transformers' AutoTokenizer may differ:
    for some classes (LlamaTokenizer, GPT2Tokenizer, Qwen2Tokenizer, GemmaTokenizer) version 5 keeps only vocabulary and
    merges of tokenizer.json and puts its own normalizer and pre-tokenizer in place of the file's. The file is what the
    model was trained with, so training must load it the first way.

    Raises:
        UserError: tokenizer.json is missing or damaged.
    """
    tokenizer = read_tokenizer(folder)
    tokenizer.add_tokens(tokens_beside(Path(folder), tokenizer))
    return tokenizer


def read_tokenizer(folder: Path | str) -> Tokenizer:
    """The tokenizer of a model folder as tokenizer.json alone says it.

    Raises:
        UserError: tokenizer.json is missing or damaged.
    """
    from tokenizers import Tokenizer

    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise UserError(tr("{folder} has no tokenizer.json.", folder=path.parent.name), "",
                        tr("Choose a complete model folder."))
    try:
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_truncation()
        tokenizer.no_padding()
    except BaseException as error:  # the library is written in Rust; its panics aren't an `Exception`
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        said = printable(str(error).rstrip("."), 200)
        raise UserError(tr("The tokenizer of {folder} can't be used.", folder=path.parent.name),
                        tr("tokenizer.json is damaged, or of an unsupported kind: {said}.", said=said),
                        tr("Put the model's own tokenizer.json in its place, or choose another model.")) from error
    return tokenizer


def tokens_beside(folder: Path, tokenizer: Tokenizer) -> list[Any]:
    """Special tokens that tokenizer_config.json names and tokenizer.json lacks, in the order transformers adds them.

    Raises:
        UserError: tokenizer_config.json describes them in a way that isn't known.
    """
    from tokenizers import AddedToken

    path = folder / "tokenizer_config.json"
    config = read_json_object(path) if path.is_file() else {}
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    entries = config.get("added_tokens_decoder")
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    wanted = {}
    try:
        for _, entry in sorted(entries.items(), key=lambda item: int(item[0])) if isinstance(entries, dict) else ():
            content = entry["content"]
            wanted[content] = AddedToken(content, **{key: entry[key] for key in flags if key in entry})
        for content in special_tokens(folder).values():
            wanted.setdefault(content, AddedToken(content, special=True))
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(
            tr("The tokenizer of {folder} can't be used.", folder=folder.name),
            tr("tokenizer_config.json describes its added tokens in an unsupported way."),
            tr("Put the model's own tokenizer_config.json in its place, or choose another model.")) from error
    return [token for content, token in wanted.items() if content not in known]


def encode(messages: Sequence[Mapping[str, Any]], tokenizer: Encoder, template: ChatTemplate,
           completion_only: bool = True, max_length: int | None = None,
           tools: Sequence[Mapping[str, Any]] = ()) -> Encoded:
    """Turn a conversation into tokens, and say which of them are learned.

    The text is the template's, and so are the special tokens: none is added to it, so that there is never a second BOS.

    Args:
        messages: {"role": ..., "content": ...}, in order.
        tokenizer: `load_tokenizer`'s, `local_tokenizer`'s, or the backend of transformers' one.
        completion_only: learn each assistant message, the tools that it calls included, with the token that ends it,
            and nothing else; otherwise all.
        max_length: cut after this many tokens.
        tools: what the assistant may call; never learned, as little as what tools return.

    Raises:
        UserError: the template refuses the conversation or is broken, or takes no tools where there are some; or it
            changes the answers so much that they can't be found in the text.
    """
    if isinstance(tokenizer, template_client.Tokenizer):
        return Encoded(*tokenizer.row(messages, template, completion_only, max_length, tools))
    found, = template_client.render_rows(template, [(messages, tools)], *_known_to(tokenizer, completion_only))
    return _encoded(found, tokenizer, completion_only, max_length)


def encode_rows(rows: Iterable[Row], conversations: Callable[[Row], Sequence[template_client.Conversation]],
                tokenizer: Encoder, template: ChatTemplate,
                completion_only: bool = True) -> Iterator[tuple[Row, list[Encoded]]]:
    """`encode` of the conversations that `conversations` makes of each row, in order. The child renders the next rows
    while this process turns those before into tokens.

    Args:
        tokenizer: as of `encode`, but not `load_tokenizer`'s.

    Raises:
        UserError: as of `encode`.
    """
    known = _known_to(tokenizer, completion_only)

    def finished(part: list[Row], asked: list[Sequence[template_client.Conversation]],
                 coming: Future[list[Any]]) -> Iterator[tuple[Row, list[Encoded]]]:
        rendered = iter(coming.result())
        for row, each in zip(part, asked, strict=True):
            yield row, [_encoded(next(rendered), tokenizer, completion_only) for _ in each]

    with ThreadPoolExecutor(1) as ahead:
        before: Iterator[tuple[Row, list[Encoded]]] = iter(())
        for part, asked in _parts(rows, conversations):
            coming = ahead.submit(template_client.render_rows, template, list(chain.from_iterable(asked)), *known)
            yield from before
            before = finished(part, asked, coming)
        yield from before


def _parts(rows: Iterable[Row], conversations: Callable[[Row], Sequence[template_client.Conversation]]
           ) -> Iterator[tuple[list[Row], list[Sequence[template_client.Conversation]]]]:
    """Rows and their conversations, as many as one request has."""
    part, asked, length = list[Row](), list[Sequence[template_client.Conversation]](), 0
    for row in rows:
        part.append(row)
        asked.append(conversations(row))
        length += sum(len(text) for messages, tools in asked[-1]
                      for text in control_tokens.texts([*messages, *tools]))
        if len(part) == ROWS_RENDERED or length > CHARACTERS_RENDERED:
            yield part, asked
            part, asked, length = [], [], 0
    if part:
        yield part, asked


def render_row(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], template: ChatTemplate,
               controls: Sequence[str], added: Sequence[str] | None) -> tuple[str, list[tuple[int, int]]]:
    """A conversation as text, with the marks of `plain`, and where its answers are in the text without them.

    Args:
        controls, added: the texts of a tokenizer's tokens (`special_texts`, `added_tokens`); without the latter, no
            answers are looked for.

    Raises:
        UserError: as of `encode`.
    """
    template.check_tools(messages, tools)
    text = template.render(control_tokens.marked(messages, controls, but="assistant"), tools=control_tokens.marked(
        tools, controls, but="assistant"))
    if added is None:
        return text, []
    return text, answer_spans(messages, template, text.replace(control_tokens.MARK, ""), tuple(added), tools)


def _known_to(tokenizer: Encoder, completion_only: bool) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    return special_texts(tokenizer), added_tokens(tokenizer) if completion_only else None


def _encoded(rendered: tuple[str, list[tuple[int, int]]] | UserError, tokenizer: Encoder, completion_only: bool,
             max_length: int | None = None) -> Encoded:
    if isinstance(rendered, UserError):
        raise rendered
    # A tokenizer.json may switch on truncation or padding by itself; a row must never be cut without a word.
    if getattr(tokenizer, "truncation", None) is not None:
        tokenizer.no_truncation()  # type: ignore[attr-defined]
    if getattr(tokenizer, "padding", None) is not None:
        tokenizer.no_padding()  # type: ignore[attr-defined]
    ids, offsets, text = ids_of(rendered[0], tokenizer)
    ids, offsets = ids[:max_length], offsets[:max_length]
    if not completion_only:
        return Encoded(ids, [True] * len(ids), offsets, text)
    learned, spans = [False] * len(ids), iter(rendered[1])
    begin, end = next(spans, (len(text), len(text)))
    for index, (start, _) in enumerate(offsets):
        while start >= end and end < len(text):
            begin, end = next(spans, (len(text), len(text)))
        learned[index] = begin <= start < end
    return Encoded(ids, learned, offsets, text)


def marked(messages: Sequence[Mapping[str, Any]], tokenizer: Encoder) -> list[Any]:
    """Messages in which no text but the assistant's makes a control token (`plain`): rows may teach a model to write
    some, and nobody else."""
    return control_tokens.marked(messages, special_texts(tokenizer), but="assistant")


def ids_of(text: str, tokenizer: Encoder) -> tuple[list[int], list[tuple[int, int]], str]:
    """Token ids of a rendered conversation, their places in it, and itself without the marks of `marked`.

    Raises:
        UserError: it isn't Unicode.
    """
    if control_tokens.MARK not in text:
        try:
            encoding = tokenizer.encode(text, add_special_tokens=False)
        except TypeError as error:
            raise half_a_character() from error
        return list(encoding.ids), list(encoding.offsets), text
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    for number, part in enumerate(control_tokens.stretches(text, special_texts(tokenizer), *_strippers(tokenizer))):
        own, places, _ = ids_of(part.text, _without_control(tokenizer, number == 0) if part.is_plain else tokenizer)
        ids += own
        offsets += [(first + part.begin, last + part.begin) for first, last in places]
    return ids, offsets, text.replace(control_tokens.MARK, "")


def half_a_character() -> UserError:
    return UserError(tr("The text can't be turned into tokens."),
                     tr("It contains half a character (a lone surrogate)."), tr("Remove the broken character."))


@lru_cache(maxsize=2)  # it keeps the tokenizers alive, which are large
def added_tokens(tokenizer: Encoder) -> tuple[str, ...]:
    """The tokens that are taken whole from a text, longest first. Empty if the tokenizer doesn't say."""
    read = getattr(tokenizer, "get_added_tokens_decoder", dict)
    return tuple(sorted((token.content for token in read().values()), key=len, reverse=True))


@lru_cache(maxsize=2)
def special_texts(tokenizer: Encoder) -> tuple[str, ...]:
    """The texts of the tokens that control a conversation. Empty if the tokenizer doesn't say."""
    read = getattr(tokenizer, "get_added_tokens_decoder", dict)
    return tuple(token.content for token in read().values() if token.special)


@lru_cache(maxsize=2)
def _strippers(tokenizer: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The special tokens that take the white space before them, and behind them."""
    tokens = [token for token in tokenizer.get_added_tokens_decoder().values() if token.special]
    return (tuple(token.content for token in tokens if token.lstrip),
            tuple(token.content for token in tokens if token.rstrip))


@lru_cache(maxsize=4)
def _without_control(tokenizer: Any, at_start: bool) -> Any:
    """The same tokenizer, for what comes between two special tokens: it takes no text for one of them."""
    from tokenizers import Tokenizer

    state = json.loads(tokenizer.to_str())
    for step in (state["pre_tokenizer"] or {}, *(state["pre_tokenizer"] or {}).get("pretokenizers", ())):
        if not at_start and step.get("prepend_scheme") == "first":  # the space that is put before a whole text
            step["prepend_scheme"] = "never"
    other = Tokenizer.from_str(json.dumps(state))
    other.encode_special_tokens = True
    return other


def answer_shown(messages: Sequence[Mapping[str, Any]], tokenizer: Encoder, template: ChatTemplate,
                 tools: Sequence[Mapping[str, Any]] = ()) -> str:
    """The last answer as a model is seen to write it: in the template's words, calls of tools included, and without
    special tokens, which aren't shown.

    Raises:
        UserError: as of `encode`.
    """
    template.check_tools(messages, tools)
    text = template.render(messages, tools=tools)
    begin, end = answer_spans(messages, template, text, added_tokens(tokenizer), tools)[-1]
    return str(tokenizer.decode(tokenizer.encode(text[begin:end], add_special_tokens=False).ids)).strip()


def end_of_turn(template: ChatTemplate, tokenizer: Any) -> str | None:
    """The special token that ends an answer, and is learned with it; None if what follows an answer is ordinary text
    or nothing, so that training teaches no end."""
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    mark = turn_end_of(template.source, tuple(template.special_tokens.items()), added_tokens(tokenizer)).mark.strip()
    return mark if mark in special else None
