"""Conversations as files write them, as the messages that `Record` has."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from slmstudio.core.data.conversations import Findings
from slmstudio.core.data.mapping import tools as tool_forms
from slmstudio.core.data.sources.row import number_text
from slmstudio.core.data.strict_json import printable

ROLE_KEYS = ("role", "from", "speaker", "sender", "author", "user_type", "type")
CONTENT_KEYS = ("content", "value", "text", "message", "utterance", "body", "parts")
ROLES = {
    **dict.fromkeys(("user", "human", "prompter", "customer", "client", "person", "question", "usr", "query", "student",
                     "patient", "caller", "citizen", "instruction", "requester"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "chatbot", "model", "ai", "bing", "chatgpt", "agent", "answer", "bard",
                     "claude", "llm", "response", "doctor", "teacher", "operator", "support", "output"), "assistant"),
    **dict.fromkeys(("system", "developer", "context"), "system"),
    **dict.fromkeys(("tool", "function", "observation", "ipython", "tool_response", "function_response", "tool_result",
                     "function-response", "tool-response", "function_result", "environment"), "tool"),
    **dict.fromkeys(("function_call", "tool_call", "function-call", "tool-call", "tool_calls", "action"), "call"),
}
"""What speakers are called, by the role they have; "call" is an assistant's message that is nothing but calls."""
KEPT = frozenset({"role", "content", "tool_calls", "name", "tool_call_id"})
_TEXT_PARTS = ("text", "input_text", "output_text", None)


_SPEAKER = re.compile(r"(?:^|\n)\s*(?:#+ *)?(USER|ASSISTANT|SYSTEM|FUNCTION RESPONSE) *: *", re.IGNORECASE)
"""How a conversation begins a turn that is written as one text, as in glaive-function-calling-v2."""
_ENDS = re.compile(r"\s*<\|endoftext\|>\s*$")
_HASHES = re.compile(r"(?:^|\s*)### (Human|Assistant|User|System): *")
"""The same in openassistant-guanaco, where a turn needn't begin on a line of its own."""
_CHATML = re.compile(r"<\|im_start\|>(system|user|assistant|tool)\n(.*?)<\|im_end\|>\s*", re.DOTALL)


class NotText(Exception):
    """A message holds a picture, a sound or another thing that isn't text.

    Attributes:
        what: it, as the file calls it.
    """

    def __init__(self, what: str):
        super().__init__(what)
        self.what = what


def is_conversation(value: Any) -> bool:
    """Whether a value is a list of messages in one of the forms that `messages_of` reads."""
    value = _parsed(value)
    if isinstance(value, str):
        return len(_spoken(value)) > 1
    if isinstance(value, dict):
        return _of_columns(value) is not None or isinstance(value.get("messages"), list)
    if not isinstance(value, list) or not value:
        return False
    first = value[0]
    return isinstance(first, dict) and ((_role_key(first) != "" and _content(first) is not None)
                                        or _has_calls(first) or _as_pair(first) is not None)


def messages_of(value: Any, column: str, findings: Findings,
                unused: set[str]) -> tuple[list[Any], list[dict[str, Any]]]:
    """The messages in `column` with roles and keys as `Record` has them, and the tools that they bring along.

    What can't be put into that form stays as it is: `list_of_messages` says what is wrong with it.

    Args:
        unused: gets the keys of messages that nothing is made of.

    Raises:
        NotText: a message holds what isn't text.
    """
    value = _parsed(value)
    if isinstance(value, Mapping):
        value = value["messages"] if isinstance(value.get("messages"), list) else _of_columns(value) or value
    if isinstance(value, str):
        value = _spoken(value) or value
    if not isinstance(value, list):
        return value, []
    if value and all(isinstance(each, str) for each in value):
        return [{"role": ("user", "assistant")[at % 2], "content": each} for at, each in enumerate(value)], []
    found: list[Any] = []
    offered: list[dict[str, Any]] = []
    for each in _flat(value):
        _add(each, column, found, offered, findings, unused)
    return tool_forms.written_out(found, offered)


def _add(message: Any, column: str, found: list[Any], offered: list[dict[str, Any]], findings: Findings,
         unused: set[str]) -> None:
    """Put one message behind those in `found`."""
    if not isinstance(message, dict):
        found.append(message)
        return
    key = _role_key(message)
    said = message.get(key) if key else None
    role = ROLES.get(said.strip().casefold(), said) if isinstance(said, str) else said
    content = text_of(_content(message), column)
    calls = tool_forms.calls_of(message, content if role == "call" else None, column, findings)
    if role == "call":
        role, content = "assistant", ""
    made = {"role": role, "content": content}
    if key == "" or ("content" not in message and content is None and not calls):
        made = {name: each for name, each in made.items() if each is not None}
    if calls:
        made |= {"content": content or "", "tool_calls": calls}
    if role == "tool":
        made["content"] = content if content is not None else ""
        made |= {name: message[name] for name in ("name", "tool_call_id") if isinstance(message.get(name), str)}
    if isinstance(message.get("tools"), (list, str)):
        offered += tool_forms.schemas(message["tools"], "tools", findings)
    before = found[-1] if found else None
    if calls and isinstance(before, dict) and before.get("role") == "assistant" and (
            not content and "tool_calls" not in before):
        before["tool_calls"] = calls  # said and called in one turn
    else:
        found.append(made)
    if len(message) > 2:
        used = {key, *CONTENT_KEYS[:2], "tool_calls", "function_call", "tools", *KEPT}
        unused.update(f"{column}.{printable(str(name))}" for name, each in message.items()
                      if name not in used and each not in (None, "", []))


def _parsed(value: Any) -> Any:
    """The list that a text holds as JSON, as cells of tables do; else the value itself."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _spoken(text: str) -> list[dict[str, Any]]:
    """The messages of a conversation that is one text, each begun by its speaker; empty for other text."""
    if text.startswith("<|im_start|>"):
        before, *parts = _CHATML.split(text)
        if any(part.strip() for part in parts[2::3]):
            return []
        return [{"role": role, "content": content} for role, content in zip(parts[::3], parts[1::3], strict=True)]
    before, *parts = (_HASHES if text.lstrip().startswith("### ") else _SPEAKER).split(text)
    if before.strip() or len(parts) < 4:
        return []
    names = {"function response": "tool"}
    return [{"role": names.get(speaker.casefold(), speaker.casefold()), "content": _ENDS.sub("", content).strip()}
            for speaker, content in zip(parts[::2], parts[1::2], strict=True)]


def _of_columns(value: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Messages that a table keeps as columns: {"role": [...], "content": [...]}."""
    lists = {name: each for name, each in value.items() if isinstance(each, list)}
    if len(lists) < 2 or len({len(each) for each in lists.values()}) != 1 or not _role_key(lists):
        return None
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]


def _role_key(message: Mapping[str, Any]) -> str:
    return next((key for key in ROLE_KEYS if key in message), "")


def _content(message: Mapping[str, Any]) -> Any:
    return next((message[key] for key in CONTENT_KEYS if message.get(key) is not None), None)


def _has_calls(message: Mapping[str, Any]) -> bool:
    return bool(message.get("tool_calls") or message.get("function_call"))


def _as_pair(message: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """A turn that is written as {"user": …, "assistant": …}, in that order."""
    if not 1 <= len(message) <= 3 or not all(isinstance(each, str) for each in message.values()):
        return None
    roles = [ROLES.get(str(key).strip().casefold()) for key in message]
    if None in roles or "call" in roles:
        return None
    return [{"role": role, "content": each} for role, each in zip(roles, message.values(), strict=True)]


def _flat(value: Sequence[Any]) -> list[Any]:
    """The messages, where each item may be a pair of question and answer."""
    if value and all(isinstance(each, (list, tuple)) and len(each) == 2 and all(
            isinstance(text, str) for text in each) for each in value):
        return [{"role": role, "content": text} for pair in value
                for role, text in zip(("user", "assistant"), pair, strict=True)]
    if value and isinstance(value[0], dict) and not _role_key(value[0]) and _as_pair(value[0]):
        return [message for each in value for message in (
            (isinstance(each, dict) and _as_pair(each)) or [each])]
    return list(value)


def text_of(content: Any, column: str) -> Any:
    """A content that is a text, or parts of which all are text; anything else stays as it is.

    Raises:
        NotText: one of the parts is a picture or a sound.
    """
    if isinstance(content, (int, float)) and not isinstance(content, bool):
        return number_text(content)
    if isinstance(content, dict) and isinstance(content.get("text"), str):
        content = [content]
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
            continue
        if not isinstance(part, dict):
            return content
        kind = part.get("type")
        if kind in _TEXT_PARTS and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif isinstance(kind, str) and kind not in _TEXT_PARTS:
            raise NotText(printable(kind))
        else:
            return content
    return "\n".join(texts)
