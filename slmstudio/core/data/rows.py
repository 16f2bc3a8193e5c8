"""What a row must hold: its messages, or everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from slmstudio.core.data.strict_json import printable

Messages: TypeAlias = tuple[dict[str, str], ...]

ROLES = ("system", "user", "assistant")
COLUMNS = frozenset({"instruction", "input", "output", "messages"})
MESSAGE_KEYS = frozenset({"role", "content"})
NEEDED = 'a row needs "instruction" and "output", or "messages"'
SHOWN_COLUMNS = 12


class RowError(Exception):
    """A row cannot be used.

    Attributes:
        findings: (key concerned, sentence) for everything that is wrong.
    """

    def __init__(self, findings: list[tuple[str, str]]):
        super().__init__(findings)
        self.findings = findings


class ColumnsMissing(Exception):
    """A row has other columns than the ones needed.

    Attributes:
        columns: those it has, in order.
    """

    def __init__(self, columns: tuple[str, ...]):
        super().__init__(columns)
        self.columns = columns

    @property
    def missing(self) -> str | None:
        """The one column that would make the row complete."""
        if "instruction" in self.columns or "output" in self.columns:
            return "output" if "instruction" in self.columns else "instruction"
        return None

    def sentence(self) -> str:
        """Names what is there and what is needed."""
        if not self.columns:
            return f"the row is empty; {NEEDED}."
        shown = [f'"{printable(name)}"' for name in self.columns[:SHOWN_COLUMNS]]
        if len(self.columns) > SHOWN_COLUMNS:
            shown.append(f"{len(self.columns) - SHOWN_COLUMNS:,} more")
        names = shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + " and " + shown[-1]
        there = f"the column is {names}" if len(self.columns) == 1 else f"the columns are {names}"
        return (f'"{self.missing}" is missing; ' if self.missing else "") + f"{there}; {NEEDED}."


def read_row(value: Any) -> tuple[str, Messages]:
    """The layout ("instruction" or "messages") and the messages of one parsed row.

    Raises:
        RowError: everything that is wrong with it.
        ColumnsMissing: it is an object with other columns.
    """
    if not isinstance(value, dict):
        raise RowError([("", f'the row is {kind_of(value)}; it must be an object, {{"instruction": …, "output": …}}.')])
    if value.get("messages") is not None:
        return "messages", _from_messages(value["messages"])
    if "instruction" in value and "output" in value:
        return "instruction", _from_instruction(value)
    raise ColumnsMissing(tuple(value))


def unused_keys(value: dict[str, Any], layout: str) -> set[str]:
    """Keys of a usable row that nothing is made of; those of its messages as "messages.KEY"."""
    unused = value.keys() - (COLUMNS - {"messages"} if layout == "instruction" else {"messages"})
    if layout == "messages":
        for message in value["messages"]:
            if len(message) > len(MESSAGE_KEYS):
                unused |= {f"messages.{key}" for key in message.keys() - MESSAGE_KEYS}
    return unused


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    return {float: "a number", int: "a number", str: "a text", list: "a list", dict: "an object"}[type(value)]


def _from_instruction(row: dict[str, Any]) -> Messages:
    findings: list[tuple[str, str]] = []
    instruction = _text(row, "instruction", '"instruction"', findings)
    output = _text(row, "output", '"output"', findings)
    context = _text(row, "input", '"input"', findings, may_be_blank=True) if row.get("input") is not None else ""
    if findings:
        raise RowError(findings)
    question = f"{instruction}\n\n{context}" if context.strip() else instruction
    return {"role": "user", "content": question}, {"role": "assistant", "content": output}


def _from_messages(messages: Any) -> Messages:
    if not isinstance(messages, list):
        raise RowError([("messages", f'"messages" is {kind_of(messages)}; it must be a list.')])
    if not messages:
        raise RowError([("messages", '"messages" is an empty list.')])
    findings: list[tuple[str, str]] = []
    for number, message in enumerate(messages, start=1):
        _check_message(number, message, findings)
    if not findings:
        _check_turns([message["role"] for message in messages], findings)
    if findings:
        raise RowError(findings)
    return tuple({"role": message["role"], "content": message["content"]} for message in messages)


def _check_message(number: int, message: Any, findings: list[tuple[str, str]]) -> None:
    if not isinstance(message, dict):
        findings.append((
            "messages", f'message {number} is {kind_of(message)}; it must be {{"role": …, "content": …}}.'))
        return
    role = message.get("role")
    if "role" not in message:
        findings.append(("role", f'message {number} has no "role"; it must be system, user or assistant.'))
    elif role not in ROLES:
        named = f'"{printable(role)}"' if isinstance(role, str) else kind_of(role)
        findings.append(("role", f"message {number} has the role {named}; it must be system, user or assistant."))
    # A blank system message is common and harmless; a blank question or answer teaches nonsense.
    _text(message, "content", f'"content" of message {number}', findings, may_be_blank=role == "system")


def _check_turns(roles: list[str], findings: list[tuple[str, str]]) -> None:
    """System first or not at all; then user and assistant in turns; an assistant message last."""
    def complain(sentence: str) -> None:
        findings.append(("messages", sentence))

    if "assistant" not in roles:
        complain("there is no assistant message, so there is nothing to learn.")
    elif roles[-1] != "assistant":
        complain(f"the last message is from the {roles[-1]}; a row must end with the assistant's answer.")
    for number, role in enumerate(roles[1:], start=2):
        if role == "system":
            complain(f"message {number} is a system message; only the first message may be one.")
        elif role == roles[number - 2]:
            complain(f"messages {number - 1} and {number} are both from the {role}; "
                     "user and assistant must take turns.")
    opening = next((role for role in roles if role != "system"), "")
    if opening == "assistant":
        complain("the conversation begins with the assistant; a user message must come first.")


def _text(holder: Mapping[str, Any], key: str, name: str, findings: list[tuple[str, str]],
          may_be_blank: bool = False) -> str:
    """The text under `key`; what is wrong with it goes to `findings`."""
    value = holder.get(key)
    if key not in holder:
        findings.append((key, f"{name} is missing."))
    elif not isinstance(value, str):
        hint = "; put it in double quotes" if isinstance(value, (bool, int, float)) else ""
        findings.append((key, f"{name} is {kind_of(value)}; it must be text{hint}."))
    elif not may_be_blank and (not value or value.isspace()):
        findings.append((key, f"{name} is empty."))
    elif not _is_whole(value):
        findings.append((key, f"{name} holds half of a character (such as \\ud83d without its partner)."))
    else:
        return value
    return ""


def _is_whole(text: str) -> bool:
    """Whether the text has no lone surrogates: JSON's escapes can write them, UTF-8 cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
