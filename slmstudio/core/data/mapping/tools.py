"""Tools that an assistant may call, and its calls, in the forms that files have them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from slmstudio.core.data.conversations import Findings, kind_of
from slmstudio.core.data.mapping.values import as_python, parsed
from slmstudio.core.i18n import tr

_FUNCTION, _SCHEMA = ("function", "toolSpec"), ("input_schema", "inputSchema")
_ARGUMENTS = ("arguments", "parameters", "args", "input")
"""Where tools and calls have their function, its parameters and its arguments; Anthropic's, Bedrock's and Gemini's."""
_TOOLS = re.compile(r"\s*<tools>\s*([\[{].*?)\s*</tools>\s*", re.DOTALL)
_CALL = re.compile(r"\s*<(tool_call|functioncall|function_call)>\s*(.*?)\s*(?:</\1>|(?=<tool_call>)|$)", re.DOTALL)
_QUOTED = re.compile(r"""("arguments":\s*)'(.*)'\s*\}""", re.DOTALL)
"""Arguments between single quotes, as glaive-function-calling-v2 has them."""
_OFFERED = re.compile(r"(?:,? with| (?:who|that) has)? access to the following functions[^\n]*\n", re.IGNORECASE)
_RESPONSE = re.compile(r"\s*<tool_response>\s*(.*?)\s*</tool_response>\s*", re.DOTALL)
_HOW_TO = re.compile(r"</?tool_call>|<tools>|function signature|json schema for each tool call|tool call .*xml tags|"
                     r"^\s*\{.?.?(?:arguments|name).?.?:.*\}\s*$", re.IGNORECASE)
"""Lines on how to write a call, which the model's own template says itself."""


def _under(value: Any, keys: tuple[str, ...], kind: type) -> Any:
    """What an object has under the first of some keys, of one kind; None if there is none."""
    return next((value[key] for key in keys if isinstance(value.get(key), kind)), None) if (
        isinstance(value, dict)) else None


def _is_named(function: Any) -> bool:
    return isinstance(function, dict) and isinstance(function.get("name"), str) and bool(function["name"].strip())


def schemas(value: Any, column: str, findings: Findings) -> list[dict[str, Any]]:
    """Tools as {"type": "function", "function": {"name": …, "parameters": …}}, from a list or its JSON text."""
    value = parsed(value)
    if isinstance(value, str) and value.lstrip()[:1] == "{":
        value = _values(value) or value
    if isinstance(value, dict):
        value = _under(value, ("tools",), list) or [value]
    if value in (None, "", []):
        return []
    if not isinstance(value, list):
        findings.append((column, tr('"{column}" is {kind}; it must be a list of functions.', column=column,
                                    kind=kind_of(value))))
        return []
    found = []
    value = [one for each in map(parsed, value) for one in _under(each, ("functionDeclarations",), list) or [each]]
    for number, each in enumerate(value, 1):  # Gemini's tools hold several functions
        function = _under(each, _FUNCTION, dict) or each
        if not _is_named(function):
            findings.append((column, tr('tool {number} of "{column}" has no name.', number=number, column=column)))
            continue
        schema = _under(function, _SCHEMA, dict)
        if schema is not None and "parameters" not in function:
            function = {key: each for key, each in function.items() if key not in _SCHEMA} | {
                "parameters": _under(schema, ("json",), dict) or schema}
        found.append({"type": "function", "function": {
            key: each for key, each in function.items() if key != "type" or each != "function"}})
    return found


def calls_of(message: Mapping[str, Any], written: Any, column: str, findings: Findings) -> list[dict[str, Any]]:
    """The calls of a message: its `tool_calls`, the older `function_call`, or those that its text is.

    Args:
        written: the text of a message that is nothing but calls.
    """
    value = parsed(message.get("tool_calls") or message.get("function_call") or written) or []
    calls = [_call(parsed(each)) for each in (value if isinstance(value, list) else [value])]
    if None in calls:
        findings.append((column, tr("a tool call has no name, or its arguments aren't a JSON object.")))
    return [each for each in calls if each is not None] if None not in calls else []


def _call(value: Any) -> dict[str, Any] | None:
    function = _under(value, ("function",), dict) or value
    if not _is_named(function):
        return None
    arguments = parsed(next((function[key] for key in _ARGUMENTS if function.get(key) not in (None, "")), {}))
    return {"type": "function", "function": {"name": function["name"], "arguments": arguments}} if (
        isinstance(arguments, dict)) else None


def is_calls(value: Any) -> bool:
    """Whether a value is a list of calls, or its JSON text."""
    value = parsed(value)
    return isinstance(value, list) and bool(value) and all(
        isinstance(each, dict) and not each.keys().isdisjoint(("function", *_ARGUMENTS[:3])) and _call(each)
        for each in value)


def written_out(messages: list[Any], offered: list[dict[str, Any]]) -> tuple[list[Any], list[dict[str, Any]]]:
    """Tools and calls that are written into the texts between tags, as Nous Research's Hermes sets have them, taken out
    of these, so that the model's own template writes them in its own way.

    Where one of them can't be read, all texts stay as they are.
    """
    made, tools = [], list(offered)
    for message in messages:
        role, text = (message.get("role"), message.get("content")) if isinstance(message, dict) else ("", None)
        if not isinstance(text, str) or ("<" not in text and role != "system"):
            made.append(message)
        elif role == "system":
            rest, found = offered_in(text)
            tools += found
            made += [{**message, "content": rest}] if rest.strip() or not found else []
        elif role == "assistant" and (written := _CALL.findall(text)):
            calls = [_call(parsed(_QUOTED.sub(r"\1\2}", each))) for _, each in written]
            if None in calls:
                return messages, offered
            made.append({**message, "content": _CALL.sub("", text).strip(), "tool_calls": calls})
        elif role in ("tool", "user") and (results := _RESPONSE.findall(text)) and (
                role == "tool" or not _RESPONSE.sub("", text)):  # Qwen's template says them as the user
            made += [{**message, "role": "tool", "content": each} for each in results]
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
        lines = f"{system[:tagged.start()]}\n{system[tagged.end():]}".strip().split("\n")
        rest = "\n".join(line for line in lines if not _HOW_TO.search(line)).strip()
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
