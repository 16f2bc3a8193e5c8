"""Where the answers of a conversation are in the text that a chat template makes of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model.chat_template import ChatTemplate

_SENTINEL = "\ue000\ue001\ue000"
"""Stands for an answer where only what surrounds it matters: private-use characters, which no template changes."""


def answer_spans(messages: Sequence[Mapping[str, Any]], template: ChatTemplate, text: str,
                 markers: tuple[str, ...] = (), tools: Sequence[Mapping[str, Any]] = ()) -> list[tuple[int, int]]:
    """Where the assistant's messages are in the rendered text, each with what ends it, in characters.

    An answer begins where the messages before it, rendered with the generation prompt, end; and it ends where the
    messages up to it end. Both must be beginnings of the whole text. Templates that render a message in another way
    once others follow (as those do that drop the thinking of earlier answers) break that rule: such an answer is looked
    for as it is, and left out where it isn't found. The last answer must be found, and so must every call of a tool.

    Raises:
        UserError: the last answer or a call can't be found.
    """
    turns = [index for index, message in enumerate(messages) if message.get("role") == "assistant"]
    turn_end = turn_end_of(template.source, tuple(template.special_tokens.items()), markers)
    spans: list[tuple[int, int]] = []
    for index in turns:
        message, last, after = messages[index], index == turns[-1], spans[-1][1] if spans else 0
        names = [str(call["function"]["name"]) for call in message.get("tool_calls") or ()]
        turn = _turn(messages, index, template, text, tools)
        span = _span_by_prefixes(*turn, text, turn_end, bool(names)) if turn else None
        if span is None and names:
            span = _span_by_call(*turn, text, turn_end, names, after, last) if turn else None
        elif span is None:
            span = _span_by_content(str(message.get("content") or ""), text, after, turn_end.mark, last)
        if span:
            spans.append(span)
        elif last or names:
            raise UserError(tr("The answer to be learned can't be found in the rendered conversation."),
                            tr("The chat template changes the assistant's text."),
                            tr("Switch completion-only loss off, or choose a model with a different chat template."))
    return spans


def _turn(messages: Sequence[Mapping[str, Any]], index: int, template: ChatTemplate, text: str,
          tools: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """What is before an answer, with the generation prompt, and what is up to it, each rendered without what follows;
    None if the template doesn't take them so."""
    if index == 0:
        return None  # Templates look at the first message, so nothing can be rendered before it.
    try:
        before = template.render(messages[:index], True, tools)
        return before, text if index + 1 == len(messages) else template.render(messages[:index + 1], tools=tools)
    except UserError:
        return None


def _span_by_prefixes(before: str, up_to: str, text: str, turn_end: TurnEnd, calls: bool) -> tuple[int, int] | None:
    """An answer's place by what is before it and what is up to it; None if the text doesn't begin so."""
    end = turn_end.place(up_to, calls)
    if end is None or not text.startswith(before) or text[:end] != up_to[:end] or end < len(before):
        return None
    return len(before), end


def _span_by_call(before: str, up_to: str, text: str, turn_end: TurnEnd, names: list[str], after: int,
                  last: bool) -> tuple[int, int] | None:
    """A call's place where it is written in another way than at the end of a conversation, as without the thoughts
    before it: that of as much of its turn, up to the turn's end, as the text has."""
    begun = before if up_to.startswith(before) else before.rstrip()  # no line break may follow an empty thought
    own = up_to[len(begun):turn_end.place(up_to, True)]
    low, high = 0, len(own)
    while low < high:  # where the text has one part, it has the shorter ones too
        middle = (low + high) // 2
        low, high = (low, middle) if text.find(own[middle:], after) >= 0 else (middle + 1, high)
    found = own[low:].lstrip() if low else own
    if not up_to.startswith(begun) or not all(name in found for name in names):
        return None
    begin = text.rfind(found, after) if last else text.find(found, after)
    # What ended the thoughts may be what ends the prompt too, which isn't learned.
    return max(begin, len(before)) if text.startswith(before) else begin, begin + len(found)


def _span_by_content(content: str, text: str, after: int, mark: str, last: bool) -> tuple[int, int] | None:
    """An answer's place by its words, followed by what ends a turn."""
    wanted = content.strip() + mark
    if not content.strip() or not mark.strip():
        return None
    begin = text.rfind(wanted, after) if last else text.find(wanted, after)
    return (begin, begin + len(wanted)) if begin >= 0 else None


class TurnEnd(NamedTuple):
    """What a template writes after an answer.

    Attributes:
        suffix: after the last one.
        mark: the beginning of that which ends the turn.
        markers: the tokenizer's added tokens.
    """

    suffix: str
    mark: str
    markers: tuple[str, ...]

    def place(self, text: str, calls: bool) -> int | None:
        """Where the last turn of a text ends, its mark included; None if it ends otherwise."""
        if text.endswith(self.suffix):
            return len(text) - len(self.suffix) + len(self.mark)
        # Calls of tools may have a mark of their own, such as <|eom_id|>.
        end = len(text.rstrip())
        return (end if text.endswith(self.markers, 0, end) else len(text)) if calls else None


@lru_cache(maxsize=32)
def turn_end_of(source: str, tokens: tuple[tuple[str, str], ...], markers: tuple[str, ...]) -> TurnEnd:
    """What a template writes after the last answer, and the beginning of it that ends the turn.

    As in ("<|end|>\\n<|endoftext|>", "<|end|>") for Phi-3: the mark is the first special token, else the first
    run of characters other than white space, else all of it.
    """
    chat = [{"role": "user", "content": "x"}, {"role": "assistant", "content": _SENTINEL}]
    try:
        suffix = ChatTemplate(source, dict(tokens)).render(chat).partition(_SENTINEL)[2]
    except UserError:
        return TurnEnd("", "", markers)
    blank = len(suffix) - len(suffix.lstrip())
    known = next((marker for marker in markers if marker.strip() and suffix.startswith(marker, blank)), None)
    run = re.match(r"\s*\S+", suffix)
    return TurnEnd(suffix, suffix[:blank + len(known)] if known else run[0] if run else suffix, markers)
