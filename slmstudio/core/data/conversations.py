"""Messages as rows hold them: the same shape for all, or everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from slmstudio.core.data.strict_json import printable
from slmstudio.core.i18n import tr

Message: TypeAlias = dict[str, Any]
Messages: TypeAlias = tuple[Message, ...]
Findings: TypeAlias = list[tuple[str, str]]
"""(column concerned, sentence) for everything that is wrong with a row."""

ROLES = ("system", "user", "assistant", "tool")
KEYS = ("role", "content", "tool_calls", "name", "tool_call_id")
"""What a message may have: calls are the assistant's, the name and the id are of a tool that answers one."""


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


def list_of_messages(value: Any, column: str, findings: Findings, is_row: bool = False) -> list[Message]:
    """The messages in `column`, each checked alone; what is wrong with them goes to `findings`.

    Args:
        is_row: whether they are all that the row has; then they are named by their number alone.
    """
    shown = printable(column)
    if not isinstance(value, list):
        findings.append((column, tr('"{column}" is {kind}; it must be a list.', column=shown, kind=kind_of(value))
                         if is_row else not_messages(column, value)))
    elif not value:
        findings.append((column, tr('"{column}" is an empty list.', column=shown)))
    else:
        before = len(findings)
        for number, message in enumerate(value, start=1):
            name = (tr("message {number}", number=number) if is_row else
                    tr('message {number} of "{column}"', number=number, column=shown))
            _check_message(name, message, column, findings)
        if len(findings) == before:
            return [{key: message[key] for key in KEYS if key in message} for message in value]
    return []


def not_messages(column: str, value: Any) -> str:
    return tr('"{column}" is {kind}; it must be text or a list of messages.', column=printable(column),
              kind=kind_of(value))


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


def check_turns(messages: Sequence[Message], column: str, findings: Findings, is_row: bool = False) -> None:
    """System first or not at all; then user and assistant in turns; an assistant message last."""
    roles = [message["role"] for message in messages]
    found = []
    if "assistant" not in roles:
        found.append(tr("there is no assistant message, so there is nothing to learn."))
    elif roles[-1] != "assistant":
        found.append(tr('the last message has the role "{role}"; a row must end with the assistant\'s answer.',
                        role=roles[-1]))
    for number, role in enumerate(roles[1:], start=2):
        if role == "system":
            found.append(tr("message {number} is a system message; only the first message may be one.", number=number))
        elif role == "tool" and next((each for each in roles[number - 2::-1] if each != "tool"), "") != "assistant":
            found.append(tr("message {number} is the result of a tool, but no call comes before it.", number=number))
        elif role == roles[number - 2] != "tool":
            found.append(tr('messages {first} and {second} both have the role "{role}"; user and assistant must take '
                            "turns.", first=number - 1, second=number, role=role))
    if next((role for role in roles if role != "system"), "") == "assistant":
        found.append(tr("the conversation begins with the assistant; a user message must come first."))
    introduction = "" if is_row else f'"{printable(column)}": '
    findings += [(column, introduction + sentence) for sentence in found]


def text_of(holder: Mapping[str, Any], key: str, findings: Findings, name: str = "",
            may_be_blank: bool = False) -> str:
    """The text under `key`; what is wrong with it goes to `findings`, under `name` instead of the key."""
    name = name or f'"{printable(key)}"'
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


def _is_whole(text: str) -> bool:
    """Whether the text has no lone surrogates: JSON's escapes can write them, UTF-8 can't."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
