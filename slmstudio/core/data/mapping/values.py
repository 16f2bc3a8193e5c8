"""Values of rows as the texts and messages that `read_row` knows."""

from __future__ import annotations

from typing import Any

from slmstudio.core.data import column_names as names
from slmstudio.core.data.mapping.speakers import are_texts
from slmstudio.core.data.mapping.turns import is_conversation, without_greeting
from slmstudio.core.data.sources.row import number_text


def with_system(messages: Any, system: Any) -> Any:
    """A conversation with the system message of its own column in front, unless it has one."""
    if not isinstance(system, str) or not system.strip() or not isinstance(messages, list):
        return messages
    first = messages[0] if messages and isinstance(messages[0], dict) else {}
    return messages if first.get("role") == "system" else [{"role": "system", "content": system}, *messages]


_PASSAGES = ("contexts", "sentences", "passage_text", "paragraph_text", "text", "content", "summary")


def passage(value: Any) -> Any:
    """What a question is about as one text, of passages, of their sentences, and of objects that hold these, as in
    HotpotQA and PubMedQA; a value of another kind stays as it is.

    >>> passage({"title": ["Goa", "Pune"], "sentences": [["One.", " Two."], ["Three."]]})
    'Goa One. Two.\\n\\nPune Three.'
    """
    if isinstance(value, dict):
        inner = next((value[key] for key in _PASSAGES if isinstance(value.get(key), (str, list))), None)
        titles = value.get("title")
        if isinstance(titles, list) and isinstance(inner, list) and len(titles) == len(inner):
            inner = [list(each) for each in zip(titles, inner, strict=True)]
        return value if inner is None else passage(inner)
    if not isinstance(value, list) or not value:
        return value
    parts = [passage(each) if isinstance(each, dict) else _line(each) for each in value]
    return "\n\n".join(parts) if all(isinstance(each, str) for each in parts) else value


def _line(value: Any) -> Any:
    """The texts of a list, and of lists in it, in one line; a value of another kind stays as it is."""
    parts = [_line(each) for each in value] if isinstance(value, list) else value
    return " ".join(map(str.strip, parts)) if isinstance(parts, list) and all(
        isinstance(each, str) for each in parts) else parts


def below(question: Any, context: Any) -> Any:
    """A question with what it is about below it."""
    context = as_text(passage(context))
    if not isinstance(question, str) or not isinstance(context, str) or not context.strip():
        return question
    return f"{question}\n\n{context}"


def asked_of(texts: list[Any], column: str) -> Any:
    """What a list of texts asks: what was said in turn, the user last, or one text of all its parts; a list of another
    kind stays as it is.

    Args:
        column: what the column is called, by `column_names.column`.
    """
    if not are_texts(texts) or is_conversation(texts):
        return texts
    if column == "questions":  # each of them in other words
        return texts[0]
    if column not in (*names.DIALOGUE, *names.CONVERSATION, *names.HISTORY, "context"):
        return "\n\n".join(texts)
    return without_greeting([{"role": ("user", "assistant")[(len(texts) - at) % 2 == 0], "content": text}
                             for at, text in enumerate(texts)])


def below_last(turns: list[Any], context: Any) -> list[Any]:
    """A conversation with what its last question is about below that."""
    last = turns[-1] if turns else None
    if not isinstance(last, dict) or last.get("role") != "user":
        return turns
    return [*turns[:-1], {**last, "content": below(last.get("content"), context)}]


def joined(value: Any) -> Any:
    """The lines of a list as one text; a value of another kind stays as it is."""
    return "\n".join(value) if are_texts(value) else value


_TEXTS = ("text", "full_text", "content", "value", "answer", "spans", "human_readable")


def as_text(value: Any) -> Any:
    """A value as text where it plainly is one: a number, or the first of several right answers."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return number_text(value)
    if isinstance(value, dict):
        value = next((value[key] for key in _TEXTS if key in value), value)
    if isinstance(value, list) and value:
        if all(isinstance(each, str) for each in value):
            return value[0]
        if all(isinstance(each, dict) and isinstance(as_text(each), str) for each in value):
            return as_text(value[0])
    return value
