"""Messages as rows hold them: the same shape for all, or everything that is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from slmstudio.core.data.strict_json import printable
from slmstudio.core.i18n import tr

Message: TypeAlias = dict[str, Any]
Messages: TypeAlias = tuple[Message, ...]
Findings: TypeAlias = list[tuple[str, str]]
"""(key concerned, sentence) for everything that is wrong with a row."""

ROLES = ("system", "user", "assistant", "tool")
MESSAGE_KEYS = frozenset({"role", "content"})
TOOL_KEYS = ("tool_calls", "name", "tool_call_id")
"""Keys that a message may have beside those: calls of the assistant's, the name of the tool that answers."""
SPEAKERS = {"Human": "user", "Assistant": "assistant"}
TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):")


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return tr("a true or false value")
    if isinstance(value, (int, float)):
        return tr("a number")
    if isinstance(value, str):
        return tr("text")
    return tr("a list") if isinstance(value, list) else tr("an object")


def list_of_messages(value: Any, column: str, findings: Findings) -> list[Message]:
    """The messages in `column`, each checked alone; what is wrong with them goes to `findings`."""
    if not isinstance(value, list):
        findings.append((column, not_messages(column, value) if column != "messages" else
                         tr('"{column}" is {kind}; it must be a list.', column=column, kind=kind_of(value))))
        return []
    if not value:
        findings.append((column, tr('"{column}" is an empty list.', column=column)))
        return []
    before = len(findings)
    for number, message in enumerate(value, start=1):
        name = (tr("message {number}", number=number) if column == "messages" else
                tr('message {number} of "{column}"', number=number, column=column))
        _check_message(name, message, column, findings)
    return [] if len(findings) > before else [
        {key: message[key] for key in ("role", "content", *TOOL_KEYS) if key in message} for message in value]


def not_messages(column: str, value: Any) -> str:
    return tr('"{column}" is {kind}; it must be text or a list of messages.', column=column, kind=kind_of(value))


def _check_message(name: str, message: Any, column: str, findings: Findings) -> None:
    if not isinstance(message, dict):
        findings.append((column, tr("{message} is {kind}; it must be {example}.", message=name, kind=kind_of(message),
                                    example='{"role": …, "content": …}')))
        return
    role = message.get("role")
    if "role" not in message:
        findings.append(("role", tr('{message} has no "role"; it must be system, user or assistant.', message=name)))
    elif role not in ROLES:
        findings.append(("role", tr('{message} has the role "{role}"; it must be system, user or assistant.',
                                    message=name, role=printable(role)) if isinstance(role, str) else
                         tr("{message} has {kind} as its role; it must be system, user or assistant.",
                            message=name, kind=kind_of(role))))
    # A blank system message is common and harmless; a blank question or answer teaches nonsense.
    text_of(message, "content", findings, tr('"content" of {message}', message=name),
            may_be_blank=role in ("system", "tool") or bool(message.get("tool_calls")))


def check_turns(messages: Sequence[Message], column: str, findings: Findings) -> None:
    """System first or not at all; then user and assistant in turns; an assistant message last."""
    roles = [message["role"] for message in messages]
    introduction = "" if column == "messages" else f'"{column}": '

    def complain(sentence: str) -> None:
        findings.append((column, introduction + sentence))

    if "assistant" not in roles:
        complain(tr("there is no assistant message, so there is nothing to learn."))
    elif roles[-1] != "assistant":
        complain(tr('the last message has the role "{role}"; a row must end with the assistant\'s answer.',
                    role=roles[-1]))
    for number, role in enumerate(roles[1:], start=2):
        if role == "system":
            complain(tr("message {number} is a system message; only the first message may be one.", number=number))
        elif role == "tool" and not _answers_call(messages, number - 1):
            complain(tr("message {number} is the result of a tool, but no call comes before it.", number=number))
        elif role == roles[number - 2] != "tool":
            complain(tr('messages {first} and {second} both have the role "{role}"; user and assistant must take '
                        "turns.", first=number - 1, second=number, role=role))
    opening = next((role for role in roles if role != "system"), "")
    if opening == "assistant":
        complain(tr("the conversation begins with the assistant; a user message must come first."))


def _answers_call(messages: Sequence[Message], at: int) -> bool:
    """Whether the tool's message at that place comes after the assistant's, with none but other tools' between."""
    before = next((message for message in reversed(messages[:at]) if message["role"] != "tool"), None)
    return before is not None and before["role"] == "assistant"


def transcript(text: str) -> list[Message]:
    """The messages of a conversation written as one text, as in "\\n\\nHuman: Hi\\n\\nAssistant: Hello".

    Anthropic's HH-RLHF is written like this, https://huggingface.co/datasets/Anthropic/hh-rlhf. Empty for other text.
    """
    before, *parts = TURN.split(text.lstrip("\n"))
    if before or not parts:
        return []
    return [{"role": SPEAKERS[speaker], "content": content.strip()}
            for speaker, content in zip(parts[::2], parts[1::2], strict=True)]


def text_of(holder: Mapping[str, Any], key: str, findings: Findings, name: str = "",
            may_be_blank: bool = False) -> str:
    """The text under `key`; what is wrong with it goes to `findings`, under `name` instead of the key."""
    name = name or f'"{key}"'
    value = holder.get(key)
    if key not in holder:
        findings.append((key, tr("{text} is missing.", text=name)))
    elif not isinstance(value, str):
        kind = kind_of(value)
        findings.append((key, tr("{text} is {kind}; it must be text; put it in double quotes.", text=name, kind=kind)
                         if isinstance(value, (bool, int, float)) else
                         tr("{text} is {kind}; it must be text.", text=name, kind=kind)))
    elif not may_be_blank and (not value or value.isspace()):
        findings.append((key, tr("{text} is empty.", text=name)))
    elif not _is_whole(value):
        findings.append((key, tr("{text} contains half a character (such as {half} without its partner).", text=name,
                                 half="\\ud83d")))
    else:
        return value
    return ""


def keys_beside(value: Mapping[str, Any], used: Iterable[str]) -> set[str]:
    """Keys of a usable row that aren't used; those of the messages in COLUMN as "COLUMN.KEY"."""
    unused = set(value).difference(used)
    for column in used:
        messages = value.get(column)
        if not isinstance(messages, list):
            continue
        for message in messages:
            if len(message) > len(MESSAGE_KEYS):
                unused |= {f"{column}.{key}" for key in message.keys() - MESSAGE_KEYS}
    return unused


def _is_whole(text: str) -> bool:
    """Whether the text has no lone surrogates: JSON's escapes can write them, UTF-8 can't."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
