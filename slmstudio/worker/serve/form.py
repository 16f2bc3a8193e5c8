"""Answers in the shape of OpenAI's objects."""

from __future__ import annotations

import time
import uuid
from typing import Any


class Form:
    """How /v1/completions words its answers."""

    param = "prompt"
    prefix, whole_object, part_object = "cmpl", "text_completion", "text_completion"

    def __init__(self, model: str):
        self._head = {"id": f"{self.prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}

    def whole(self, text: str, reason: str, usage: dict[str, Any]) -> dict[str, Any]:
        choice = {"index": 0, **self._content(text), "logprobs": None, "finish_reason": reason}
        return {**self._head, "object": self.whole_object, "choices": [choice], "usage": usage}

    def first(self) -> dict[str, Any] | None:
        return None

    def part(self, text: str) -> dict[str, Any]:
        return self._chunk([{"index": 0, **self._delta(text), "logprobs": None, "finish_reason": None}])

    def last(self, reason: str) -> dict[str, Any]:
        return self._chunk([{"index": 0, **self._delta(None), "logprobs": None, "finish_reason": reason}])

    def usage(self, usage: dict[str, Any]) -> dict[str, Any]:
        return {**self._chunk([]), "usage": usage}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._head, "object": self.part_object, "choices": choices}

    def _content(self, text: str) -> dict[str, Any]:
        return {"text": text}

    def _delta(self, text: str | None) -> dict[str, Any]:
        return {"text": text or ""}


class ChatForm(Form):
    """How /v1/chat/completions words them."""

    param = "messages"
    prefix, whole_object, part_object = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def first(self) -> dict[str, Any]:
        return self._chunk([{"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None,
                             "finish_reason": None}])

    def _content(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text, "refusal": None}}

    def _delta(self, text: str | None) -> dict[str, Any]:
        return {"delta": {} if text is None else {"content": text}}
