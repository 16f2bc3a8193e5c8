"""A model's chat template: the jinja source that turns messages into the text a model was trained on; and where the
answers are in that text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from slmstudio.core import files
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.i18n import noop, tr
from slmstudio.core.model import template_client
from slmstudio.core.model.json_files import read_json_object

SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""The special tokens that transformers hands to a template."""
_CHOOSE = noop("Choose a model with a different chat template.")
TAKE_TOOLS = noop("Choose a model whose chat template supports tools, such as Qwen 2.5 or Llama 3.1, or remove the "
                  "rows with tools.")
_QUESTION, _SYSTEM = "probe_question_qz", "probe_system_qz"
_PROBE = ("probe_tool_qz", "probe_argument_qz", "probe_result_qz")
"""A tool's name, what it is called with, and what it returns. Like the question, no template writes them by itself."""


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template and the special tokens it may use.

    Attributes:
        source: jinja text.
        special_tokens: by name, as in {"bos_token": "<s>"}.
        thinks: False tells the template that no thoughts are wanted (`enable_thinking=False`): that of a model which
            thinks by default, like Qwen3, then ends the prompt with an empty thought. Others don't know the name.
    """

    source: str
    special_tokens: Mapping[str, str] = field(default_factory=dict)
    thinks: bool = True

    @classmethod
    def from_folder(cls, folder: Path | str) -> ChatTemplate:
        """Read a model folder's template, and see that jinja can read it.

        Raises:
            UserError: there is none, or it is broken.
        """
        folder = Path(folder)
        source = find_template(folder)
        if source is None:
            raise UserError(tr("{folder} has no chat template.", folder=folder.name),
                            tr("Neither chat_template.jinja nor tokenizer_config.json contains one. Models that were "
                               "never trained to chat have none."),
                            tr("Choose a chat template for it, or the instruct version of the model."))
        template = cls(source, special_tokens(folder))
        template.check()
        return template

    def without_thoughts(self) -> ChatTemplate:
        """The same template, asked for answers without thoughts before them."""
        return replace(self, thinks=False)

    def check(self) -> None:
        """Check that jinja can read the template.

        Raises:
            UserError: it can't.
        """
        template_client.check(self.source)

    def render(self, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool = False,
               tools: Sequence[Mapping[str, Any]] = ()) -> str:
        """The text of a conversation, equal to transformers' `apply_chat_template(tokenize=False)`. It is rendered in
        the process of `template_client`.

        Args:
            messages: {"role": ..., "content": ...}, in order; those of a `Record`, calls of tools included.
            add_generation_prompt: end with what comes before an answer.
            tools: what the assistant may call, as JSON schemas. Whether the template writes them, and the calls, is
                told by `takes_tools`; one that doesn't passes over them.

        Raises:
            UserError: the template refuses the conversation, is broken, runs too long or makes too much text.
        """
        return template_client.render(self, messages, add_generation_prompt, tools)

    def omits_question(self) -> bool:
        """Whether the template renders a question, and its words are nowhere in what the model would read."""
        try:
            return _QUESTION not in self.render([{"role": "user", "content": _QUESTION}], add_generation_prompt=True)
        except UserError:
            return False  # it refuses the conversation, or is broken: who chats is told that

    def takes_system(self) -> bool:
        """Whether the template writes system messages: some refuse them, as Gemma's does, and some pass over them."""
        conversation = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _QUESTION}]
        try:
            return _SYSTEM in self.render(conversation, add_generation_prompt=True)
        except UserError:
            return False

    def takes_tools(self) -> bool:
        """Whether the template writes tools, calls of them, and what these return: found by rendering an example."""
        return _takes_tools(self.source, tuple(self.special_tokens.items()))

    def check_tools(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()) -> None:
        """Check that no tool of a conversation would be left out without a word.

        Raises:
            UserError: there are some, and the template takes none.
        """
        if (tools or any(map(_of_tools, messages))) and not self.takes_tools():
            raise UserError(tr("This model's chat template doesn't support tools."),
                            tr("The model was trained without them, but the row has some."), tr(TAKE_TOOLS))


def _of_tools(message: Mapping[str, Any]) -> bool:
    return bool(message.get("tool_calls")) or message.get("role") == "tool"


@lru_cache(maxsize=32)
def _takes_tools(source: str, tokens: tuple[tuple[str, str], ...]) -> bool:
    template, (name, argument, result) = ChatTemplate(source, dict(tokens)), _PROBE
    tool = {"type": "function", "function": {"name": name, "description": "Looks up.", "parameters": {
        "type": "object", "properties": {"key": {"type": "string", "description": "A key."}}, "required": ["key"]}}}
    # Some templates want each call to have an id of nine letters.
    call = {"id": "call00001", "type": "function", "function": {"name": name, "arguments": {"key": argument}}}
    asked = [{"role": "user", "content": "x"}]
    called: list[dict[str, Any]] = [
        *asked, {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "name": name, "tool_call_id": "call00001", "content": result},
        {"role": "assistant", "content": "y"}]
    try:
        offered, whole = template.render(asked, True, [tool]), template.render(called)
    except UserError:
        return False
    return name in offered and all(word in whole for word in _PROBE)


def find_template(folder: Path) -> str | None:
    """The template of a model folder, as transformers 5 looks for it; None if there is none.

    A file chat_template.jinja comes before tokenizer_config.json's `chat_template`, which is a text, or a list of named
    ones of which "default" is taken.

    Raises:
        UserError: the file that should hold it can't be read, or none of several is the default.
    """
    file = folder / "chat_template.jinja"
    if file.is_file():
        try:
            # universal newlines, as transformers reads it
            with open(file, encoding="utf-8", opener=files.regular) as opened:
                return opened.read(2_000_000)
        except OSError as error:
            raise from_os_error(error, tr("Could not read chat_template.jinja.")) from error
        except UnicodeDecodeError as error:
            raise UserError(tr("chat_template.jinja isn't UTF-8 text."), "", tr(_CHOOSE)) from error
    value = tokenizer_config(folder).get("chat_template")
    if value is None or isinstance(value, str):
        return value
    entries = value if isinstance(value, list) else []
    default = next((entry.get("template") for entry in entries
                    if isinstance(entry, dict) and entry.get("name") == "default"), None)
    if not isinstance(default, str):
        raise UserError(tr("tokenizer_config.json has several chat templates, and none is the default."), "",
                        tr(_CHOOSE))
    return default


def special_tokens(folder: Path) -> dict[str, str]:
    """The special tokens that transformers 5 gives a template, by name.

    tokenizer_config.json says them; special_tokens_map.json overrules it in folders without an `added_tokens_decoder`.

    Raises:
        UserError: one of the two files is there and can't be read.
    """
    config = tokenizer_config(folder)
    found = {name: config[name] for name in SPECIAL if name in config}
    legacy = folder / "special_tokens_map.json"
    if "added_tokens_decoder" not in config and legacy.is_file():
        found.update({name: value for name, value in read_json_object(legacy).items() if name in SPECIAL})
    contents = ((name, value.get("content") if isinstance(value, dict) else value) for name, value in found.items())
    return {name: content for name, content in contents if isinstance(content, str)}


def tokenizer_config(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    return read_json_object(path) if path.is_file() else {}


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
