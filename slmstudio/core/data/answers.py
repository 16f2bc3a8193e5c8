"""Rows with a prompt and its answers in columns of their own: one, one marked good or bad, or a better and a worse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from slmstudio.core.data.conversations import (
    Findings,
    Message,
    check_turns,
    kind_of,
    list_of_messages,
    not_messages,
    text_of,
    transcript,
)
from slmstudio.core.i18n import tr

PROMPTS = ("prompt", "question", "instruction")


class Asked(NamedTuple):
    """What is asked in a row.

    Attributes:
        system: the system message, or nothing.
        turns: the messages after it; none where the answers hold the prompt too.
        columns: the columns that it was read from.
    """

    system: list[Message]
    turns: list[Message]
    columns: tuple[str, ...]


def asked(row: Mapping[str, Any], findings: Findings, names: tuple[str, ...] = PROMPTS) -> Asked | None:
    """The prompt of a row: the first of the columns `names` that isn't null, "input" with "instruction", "system".

    A "prompt" may be a list of messages; the others are text. With several names, there may be none.

    Returns:
        None if something is wrong with it.
    """
    before = len(findings)
    name = names[0] if len(names) == 1 else next((name for name in names if row.get(name) is not None), "")
    turns: list[Message] = []
    columns = [name] if name else []
    if name == "prompt" and isinstance(row.get(name), list):
        turns = list_of_messages(row[name], name, findings)
    elif name:
        question = text_of(row, name, findings)
        context = ""
        if name == "instruction":
            columns.append("input")
            context = text_of(row, "input", findings, may_be_blank=True) if row.get("input") is not None else ""
        turns = [{"role": "user", "content": f"{question}\n\n{context}" if context.strip() else question}]
    own = turns[:1] if turns and turns[0]["role"] == "system" else []
    system = _system(row, findings)
    if system and own and system != own:
        findings.append(("system", tr('"{column}" differs from the system message of "{prompt}"; keep one of them.',
                                      column="system", prompt="prompt")))
    return None if len(findings) > before else Asked(own or system, turns[len(own):], (*columns, "system"))


def _system(row: Mapping[str, Any], findings: Findings) -> list[Message]:
    """The "system" column as a message. Blank means none: tables that have the column have it in every row."""
    if row.get("system") is None:
        return []
    text = text_of(row, "system", findings, may_be_blank=True)
    return [{"role": "system", "content": text}] if text.strip() else []


def answered(row: Mapping[str, Any], column: str, prompt: Asked | None, findings: Findings) -> list[Message]:
    """The conversation that ends with the answer in `column`, which is text, messages, or both prompt and answer.

    Without a prompt, since something is wrong with that, the answer is checked alone.
    """
    before = len(findings)
    value = row[column]
    alone = prompt is not None and not prompt.turns
    written = transcript(value) if alone and isinstance(value, str) else []
    if written:
        for message in written:
            text_of(message, "content", findings, tr('a message of "{column}"', column=column))
    elif isinstance(value, list):
        written = list_of_messages(value, column, findings)
    elif isinstance(value, str):
        written = [{"role": "assistant", "content": text_of(row, column, findings)}]
        if alone and len(findings) == before:
            findings.append((column, tr('the question is missing: there is no "{prompt}", and "{column}" isn\'t a '
                                        "whole conversation.", prompt="prompt", column=column)))
    else:
        findings.append((column, not_messages(column, value)))
    if len(findings) > before or prompt is None:
        return []
    conversation = _joined(prompt, written, column, findings)
    if len(findings) == before:
        check_turns(conversation, column, findings)
    return conversation


def _joined(prompt: Asked, written: list[Message], column: str, findings: Findings) -> list[Message]:
    """Prompt and answer as one conversation. Where the answer begins with the prompt, it is kept once."""
    if written[0]["role"] == "assistant":
        return [*prompt.system, *prompt.turns, *written]
    own = written[:1] if written[0]["role"] == "system" else []
    turns = written[len(own):]
    if own and prompt.system and own != prompt.system:
        findings.append(("system", tr('the system message of "{column}" differs from the prompt\'s.', column=column)))
    opening = [(message["role"], message["content"].strip()) for message in turns[:len(prompt.turns)]]
    if opening != [(message["role"], message["content"].strip()) for message in prompt.turns]:
        findings.append((column, tr('"{column}" is a whole conversation, but doesn\'t begin with the prompt.',
                                    column=column)))
    return [*(own or prompt.system), *turns]


def preference(row: Mapping[str, Any], prompt: Asked | None, findings: Findings) -> tuple[list[Message], str]:
    """The conversation with the chosen answer, and the rejected answer."""
    chosen, rejected = (answered(row, column, prompt, findings) for column in ("chosen", "rejected"))
    if not chosen or not rejected:
        return [], ""
    if chosen[:-1] != rejected[:-1]:
        findings.append(("rejected", tr('"{chosen}" and "{rejected}" differ before their last answer; what comes '
                                        "before it must be the same.", chosen="chosen", rejected="rejected")))
    elif chosen[-1] == rejected[-1]:
        findings.append(("rejected", tr('"{chosen}" and "{rejected}" are the same, so neither is better.',
                                        chosen="chosen", rejected="rejected")))
    return chosen, rejected[-1]["content"]


def is_good(row: Mapping[str, Any], findings: Findings) -> bool:
    """What "label" says about the answer."""
    label = row["label"]
    if isinstance(label, (bool, int, float)) and label in (0, 1):
        return bool(label)
    said = f"{label:g}" if isinstance(label, (int, float)) else kind_of(label)
    findings.append(("label", tr('"{column}" is {value}; it must be true for a good answer and false for a bad one.',
                                 column="label", value=said)))
    return False
