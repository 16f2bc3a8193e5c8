"""Rows whose columns are nested inside something else: taken out of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slmstudio.core.data.mapping.turns import is_message

_STORIES = ("story", "context", "passage")
_HIDDEN = frozenset({"thoughts", "reasoning_recap", "user_editable_context", "model_editable_context", "code",
                     "execution_output", "tether_browsing_display", "tether_quote", "system_error"})
"""What ChatGPT's export holds beside what was said."""


def opened(value: Any) -> Any:
    """A row as an object with its columns. Opened are {"translation": {"en": …, "hi": …}}, a list of messages, lists of
    questions and answers as CoQA has them, and a conversation of ChatGPT's export; others stay as they are."""
    if isinstance(value, list):
        return {"messages": value} if value and isinstance(value[0], dict) and is_message(value[0]) else value
    if not isinstance(value, dict):
        return value
    inner = value.get("translation")
    if isinstance(inner, dict) and len(inner) > 1 and all(isinstance(each, str) for each in inner.values()):
        return _without(value, "translation") | inner
    if isinstance(value.get("mapping"), dict) and "current_node" in value and (said := _way_to(value)):
        return {"messages": said, "title": value.get("title")}
    if isinstance(value.get("questions"), list) and (said := _asked_in_turn(value)):
        return _without(value, "questions", "answers", *_STORIES) | {"messages": said}
    return value


def _without(value: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: each for name, each in value.items() if name not in names}


def _asked_in_turn(value: Mapping[str, Any]) -> list[dict[str, str]]:
    """Questions about a story and the answer to each, as a conversation; empty where they don't fit each other."""
    questions, answers = value["questions"], value.get("answers")
    if isinstance(answers, dict):
        answers = next((answers[key] for key in ("input_text", "text") if key in answers), None)
    if not isinstance(answers, list) or len(answers) != len(questions) or not all(
            isinstance(each, str) for each in (*questions, *answers)):
        return []
    story = next((value[name] for name in _STORIES if isinstance(value.get(name), str)), "")
    said = [{"role": role, "content": text} for pair in zip(questions, answers, strict=True)
            for role, text in zip(("user", "assistant"), pair, strict=True)]
    if said and story:
        said[0]["content"] = f"{story}\n\n{said[0]['content']}"
    return said


def _way_to(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages from the first to the one that ChatGPT showed last; what was tried and left aside isn't among them.
    """
    found: list[dict[str, Any]] = []
    nodes, at, seen = value["mapping"], value.get("current_node"), set[str]()
    while isinstance(at, str) and at not in seen and isinstance(nodes.get(at), dict):
        seen.add(at)
        said = _said(nodes[at].get("message"))
        if said is not None:
            found.append(said)
        at = nodes[at].get("parent")
    joined: list[dict[str, Any]] = []
    for each in reversed(found):
        if joined and joined[-1]["role"] == each["role"] and isinstance(each["content"], str) and (
                isinstance(joined[-1]["content"], str)):
            joined[-1]["content"] += f"\n\n{each['content']}"
        else:
            joined.append(each)
    while joined and joined[-1]["role"] != "assistant":  # asked, and never answered
        joined.pop()
    return joined


def _said(message: Any) -> dict[str, Any] | None:
    """What the user or the assistant said; None for what neither did. A picture stays one, so that its row is
    refused."""
    if not isinstance(message, dict) or message.get("recipient", "all") != "all":
        return None
    author, content = message.get("author"), message.get("content")
    role = author.get("role") if isinstance(author, dict) else None
    if role not in ("user", "assistant") or not isinstance(content, dict) or content.get("content_type") in _HIDDEN:
        return None
    parts = content.get("parts")
    other = next((part.get("content_type") for part in parts if isinstance(part, dict)), None) if isinstance(
        parts, list) else None
    if other is not None:
        return {"role": role, "content": [{"type": other}]}
    texts = [part for part in parts if isinstance(part, str) and part.strip()] if isinstance(parts, list) else []
    return {"role": role, "content": "\n".join(texts)} if texts else None
