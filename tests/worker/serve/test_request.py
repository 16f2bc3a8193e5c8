"""Every parameter of OpenAI's two requests: honoured, without a meaning here, or refused by its name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types import completion_create_params
from openai.types.chat import ChatCompletionMessage
from openai.types.chat import completion_create_params as chat_create_params

from slmstudio.worker.serve.request import ChatRequest, CompletionRequest, Refused, parse

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
COMPLETION = {"model": "m", "prompt": "Hello"}
KINDS = {"chat": (ChatRequest, CHAT), "completion": (CompletionRequest, COMPLETION)}
HONOURED = {
    "model": "m", "messages": CHAT["messages"], "prompt": ["Hello"], "stream": True,
    "stream_options": {"include_usage": True}, "temperature": 0.5, "top_p": 0.5, "seed": 1, "max_tokens": 5,
    "max_completion_tokens": 5, "frequency_penalty": 1.0, "presence_penalty": 1.0, "stop": ["x"],
    "response_format": {"type": "json_object"}}
LABELS = {"user": "me", "safety_identifier": "me", "metadata": {"a": "b"}, "prompt_cache_key": "k",
          "prompt_cache_retention": "24h", "prompt_cache_options": {"a": 1}, "parallel_tool_calls": True}
REFUSED: dict[str, list[Any]] = {
    "audio": [{"voice": "alloy"}], "function_call": [{"name": "f"}], "functions": [[{"name": "f"}]],
    "logit_bias": [{"5": 1.0}], "logprobs": [True, 0, 3], "metadata_": [1], "modalities": [["text", "audio"]],
    "moderation": [{"a": 1}], "n": [2, 0, True], "prediction": [{"type": "content"}], "reasoning_effort": ["high"],
    "service_tier": ["flex"], "store": [True], "tool_choice": ["required", {"type": "function"}],
    "tools": [[{"type": "function"}]], "top_logprobs": [1, 5, False], "verbosity": ["low"],
    "web_search_options": [{"a": 1}], "best_of": [2], "echo": [True], "suffix": ["end"], "repetition_penalty": [1.1],
    "guided_json": [{"a": 1}], "temprature": [0.0]}
NOTHING: dict[str, list[Any]] = {
    "n": [1], "best_of": [1], "logprobs": [False], "top_logprobs": [0], "tool_choice": ["none", "auto"],
    "function_call": ["none", "auto"], "tools": [[]], "functions": [[]], "logit_bias": [{}], "modalities": [["text"]],
    "store": [False], "service_tier": ["auto", "default"], "verbosity": ["medium"], "reasoning_effort": ["none"],
    "echo": [False], "suffix": [""]}


def names(kind: str) -> set[str]:
    if kind == "chat":
        return {*chat_create_params.CompletionCreateParamsBase.__annotations__, "stream"}
    return {*completion_create_params.CompletionCreateParamsBase.__annotations__, "stream"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_is_decided(kind) -> None:
    """One that a newer client has must be looked at."""
    assert names(kind) <= {*HONOURED, *LABELS, *REFUSED}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [None, [], {}])
def test_nothing_is_no_wish(kind, value) -> None:
    model, body = KINDS[kind]
    for name in {*names(kind), "temprature"} - set(model.model_fields):
        parse(json.dumps({**body, name: value}).encode(), model)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_honoured_and_what_means_nothing_is_taken(kind) -> None:
    model, body = KINDS[kind]
    honoured = {name: value for name, value in HONOURED.items() if name in names(kind)}
    assert set(honoured) <= set(model.model_fields)
    for said in (honoured, LABELS, *({name: value} for name, values in NOTHING.items() for value in values)):
        parse(json.dumps({**body, **said}).encode(), model)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_asked_for_and_not_done_is_refused_by_its_name(kind) -> None:
    model, body = KINDS[kind]
    for name, values in REFUSED.items():
        for value in values:
            with pytest.raises(Refused) as caught:
                parse(json.dumps({**body, name: value}).encode(), model)
            error = caught.value
            assert (error.status, error.code, error.param) == (400, "invalid_value", name), (name, value)
            assert error.message.startswith(f"{name}: this server "), error.message


def test_all_of_them_are_named_at_once_also_within() -> None:
    body = {**CHAT, "tools": [{}], "top_logprobs": 3, "temperature": 9,
            "stream_options": {"include_usage": None, "include_obfuscation": True},
            "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"a": 1}}],
                          "name": "Asha"}]}
    with pytest.raises(Refused) as caught:
        parse(json.dumps(body).encode(), ChatRequest)
    for name in ("tools", "top_logprobs", "temperature", "stream_options.include_obfuscation", "messages[0].name",
                 "messages[0].content[0].cache_control"):
        assert f"{name}: " in caught.value.message


def test_an_answer_can_be_sent_back_as_it_came() -> None:
    answer = ChatCompletionMessage(role="assistant", content="Hello!").model_dump()
    body = {**CHAT, "messages": [*CHAT["messages"], answer, {"role": "user", "content": "And then?"}]}
    wanted = parse(json.dumps(body).encode(), ChatRequest)
    assert wanted.messages[1].plain() == {"role": "assistant", "content": "Hello!"}
