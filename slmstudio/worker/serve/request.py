"""What a client may ask: the fields of OpenAI's requests that are honoured, checked all at once.

Nothing that is asked for is silently ignored. A parameter that the server doesn't have is refused by its name,
OpenAI's and anybody else's, unless it has a value that asks for nothing: null, an empty list or object, what OpenAI
takes by default, or a label for the client's own use.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from slmstudio.worker.gguf_chat.generation import Sampling

MAX_STOPS = 16
LABELS = frozenset({"user", "safety_identifier", "metadata", "prompt_cache_key", "prompt_cache_retention",
                    "prompt_cache_options", "parallel_tool_calls"})
"""What only says who asks or how to keep a cache, or concerns tools, which aren't supported here."""
ASKS_NOTHING: dict[str, tuple[Any, ...]] = {
    "n": (1,), "best_of": (1,), "echo": (False,), "suffix": ("",), "logprobs": (False,), "top_logprobs": (0,),
    "tool_choice": ("none", "auto"), "function_call": ("none", "auto"), "modalities": (["text"],), "store": (False,),
    "service_tier": ("auto", "default"), "verbosity": ("medium",), "reasoning_effort": ("none",),
    "include_obfuscation": (False,)}
"""For parameters that the server doesn't have, the values that change nothing."""
REFUSALS = {
    "n": "this server gives one answer to a request (n = 1)",
    "best_of": "this server gives one answer to a request (best_of = 1)",
    "tools": "this server does not call tools", "functions": "this server does not call tools",
    "tool_choice": "this server does not call tools", "function_call": "this server does not call tools",
    "store": "this server stores nothing"}
NOT_DONE = "this server doesn't do that; leave it out"


class Refused(Exception):
    """A request that can't be answered, as OpenAI's error object says it: to a program, and so in English.

    Args:
        code: a short name for programs.
        param: the field it is about.
    """

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None,
                 kind: str = "invalid_request_error"):
        super().__init__(message)
        self.status, self.message, self.code, self.param, self.kind = status, message, code, param, kind

    def to_dict(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_what_asks_nothing(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: said for name, said in value.items() if name in cls.model_fields or not _asks_nothing(name, said)}


def _asks_nothing(name: str, value: Any) -> bool:
    empty = value is None or value in ([], {})
    return empty or name in LABELS or any(
        type(value) is type(known) and value == known for known in ASKS_NOTHING.get(name, ()))


class TextPart(_Strict):
    type: Literal["text"]
    text: str


class Message(_Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    def plain(self) -> dict[str, str]:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class StreamOptions(_Strict):
    include_usage: bool | None = False


class ResponseFormat(_Strict):
    type: str


class Common(_Strict):
    """The fields of both kinds of request."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=0, le=1_000_000)
    min_p: float | None = Field(None, ge=0, le=1)
    seed: int | None = Field(None, ge=-2**63, lt=2**64)
    max_tokens: int | None = Field(None, ge=1)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    stop: str | list[str] | None = None

    @field_validator("stop")
    @classmethod
    def _stops(cls, value: str | list[str] | None) -> list[str]:
        stops = [value] if isinstance(value, str) else value or []
        if len(stops) > MAX_STOPS:
            raise ValueError(f"at most {MAX_STOPS} stop texts are taken")
        if not all(stops):
            raise ValueError("an empty stop text would end every answer at once")
        return stops

    def limit(self) -> int | None:
        """The most tokens of an answer that the client wants."""
        return self.max_tokens

    def sampling(self, room: int) -> Sampling:
        """How to draw, with what the client doesn't say left at the server's values.

        Args:
            room: tokens of the context that the prompt leaves.
        """
        names = ("temperature", "top_p", "top_k", "min_p", "seed", "frequency_penalty", "presence_penalty")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        return Sampling(max_tokens=min(room, self.limit() or room), stop=tuple(self.stop or ()), **given)


class ChatRequest(Common):
    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    response_format: ResponseFormat | None = None

    @field_validator("response_format")
    @classmethod
    def _known_format(cls, value: ResponseFormat | None) -> ResponseFormat | None:
        if value is not None and value.type not in ("text", "json_object"):
            raise ValueError(f"{value.type!r} isn't supported by this server; use 'text' or 'json_object'")
        return value

    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    def sampling(self, room: int) -> Sampling:
        wants_json = self.response_format is not None and self.response_format.type == "json_object"
        return replace(super().sampling(room), json=wants_json)


class CompletionRequest(Common):
    prompt: str | list[str]

    @field_validator("prompt")
    @classmethod
    def _one_prompt(cls, value: str | list[str]) -> str:
        if isinstance(value, list) and len(value) != 1:
            raise ValueError("this server takes one prompt in a request")
        return value if isinstance(value, str) else value[0]


def parse(body: bytes, kind: type[Common]) -> Any:
    """A request, as its kind describes it.

    Raises:
        Refused: no JSON object, or fields that can't be used: all of them in one message.
    """
    try:
        value = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"The body isn't JSON: {error}", "invalid_json") from error
    if not isinstance(value, dict):
        raise Refused(400, "The body isn't a JSON object.", "invalid_json")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:  # JSON may name half of a surrogate pair
        raise Refused(400, "A text in the body holds half a character.", "invalid_json") from error
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        said = dict.fromkeys(f"{_field(problem['loc'])}: {_words(problem)}." for problem in problems)
        raise Refused(400, " ".join(said), "invalid_value", str(problems[0]["loc"][0])) from None


def _words(problem: ErrorDetails) -> str:
    if problem["type"] == "extra_forbidden":
        return REFUSALS.get(str(problem["loc"][-1]), NOT_DONE)
    return problem["msg"].removeprefix("Value error, ")


def _no_number(name: str) -> None:
    """NaN and Infinity aren't JSON, though Python reads them."""
    raise ValueError(f"{name} isn't a number")


def _field(location: tuple[int | str, ...]) -> str:
    """As a user writes it: messages[0].content. Names of the union's branches are left out."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part not in ("str", "bool", "int", "float") and "[" not in part:
            text += f".{part}" if text else part
    return text
