"""Tools that an assistant may call, and its calls, in the forms that files have them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from slmstudio.core.data.conversations import Findings, kind_of
from slmstudio.core.data.mapping.values import as_python, parsed
from slmstudio.core.i18n import tr

_TOOLS = re.compile(r"\s*<tools>\s*([\[{].*?)\s*</tools>\s*", re.DOTALL)
_CALL = re.compile(r"\s*<(tool_call|functioncall|function_call)>\s*(.*?)\s*(?:</\1>|(?=<tool_call>)|$)", re.DOTALL)
_QUOTED = re.compile(r"""("arguments":\s*)'(.*)'\s*\}""", re.DOTALL)
"""Arguments between single quotes, as glaive-function-calling-v2 has them."""
_OFFERED = re.compile(r"(?:,? with| (?:who|that) has)? access to the following functions[^\n]*\n", re.IGNORECASE)
_RESPONSE = re.compile(r"\s*<tool_response>\s*(.*?)\s*</tool_response>\s*", re.DOTALL)


def schemas(value: Any, column: str, findings: Findings) -> list[dict[str, Any]]:
    """Tools as {"type": "function", "function": {"name": …, "parameters": …}}, from a list or its JSON text."""
    value = parsed(value)
    if isinstance(value, str) and value.lstrip()[:1] == "{":
        value = _values(value) or value
    if isinstance(value, dict):
        value = value["tools"] if isinstance(value.get("tools"), list) else [value]
    if value in (None, "", []):
        return []
    if not isinstance(value, list):
        findings.append((column, tr('"{column}" is {kind}; it must be a list of functions.', column=column,
                                    kind=kind_of(value))))
        return []
    found = []
    value = [one for each in map(parsed, value) for one in (  # Gemini's tools hold several functions
        each["functionDeclarations"] if isinstance(each, dict) and isinstance(each.get("functionDeclarations"), list)
        else [each])]
    for number, each in enumerate(value, 1):
        function = next((each[key] for key in ("function", "toolSpec") if isinstance(each.get(key), dict)), each) if (
            isinstance(each, dict)) else each
        if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"].strip():
            findings.append((column, tr('tool {number} of "{column}" has no name.', number=number, column=column)))
            continue
        function = dict(function)
        schema = next((key for key in ("input_schema", "inputSchema") if isinstance(function.get(key), dict)), "")
        if "parameters" not in function and schema:
            wanted = function.pop(schema)
            function["parameters"] = wanted["json"] if isinstance(wanted.get("json"), dict) else wanted
        function = {key: each for key, each in function.items() if key != "type" or each != "function"}
        found.append({"type": "function", "function": function})
    return found


def calls_of(message: Mapping[str, Any], written: Any, column: str, findings: Findings) -> list[dict[str, Any]]:
    """The calls of a message: its `tool_calls`, the older `function_call`, or those that its text is.

    Args:
        written: the text of a message that is nothing but calls.
    """
    value = message.get("tool_calls") or message.get("function_call")
    if written is not None and not value:
        value = parsed(written)
    if not value:
        return []
    value = parsed(value)
    calls = []
    for each in value if isinstance(value, list) else [value]:
        call = _call(parsed(each))
        if call is None:
            findings.append((column, tr("a tool call has no name, or its arguments aren't a JSON object.")))
            return []
        calls.append(call)
    return calls


def _call(value: Any) -> dict[str, Any] | None:
    function = value.get("function") if isinstance(value, dict) and isinstance(value.get("function"), dict) else value
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"].strip():
        return None
    arguments: Any = next((function[key] for key in ("arguments", "parameters", "args", "input")
                      if function.get(key) is not None), {})
    arguments = parsed(arguments) if arguments != "" else {}
    if not isinstance(arguments, dict):
        return None
    return {"type": "function", "function": {"name": function["name"], "arguments": arguments}}


def is_calls(value: Any) -> bool:
    """Whether a value is a list of calls, or its JSON text."""
    value = parsed(value)
    marks = {"arguments", "function", "parameters", "args"}
    return isinstance(value, list) and bool(value) and all(
        isinstance(each, dict) and marks & each.keys() and _call(each) is not None for each in value)


def written_out(messages: list[Any], offered: list[dict[str, Any]]) -> tuple[list[Any], list[dict[str, Any]]]:
    """Tools and calls that are written into the texts between tags, as Nous Research's Hermes sets have them, taken out
    of these, so that the model's own template writes them in its own way.

    Where one of them can't be read, all texts stay as they are.
    """
    texts = [message.get("content") for message in messages if isinstance(message, dict)]
    if not any(isinstance(text, str) and ("<tool" in text or "<functioncall>" in text) for text in texts):
        return messages, offered
    made, tools = [], list(offered)
    for message in messages:
        text = message.get("content") if isinstance(message, dict) else None
        if not isinstance(text, str):
            made.append(message)
        elif message.get("role") == "system":
            rest, found = offered_in(text)
            tools += found
            made += [{**message, "content": rest}] if rest.strip() else []
        elif message.get("role") == "assistant" and ("<tool_call>" in text or "<functioncall>" in text):
            calls = [_call(parsed(_QUOTED.sub(r'\1\2}', each[1]))) for each in _CALL.findall(text)]
            if None in calls:
                return messages, offered
            made.append({**message, "content": _CALL.sub("", text).strip(), "tool_calls": calls})
        elif (message.get("role") == "tool" and _RESPONSE.search(text)) or (  # Qwen's template says them as the user
                message.get("role") == "user" and "<tool_response>" in text and not _RESPONSE.sub("", text)):
            made += [{**message, "role": "tool", "content": each} for each in _RESPONSE.findall(text)]
        else:
            made.append(message)
    return made, tools


def offered_in(system: str) -> tuple[str, list[dict[str, Any]]]:
    """A system message without the tools that are written into it, and these; as it is where there are none."""
    wrong: Findings = []
    tagged, listed = _TOOLS.search(system), _OFFERED.search(system)
    if tagged:
        values: list[Any] = _values(tagged[1])
        values = values[0] if len(values) == 1 and isinstance(values[0], list) else values
        rest = _without_how_to(f"{system[:tagged.start()]}\n{system[tagged.end():]}".strip())
    elif listed:
        values, rest = _values(system[listed.end():]), system[:listed.start()].strip()
    else:
        return system, []
    found = schemas(values, "tools", wrong)
    return (system, []) if wrong or not found else (rest, found)


def _values(text: str) -> list[Any]:
    """JSON values that follow each other; none where something else is among them."""
    found: list[Any] = []
    at, reader = 0, json.JSONDecoder()
    while (at := len(text) - len(text[at:].lstrip())) < len(text):
        try:
            value, at = reader.raw_decode(text, at)
        except (ValueError, RecursionError):
            whole = as_python(text)
            return [] if found or not isinstance(whole, (list, dict)) else [whole]
        found.append(value)
    return found


def _without_how_to(text: str) -> str:
    """A system message without its sentences on how to write a call, which the model's own template says itself."""
    kept = [line for line in text.split("\n") if not re.search(
        r"</?tool_call>|<tools>|function signature|json schema for each tool call|tool call .*xml tags|"
        r"^\s*\{.?.?(?:arguments|name).?.?:.*\}\s*$", line, re.IGNORECASE)]
    return "\n".join(kept).strip()
