"""What a client may ask: the fields of OpenAI's requests that are honoured, checked all at once.

Fields that would change the answer and that the server cannot do (tools, several answers, log-probabilities) are
refused; others that it does not know are passed over, as clients send many.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from slmstudio.worker.chat.generation import Sampling

MAX_STOPS = 16


class Refused(Exception):
    """A request that cannot be answered, as OpenAI's error object says it.

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
    model_config = ConfigDict(strict=True, extra="ignore")


class TextPart(_Strict):
    type: Literal["text"]
    text: str


class Message(_Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    def plain(self) -> dict[str, str]:
        """As a chat template takes it."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class StreamOptions(_Strict):
    include_usage: bool = False


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
    n: int | None = None
    logprobs: bool | int | None = None
    logit_bias: dict[str, float] | None = None

    @field_validator("n")
    @classmethod
    def _one_answer(cls, value: int | None) -> int | None:
        if value not in (None, 1):
            raise ValueError("this server gives one answer to a request (n = 1)")
        return value

    @field_validator("stop")
    @classmethod
    def _stops(cls, value: str | list[str] | None) -> list[str]:
        stops = [value] if isinstance(value, str) else value or []
        if len(stops) > MAX_STOPS:
            raise ValueError(f"at most {MAX_STOPS} stop texts are taken")
        if not all(stops):
            raise ValueError("an empty stop text would end every answer at once")
        return stops

    @field_validator("logprobs", "logit_bias")
    @classmethod
    def _not_done(cls, value: Any) -> Any:
        if value is not None and value is not False and value != {}:
            raise ValueError("this server does not do that")
        return value

    def limit(self) -> int | None:
        """The most tokens of an answer that the client wants."""
        return self.max_tokens

    def sampling(self, room: int) -> Sampling:
        """How to draw, with what the client does not say left at the server's values.

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
    tools: list[Any] | None = None
    functions: list[Any] | None = None

    @field_validator("response_format")
    @classmethod
    def _known_format(cls, value: ResponseFormat | None) -> ResponseFormat | None:
        if value is not None and value.type not in ("text", "json_object"):
            raise ValueError(f"{value.type!r} is not done here; 'text' and 'json_object' are")
        return value

    @field_validator("tools", "functions")
    @classmethod
    def _no_tools(cls, value: list[Any] | None) -> list[Any] | None:
        if value:
            raise ValueError("this server does not call tools")
        return value

    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    def sampling(self, room: int) -> Sampling:
        wants_json = self.response_format is not None and self.response_format.type == "json_object"
        return replace(super().sampling(room), json=wants_json)


class CompletionRequest(Common):
    prompt: str | list[str]
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None

    @field_validator("prompt")
    @classmethod
    def _one_prompt(cls, value: str | list[str]) -> str:
        if isinstance(value, list) and len(value) != 1:
            raise ValueError("this server takes one prompt in a request")
        return value if isinstance(value, str) else value[0]

    @field_validator("echo", "suffix")
    @classmethod
    def _not_known(cls, value: Any) -> Any:
        if value:
            raise ValueError("this server does not do that")
        return value

    @field_validator("best_of")
    @classmethod
    def _best_of_one(cls, value: int | None) -> int | None:
        return cls._one_answer(value)


def parse(body: bytes, kind: type[Common]) -> Any:
    """A request of that kind.

    Raises:
        Refused: no JSON object, or fields that cannot be used: all of them in one message.
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
        said = dict.fromkeys(f"{_field(problem['loc'])}: {problem['msg'].removeprefix('Value error, ')}."
                             for problem in problems)
        raise Refused(400, " ".join(said), "invalid_value", str(problems[0]["loc"][0])) from None


def _no_number(name: str) -> None:
    """NaN and Infinity are no JSON, though Python reads them."""
    raise ValueError(f"{name} isn't a number")


def _field(location: tuple[int | str, ...]) -> str:
    """As a person writes it: messages[0].content. Names of the union's branches are left out."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part not in ("str", "bool", "int", "float") and "[" not in part:
            text += f".{part}" if text else part
    return text
