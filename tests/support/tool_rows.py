"""Rows with tools: what they offer, how it is called, and templates that take them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from slmstudio.core.data.record import Record

DATA = Path(__file__).resolve().parent.parent / "data"


def tool(name: str, **parameters: str) -> dict[str, Any]:
    """A function's schema; parameters by name, with their types."""
    return {"type": "function", "function": {"name": name, "description": f"{name} का काम & more", "parameters": {
        "type": "object", "properties": {key: {"type": kind, "description": key} for key, kind in parameters.items()},
        "required": list(parameters)}}}


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*wanted: dict[str, Any], content: str = "") -> dict[str, Any]:
    """An assistant message that calls tools."""
    return {"role": "assistant", "content": content, "tool_calls": list(wanted)}


def result(content: str, name: str = "get_weather") -> dict[str, Any]:
    return {"role": "tool", "name": name, "content": content}


def user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


TOOLS = (tool("get_weather", city="string", days="integer"), tool("book_ticket", to="string"))
PUNE, GOA = call("get_weather", city="पुणे", days=1), call("get_weather", city="Goa", days=2)
ONE = [user("Weather in Pune?"), calls(PUNE), result('{"t": 31}'), assistant("31 °C.")]
"""A call, its result, and the answer."""
SEVERAL = [{"role": "system", "content": "Short."}, user("Pune, Goa?"), calls(PUNE, GOA), result("31"), result("29"),
           assistant("31 and 29."), user("A ticket to Goa."), calls(call("book_ticket", to="Goa"))]
"""Two calls at once with two results, and a call at the end."""
CHAIN = [user("Warmer one?"), calls(PUNE), result("31"), calls(GOA), result("29"), assistant("Pune.")]
"""A call after a call's result."""
RECORDS = [Record(tuple(messages), line, tools=TOOLS)
           for line, messages in enumerate((ONE, CHAIN, ONE[:2], CHAIN[:4]), 1)]


def template(name: str) -> str:
    """The chat template of a family: ours of Qwen2.5, or one of those that TRL has beside its code."""
    if name == "qwen2_5":
        return (DATA / "chat_templates" / "Qwen-Qwen2.5-7B-Instruct.jinja").read_text(encoding="utf-8")
    found = importlib.util.find_spec("trl")
    assert found is not None and found.origin is not None
    return (Path(found.origin).parent / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")
