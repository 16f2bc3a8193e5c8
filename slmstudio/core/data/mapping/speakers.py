"""Who speaks in a conversation and what is said, as files call it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ROLE_KEYS = ("role", "from", "speaker", "sender", "author", "user_type", "type")
CONTENT_KEYS = ("content", "value", "text", "message", "utterance", "body", "parts")
_ROLES = {
    **dict.fromkeys(("user", "human", "prompter", "customer", "client", "person", "question", "usr", "query", "student",
                     "patient", "caller", "citizen", "instruction", "requester", "input", "prompt", "q", "उपयोगकर्ता",
                     "प्रयोगकर्ता", "ग्राहक", "नागरिक", "ব্যবহারকারী", "பயனர்", "వినియోగదారు"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "chatbot", "model", "ai", "bing", "chatgpt", "agent", "answer", "bard",
                     "claude", "llm", "response", "doctor", "teacher", "operator", "support", "output", "completion",
                     "reply", "a", "moss", "सहायक", "बॉट", "সহকারী", "உதவியாளர்", "సహాయకుడు"), "assistant"),
    **dict.fromkeys(("system", "developer", "context"), "system"),
    **dict.fromkeys(("tool", "function", "observation", "ipython", "tool_response", "function_response", "tool_result",
                     "function-response", "tool-response", "function_result", "environment",
                     "tool responses"), "tool"),
    **dict.fromkeys(("function_call", "tool_call", "function-call", "tool-call", "tool_calls", "action", "commands"),
                    "call"),
}
"""What speakers are called, by the role they have; "call" is an assistant's message that is nothing but calls."""


def role_of(speaker: Any) -> str | None:
    """The role of a speaker as files call them: "user", "assistant", "system", "tool" or "call"; None of any other."""
    return _ROLES.get(speaker.strip().casefold()) if isinstance(speaker, str) else None


def role_key(message: Mapping[str, Any]) -> str:
    return next((key for key in ROLE_KEYS if key in message), "")


_IS_USER = ("is_human", "is_user", "isuser", "from_user")


def with_role(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message in which no lower-case key names who speaks, with such keys, and with a role if it says whether a
    person speaks, as PIPPA's do."""
    found = {key.casefold(): value for key, value in message.items()}
    mark = next((key for key in _IS_USER if isinstance(found.get(key), bool)), "")
    if mark and not role_key(found):
        found["role"] = "user" if found.pop(mark) else "assistant"
    return found


def content_key(message: Mapping[str, Any]) -> str:
    return next((key for key in CONTENT_KEYS if message.get(key) is not None), "")


def content_of(message: Mapping[str, Any]) -> Any:
    return message.get(content_key(message))
