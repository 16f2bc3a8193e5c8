"""Values of rows as the texts and messages that `read_row` knows."""

from __future__ import annotations

from typing import Any

from slmstudio.core.data.sources.row import number_text


def with_system(messages: Any, system: Any) -> Any:
    """A conversation with the system message of its own column in front, unless it has one."""
    if not isinstance(system, str) or not system.strip() or not isinstance(messages, list):
        return messages
    first = messages[0] if messages and isinstance(messages[0], dict) else {}
    return messages if first.get("role") == "system" else [{"role": "system", "content": system}, *messages]


def are_instances(value: Any) -> bool:
    """Whether an answer is the list of examples that seed tasks nest (Wang et al. 2022, Self-Instruct)."""
    return isinstance(value, list) and bool(value) and all(
        isinstance(each, dict) and "output" in each for each in value)


def are_segments(value: Any) -> bool:
    """Whether a value is a text in parts that say whether they are learned, as Axolotl's format without a template."""
    return isinstance(value, list) and bool(value) and all(
        isinstance(each, dict) and isinstance(each.get("text"), str) and isinstance(each.get("label"), bool)
        for each in value)


def below(question: Any, context: Any) -> Any:
    """A question with what it is about below it."""
    context = as_text(context)
    if not isinstance(question, str) or not isinstance(context, str) or not context.strip():
        return question
    return f"{question}\n\n{context}"


def as_text(value: Any) -> Any:
    """A value as text where it plainly is one: a number, the first of several right answers, texts below each other."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return number_text(value)
    if isinstance(value, dict):
        value = next((value[key] for key in ("text", "full_text", "content", "value", "answer") if key in value), value)
    if isinstance(value, list) and value:
        if all(isinstance(each, str) for each in value):
            return value[0]
        if all(isinstance(each, dict) and isinstance(each.get("text"), str) for each in value):
            return value[0]["text"]
    return value
