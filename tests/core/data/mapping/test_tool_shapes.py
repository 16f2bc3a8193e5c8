"""Rows with tools and calls of them, in the shapes of published datasets."""

from __future__ import annotations

import json

import pytest
from support.shaped_rows import ASK, GOOD, A, Q, read

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
CALL = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Pune"}}}
IN_TEXT = {"name": "get_weather", "arguments": '{"city": "Pune"}'}
TOOL_ROWS = {
    "openai": {"tools": [WEATHER], "messages": [
        ASK, {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function",
                                                                    "function": IN_TEXT}]},
        {"role": "tool", "tool_call_id": "c1", "content": "31"}, GOOD]},
    "openai, the older form": {"functions": [WEATHER["function"]], "messages": [
        ASK, {"role": "assistant", "content": None, "function_call": IN_TEXT},
        {"role": "function", "name": "get_weather", "content": "31"}, GOOD]},
    "sharegpt": {"tools": json.dumps([WEATHER["function"]]), "system": "", "conversations": [
        {"from": "human", "value": Q}, {"from": "function_call", "value": json.dumps(CALL["function"])},
        {"from": "observation", "value": "31"}, {"from": "gpt", "value": A}]},
    "hermes": {"conversations": [
        {"from": "system", "value": f"You are a function calling AI model.\n<tools>{json.dumps([WEATHER])}</tools>"},
        {"from": "human", "value": Q},
        {"from": "gpt", "value": f"<tool_call>\n{json.dumps(CALL['function'])}\n</tool_call>"},
        {"from": "tool", "value": "<tool_response>\n31\n</tool_response>"}, {"from": "gpt", "value": A}]},
}


@pytest.mark.parametrize("row", TOOL_ROWS.values(), ids=TOOL_ROWS)
def test_tools_and_calls_of_them(tmp_path, row):
    found = read(tmp_path, row)
    assert (found.layout, found.unused_words) == ("messages", ())
    record = found.records[0]
    assert list(record.tools) == [WEATHER]
    messages = [message for message in record.messages if message["role"] != "system"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert messages[1]["tool_calls"] == [CALL] and messages[1]["content"] == ""
    assert messages[2]["content"] == "31" and messages[3] == GOOD


@pytest.mark.parametrize("city", ["Pune", "Pune's old town"])
def test_a_conversation_with_calls_that_is_one_text(tmp_path, city):
    """As in the set glaive-function-calling-v2, which puts the arguments between single quotes."""
    row = {"system": "SYSTEM: You are a helpful assistant with access to the following functions. Use them if "
                     f"required -\n{json.dumps(WEATHER['function'], indent=4)}",
           "chat": f'USER: {Q}\n\n\nASSISTANT: <functioncall> {{"name": "get_weather", "arguments": '
                   f'\'{{"city": "{city}"}}\'}} <|endoftext|>\n\n\nFUNCTION RESPONSE: 31\n\n\n'
                   f"ASSISTANT: {A} <|endoftext|>\n\n"}
    record = read(tmp_path, row).records[0]
    call = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": city}}}
    assert list(record.tools) == [WEATHER]
    assert list(record.messages) == [
        {"role": "system", "content": "You are a helpful assistant"}, ASK,
        {"role": "assistant", "content": "", "tool_calls": [call]}, {"role": "tool", "content": "31"}, GOOD]


def test_a_query_with_calls_as_its_answers(tmp_path):
    """As in the set xlam-function-calling-60k."""
    found = read(tmp_path, {"id": 0, "query": Q, "answers": json.dumps([CALL["function"]]),
                            "tools": json.dumps([WEATHER["function"]])})
    assert found.records[0].messages[-1]["tool_calls"] == [CALL]
    assert list(found.records[0].tools) == [WEATHER]
