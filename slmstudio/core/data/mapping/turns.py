"""Conversations as files write them, as the messages that `Record` has."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from slmstudio.core.data.conversations import Findings
from slmstudio.core.data.mapping import templated
from slmstudio.core.data.mapping import tools as tool_forms
from slmstudio.core.data.mapping.cells import parsed
from slmstudio.core.data.mapping.speakers import (
    CONTENT_KEYS,
    WORDS,
    are_pairs,
    are_texts,
    best_path,
    by_people,
    by_turns,
    content_key,
    content_of,
    is_tree,
    of_columns,
    role_key,
    role_of,
    with_role,
)
from slmstudio.core.data.sources.row import number_text
from slmstudio.core.data.strict_json import printable

KEPT = frozenset({"role", "content", "tool_calls", "name", "tool_call_id"})
_TEXT_PARTS = ("text", "input_text", "output_text", None)
_THOUGHTS = frozenset({"thinking", "redacted_thinking"})
_OTHER_PARTS = _THOUGHTS | {"tool_use", "tool_result"}
_KINDS = {"toolUse": "tool_use", "functionCall": "tool_use", "function_call": "tool_use", "toolResult": "tool_result",
          "functionResponse": "tool_result", "function_response": "tool_result", "reasoningContent": "thinking"}
"""The kinds of Bedrock's and Gemini's parts, which are keys, by their names in Anthropic's."""


_SPEAKER = re.compile(rf"(?:^|\n)\s*(?:#+ *|<)?({'|'.join(WORDS['in_texts'])})>? *: *", re.IGNORECASE)
"""How a conversation begins a turn that is written as one text, as in glaive-function-calling-v2."""
_ENDS = re.compile(r"\s*<\|endoftext\|>\s*$")
_HASHES = re.compile(r"(?:^|\s*)### (Human|Assistant|User|System): *")
"""The same in openassistant-guanaco, where a turn needn't begin on a line of its own."""


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
        return is_tree(value) or isinstance(value.get("messages"), list) or bool(of_columns(value))
    if not isinstance(value, list) or not value:
        return False
    first = value[0]
    if not isinstance(first, dict):
        return are_texts(value) and len(_spoken("\n".join(value))) > 1  # as MedDialog's
    return (role_key(first) != "" and content_of(first) is not None) or _has_calls(first) or _as_pair(first) is not None


def is_templated(value: Any) -> bool:
    """Whether a value is a text that a chat template has written."""
    return isinstance(value, str) and bool(templated.messages(value))


def is_message(value: Mapping[str, Any]) -> bool:
    """Whether an object is a message of a known speaker's, or a call."""
    return _has_calls(value) or (role_of(value.get(role_key(value))) is not None and content_of(value) is not None)


def is_asked(value: Any) -> bool:
    """Whether a prompt is a conversation: as above, or a text that ends where the answer begins."""
    return is_conversation(value) or (isinstance(value, str) and bool(templated.messages(value) or _asked(value)))


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
    if is_tree(value):
        value = best_path(value)
    elif isinstance(value, Mapping):
        value = value["messages"] if isinstance(value.get("messages"), list) else (
            of_columns(value) or value)
    if isinstance(value, str):
        value = _spoken(value) or _asked(value) or value
    if not isinstance(value, list):
        return value, []
    value = (are_texts(value) and _spoken("\n".join(value))) or by_people(value) or value
    found: list[Any] = []
    offered: list[dict[str, Any]] = []
    for each in by_turns(value) or _flat(value):
        for message in _of_parts(each, column, unused):
            _add(message, column, found, offered, findings, unused)
    roles = [each.get("role") if isinstance(each, dict) else None for each in found]
    if "system" in roles[1:] and "user" in roles[:roles.index("system", 1)] and (
            all(role in ("user", "system") for role in roles)):  # a dialogue system, as in MultiWOZ
        found = [each if role == "user" or not at else {**each, "role": "assistant"}
                 for at, (role, each) in enumerate(zip(roles, found, strict=True))]
    return tool_forms.written_out(found, offered)


def _add(message: Any, column: str, found: list[Any], offered: list[dict[str, Any]], findings: Findings,
         unused: set[str]) -> None:
    """Put one message behind those in `found`."""
    if not isinstance(message, dict):
        found.append(message)
        return
    key = role_key(message)
    said = message.get(key) if key else None
    role = role_of(said) or said
    content = text_of(content_of(message))
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
        used = {key, content_key(message), *CONTENT_KEYS[:2], "tool_calls", "function_call", "tools", *KEPT}
        unused.update(f"{column}.{printable(str(name))}" for name, each in message.items()
                      if name not in used and each not in (None, "", [])
                      and not (name == "weight" and each == (role == "assistant")))  # as it is learned anyway


def _parsed(value: Any) -> Any:
    """The list that a text holds as JSON, as cells of tables do; otherwise the value itself."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        value = parsed(value)
    if isinstance(value, list) and value and isinstance(value[0], dict) and not role_key(value[0]) and (
            role_key(with_role(value[0]))):
        return [with_role(each) if isinstance(each, dict) else each for each in value]
    return value


def _spoken(text: str) -> list[dict[str, Any]]:
    """The messages of a conversation that is one text, each begun by its speaker; empty for other text."""
    if found := templated.messages(text):
        return found
    before, *parts = (_HASHES if text.lstrip().startswith("### ") else _SPEAKER).split(text)
    if before.strip() or len(set(map(str.casefold, parts[::2]))) < 2 or _asked(text):
        return []
    return _messages(parts)


def _messages(parts: Sequence[str]) -> list[dict[str, Any]]:
    """Messages of speakers and what they say, in turn."""
    names = {"function response": "tool"}
    return [{"role": names.get(speaker.casefold(), speaker.casefold()), "content": _ENDS.sub("", content).strip()}
            for speaker, content in zip(parts[::2], parts[1::2], strict=True)]


def _asked(text: str) -> list[dict[str, Any]]:
    """The messages of a prompt that ends where the answer begins: "\\n\\nHuman: Hi\\n\\nAssistant:"; otherwise
    empty."""
    begun = text.rstrip()
    if not begun[-12:].casefold().endswith("\nassistant:"):
        return []
    before, *parts = _SPEAKER.split(begun)  # as in BELLE's, with a line for each turn
    return [] if before.strip() else _messages(parts)[:-1]


def without_greeting(messages: Any) -> Any:
    """A conversation without what the assistant says before the first question; as it is where there is no question, or
    a tool was called."""
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        return messages
    at = 1 if messages and messages[0].get("role") == "system" else 0
    end = next((at for at, each in enumerate(messages) if each.get("role") == "user"), len(messages))
    greeting = messages[at:end]
    if not greeting or end == len(messages) or any(
            each.get("role") != "assistant" or each.get("tool_calls") for each in greeting):
        return messages
    return messages[:at] + messages[end:]


def _of_parts(message: Any, column: str, unused: set[str]) -> list[Any]:
    """A message that has uses of tools or their results among its parts, as those of Anthropic's, Bedrock's and
    Gemini's interfaces, as messages that have them beside their texts."""
    parts = message.get("content", message.get("parts")) if isinstance(message, dict) else None
    if not isinstance(parts, list):
        return [message]
    by_kind = list(map(_kind_of, parts))
    kinds = [kind for kind, _ in by_kind]
    if not _OTHER_PARTS.intersection(kinds):
        return [message]
    results = [{"role": "tool", "content": _result(part),
                "tool_call_id": part.get("tool_use_id", part.get("toolUseId"))}
               for kind, part in by_kind if kind == "tool_result"]
    uses = [part for kind, part in by_kind if kind == "tool_use"]
    rest = [part for kind, part in by_kind if kind not in _OTHER_PARTS]
    if _THOUGHTS.intersection(kinds):
        unused.add(f"{column}.thinking")
    said = {name: each for name, each in message.items() if name != "parts"} | {"content": rest} | (
        {"tool_calls": uses} if uses else {})
    return [*results, said] if rest or uses or not results else results


def _kind_of(part: Any) -> tuple[Any, Any]:
    """The kind of a part, and what is in it."""
    if not isinstance(part, dict):
        return None, part
    key = next((key for key in part if key in _KINDS), None)
    if key is not None and isinstance(part[key], dict):
        return _KINDS[key], part[key]
    return "thinking" if part.get("thought") is True else part.get("type"), part


def _result(part: Mapping[str, Any]) -> Any:
    """What a tool has returned; objects as JSON."""
    found = part.get("content", part.get("response", ""))
    if isinstance(found, dict) and "text" not in found:
        return json.dumps(found, ensure_ascii=False)
    return [json.dumps(each["json"], ensure_ascii=False) if isinstance(each, dict) and "json" in each else each
            for each in found] if isinstance(found, list) else found


def _has_calls(message: Mapping[str, Any]) -> bool:
    return bool(message.get("tool_calls") or message.get("function_call"))


def _as_pair(message: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """A turn that is written as {"user": …, "assistant": …}, in that order."""
    if not 1 <= len(message) <= 3 or not all(isinstance(each, str) for each in message.values()):
        return None
    roles = [role_of(key) for key in message]
    if None in roles or "call" in roles:
        return None
    return [{"role": role, "content": each} for role, each in zip(roles, message.values(), strict=True)]


def _flat(value: Sequence[Any]) -> list[Any]:
    """The messages, where each item may be a pair of question and answer."""
    if are_pairs(value):
        return [{"role": role, "content": text} for pair in value
                for role, text in zip(("user", "assistant"), pair, strict=True)]
    if value and isinstance(value[0], dict) and not role_key(value[0]) and _as_pair(value[0]):
        return [message for each in value for message in (
            (isinstance(each, dict) and _as_pair(each)) or [each])]
    return list(value)


def text_of(content: Any) -> Any:
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
    texts = [part if isinstance(part, str) else _text_of_part(part) for part in content]
    return content if None in texts else "\n".join(map(str, texts))


def _text_of_part(part: Any) -> str | None:
    """The text of a part; None if it isn't one."""
    if not isinstance(part, dict):
        return None
    text = part.get("text")
    if isinstance(text, dict):  # as in the threads of OpenAI's assistants
        text = text.get("value")
    # Bedrock's and Gemini's parts have their kind as a key.
    kind = next(iter(part)) if part and "type" not in part and "text" not in part else part.get("type")
    if isinstance(kind, str) and kind not in _TEXT_PARTS:
        raise NotText(printable(kind))
    return text if kind in _TEXT_PARTS and isinstance(text, str) else None
